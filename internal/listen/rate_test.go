package listen

import (
	"net/netip"
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := rates{}
	at := func(ip string) bool {
		a := netip.MustParseAddr(ip)
		return r.take(now, rate{origin(a), 3}, rate{surroundings(a), 5})
	}
	var got string
	note := func(ip string) {
		if at(ip) {
			got += "+"
		} else {
			got += "-"
		}
	}
	for range 4 { // three for the address
		note("192.0.2.1")
	}
	for range 3 { // two more for the network: the refused one did not count
		note("192.0.2.2")
	}
	note("198.51.100.1")
	now = now.Add(20 * time.Second) // a third of a minute: one more each
	note("192.0.2.1")
	note("192.0.2.1")
	now = now.Add(time.Hour)
	for range 4 {
		note("192.0.2.1")
	}
	note("2001:db8::1")
	if want := "+++-" + "++-" + "+" + "+-" + "+++-" + "+"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for i := range maxRates + 10 {
		r.take(now, rate{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), 1})
	}
	if len(r) > maxRates {
		t.Errorf("%d networks are remembered", len(r))
	}
	now = now.Add(2 * time.Minute)
	if at("203.0.113.1"); len(r) > 3 {
		t.Errorf("%d networks are remembered after two minutes", len(r))
	}
}

func TestSurroundings(t *testing.T) {
	for ip, want := range map[string]string{"192.0.2.77": "192.0.2.0/24", "2001:db8:1:2::3": "2001:db8:1::/48"} {
		if got := surroundings(netip.MustParseAddr(ip)); got.String() != want {
			t.Errorf("%s: %s", ip, got)
		}
	}
}
