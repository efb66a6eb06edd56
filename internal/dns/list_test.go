package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

func TestListed(t *testing.T) {
	f, err := NewFake(`1.2.0.192.bl.example A 127.0.0.2
1.2.0.192.bl.example A 127.0.0.10
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example A 127.0.0.3
`)
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{"192.0.2.1": "[127.0.0.2 127.0.0.10]", "::ffff:192.0.2.1": "[127.0.0.2 127.0.0.10]", "2001:db8::1": "[127.0.0.3]", "192.0.2.2": "[]"} {
		got, err := f.Resolver().Listed(t.Context(), netip.MustParseAddr(addr), "bl.example")
		if fmt.Sprint(got) != want || (want == "[]") != errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", addr, got, err)
		}
	}
}
