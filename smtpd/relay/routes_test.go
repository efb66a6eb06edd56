package relay

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

// Mail for a domain with a route goes to its host alone, logged in as it says; what
// has none goes to the smarthost, or to the exchangers.
func TestRoutesLeadElsewhere(t *testing.T) {
	ca := newAuthority(t)
	for _, smarthost := range []string{"", "192.0.2.9:25"} {
		gate, smart, mx := newSink(t, "AUTH PLAIN"), newSink(t), newSink(t)
		gate.tls = ca.server("gate.example")
		w := newWorld(t, map[string]*sink{"192.0.2.8": gate, "192.0.2.9": smart, "192.0.2.1": mx}, func(o *Options) {
			o.RootCAs, o.Smarthost.Addr = ca.pool, smarthost
			o.Routes = map[string]Smarthost{
				"far.example": {Addr: "192.0.2.8:25"}, ".far.example": {Addr: "192.0.2.9:25"},
			}
		})
		for i, out := range w.send(t, "a@Far.example", "b@sub.far.example", "c@deep.sub.far.example", "d@a.example", "e@notfar.example") {
			if out.Err != nil && i < 3 {
				t.Errorf("recipient %d: %v", i, out.Err)
			}
		}
		count := func(s *sink) (n int) {
			for _, m := range s.got() {
				n += len(m.to)
			}
			return n
		}
		if count(gate) != 1 || count(smart) < 2 || smarthost == "" && count(mx) != 1 || smarthost != "" && count(smart) != 4 {
			t.Errorf("smarthost %q: gate %d, smart %d, exchanger %d", smarthost, count(gate), count(smart), count(mx))
		}
	}
}

func TestOptionsKnowBadRoutes(t *testing.T) {
	err := Options{Hostname: "a.example", Routes: map[string]Smarthost{"x.example": {}, "y.example": {Addr: "nowhere"}, "z.example": {Addr: "a:25", User: "u"}}}.Check(t.Context())
	for _, want := range []string{"the route of x.example names no host", "nowhere", "both user and password"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// The kernel connects from the address that is named for the family.
func TestSourceAddressIsUsed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for want, source := range map[string][]netip.Addr{
		"127.0.0.7": {netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.7")}, "127.0.0.1": {netip.MustParseAddr("::1")},
	} {
		c, err := dialFrom(source)(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.LocalAddr().(*net.TCPAddr).IP.String(); got != want {
			t.Errorf("from %s, want %s", got, want)
		}
		c.Close()
	}
}
