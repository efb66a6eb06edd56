package dns

import (
	"slices"
	"testing"
)

func TestOnLoopback(t *testing.T) {
	for _, c := range []struct {
		addr string
		want []string
		on   bool
	}{
		{"127.0.0.1", []string{"127.0.0.1:53"}, true},
		{"[::1]:5353", []string{"[::1]:5353"}, true},
		{"192.0.2.1", []string{"192.0.2.1:53"}, false},
		{"localhost:53", []string{"localhost:53"}, false},
	} {
		got := Servers(c.addr)
		if !slices.Equal(got, c.want) || OnLoopback(got) != c.on {
			t.Errorf("%s: %q, %v", c.addr, got, OnLoopback(got))
		}
	}
	if OnLoopback(nil) || OnLoopback([]string{"127.0.0.1:53", "192.0.2.1:53"}) {
		t.Error("a server elsewhere passes for one on this host")
	}
	if len(Servers("")) == 0 {
		t.Error("the system has no resolver")
	}
}
