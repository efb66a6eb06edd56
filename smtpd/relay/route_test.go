package relay

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/status"
)

const routeZone = `
ordered.example   MX 10 a.example
ordered.example   MX 20 b.example
ordered.example   MX 20 c.example
ordered.example   MX 30 d.example
backup.example    MX 10 a.example
backup.example    MX 20 MAIL.example.org
backup.example    MX 20 b.example
backup.example    MX 30 c.example
ours.example      MX 5  mail.example.org
ours.example      MX 10 a.example
null.example      MX 0  .
implicit.example  A  192.0.2.40
noaddr.example    TXT "nothing"
ghost.example     MX 10 gone.example
mixed.example     MX 10 gone.example
mixed.example     MX 20 a.example
selfaddr.example  MX 10 a.example
selfaddr.example  MX 20 loop.example
selfaddr.example  MX 30 b.example
onlyself.example  A 192.0.2.99
loop.example      A 192.0.2.99
a.example         A 192.0.2.1
b.example         A 192.0.2.2
c.example         A 192.0.2.3
d.example         A 192.0.2.4
many.example      A 192.0.2.11
many.example      A 192.0.2.12
many.example      AAAA 2001:db8::1
many.example      AAAA 2001:db8::2
xn--bcher-kva.example  MX 10 a.example
broken.example    MX 10 a.example
brokenaddr.example MX 10 sick.example
sick.example      A 192.0.2.66
`

func router(t *testing.T, change ...func(*Options)) *Relay {
	t.Helper()
	f, err := dns.NewFake(routeZone)
	if err != nil {
		t.Fatal(err)
	}
	f.Fail("broken.example")
	f.Fail("sick.example")
	o := Options{Hostname: "mail.example.org", Resolver: f.Resolver(), Self: func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.99") }}
	for _, c := range change {
		c(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// walk gives the addresses that would be tried, and the last failure.
func walk(ctx context.Context, r *Relay, domain string) (addrs []string, last *failure) {
	hops, fail := r.route(ctx, domain)
	if fail != nil {
		return nil, fail
	}
	for c, fail := range r.candidates(ctx, hops) {
		if fail != nil {
			last = fail
			continue
		}
		addrs = append(addrs, c.addr.String())
	}
	return addrs, last
}

func TestRoutes(t *testing.T) {
	r := router(t)
	cases := []struct {
		name, domain, addrs, err string
	}{
		{"backup keeps only better hosts", "backup.example", "192.0.2.1", ""},
		{"mail for ourselves that is not ours", "ours.example", "", "554 5.4.6"},
		{"null MX", "null.example", "", "556 5.1.10"},
		{"implicit MX", "implicit.example", "192.0.2.40", ""},
		{"no address", "noaddr.example", "", "550 5.4.4"},
		{"no such domain", "missing.example.net", "", "550 5.1.2"},
		{"an exchanger that does not exist", "ghost.example", "", "550 5.4.4"},
		{"one of two does not exist", "mixed.example", "192.0.2.1", "550 5.4.4"},
		{"an exchanger that is us by address, and all after it", "selfaddr.example", "192.0.2.1", "554 5.4.6"},
		{"the domain's own address is ours", "onlyself.example", "", "554 5.4.6"},
		{"the MX cannot be asked for", "broken.example", "", "451 4.4.3"},
		{"the address cannot be asked for", "brokenaddr.example", "", "451 4.4.3"},
		{"Unicode", "bücher.example", "192.0.2.1", ""},
		{"address literal", "[192.0.2.50]", "192.0.2.50", ""},
		{"IPv6 literal", "[IPv6:2001:db8::5]", "2001:db8::5", ""},
		{"our own literal", "[192.0.2.99]", "", "554 5.4.6"},
		{"no domain", "", "", "550 5.1.3"},
		{"no literal either", "[192.0.2.300]", "", "550 5.1.3"},
		{"IPv6 without its tag", "[2001:db8::5]", "", "550 5.1.3"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			addrs, fail := walk(t.Context(), r, c.domain)
			got := ""
			if fail != nil {
				got = fail.err.Error()
			}
			if strings.Join(addrs, " ") != c.addrs || !strings.HasPrefix(got, c.err) || got != "" && c.err == "" {
				t.Errorf("addresses %v, failure %q; want %q, %q", addrs, got, c.addrs, c.err)
			}
		})
	}
}

func TestEqualPreferencesAreShuffled(t *testing.T) {
	r := router(t)
	seen := map[string]int{}
	for range 100 {
		addrs, _ := walk(t.Context(), r, "ordered.example")
		if len(addrs) != 4 || addrs[0] != "192.0.2.1" || addrs[3] != "192.0.2.4" {
			t.Fatalf("order %v", addrs)
		}
		seen[addrs[1]]++
	}
	if len(seen) != 2 {
		t.Errorf("in a hundred tries always %v first", seen)
	}
}

func TestFamiliesTakeTurns(t *testing.T) {
	v6 := func(a string) bool { return strings.Contains(a, ":") }
	addrs, _ := walk(t.Context(), router(t), "many.example")
	if len(addrs) != 4 || !v6(addrs[0]) || v6(addrs[1]) || !v6(addrs[2]) || v6(addrs[3]) {
		t.Errorf("order %v", addrs)
	}
	addrs, _ = walk(t.Context(), router(t, func(o *Options) { o.Network = "tcp4" }), "many.example")
	if slices.ContainsFunc(addrs, v6) || len(addrs) != 2 {
		t.Errorf("tcp4: %v", addrs)
	}
	addrs, fail := walk(t.Context(), router(t, func(o *Options) { o.Network = "tcp6" }), "implicit.example")
	if len(addrs) != 0 || !status.IsTemporary(fail.err) {
		t.Errorf("tcp6 of an IPv4 host: %v, %v", addrs, fail)
	}
}

func TestLookupsThatFailMakeTheDestinationUnreachable(t *testing.T) {
	r := router(t)
	for domain, want := range map[string]bool{"broken.example": true, "brokenaddr.example": true, "null.example": false} {
		env := from("alice@example.org", "bob@"+domain)
		w := &world{Relay: r}
		if out := w.sendEnv(t.Context(), env, mailText)[0]; out.Unreachable != want || out.Err == nil {
			t.Errorf("%s: %+v", domain, out)
		}
	}
}

func TestOnlySomeAddressesAreTried(t *testing.T) {
	w := newWorld(t, nil, func(o *Options) { o.MaxAddrs = 3 })
	for range 10 {
		w.dns.Add("wide.example AAAA 2001:db8::" + string(rune('1'+len(w.dialed))) + "\n")
		w.dialed = append(w.dialed, "")
	}
	w.dialed = nil
	out := w.send(t, "bob@wide.example")[0]
	if len(w.dialed) != 3 || !out.Unreachable {
		t.Errorf("dialed %v, %+v", w.dialed, out)
	}
}

func TestSelfAddrs(t *testing.T) {
	for a, want := range map[string]bool{"127.0.0.1": true, "::1": true, "0.0.0.0": true, "::ffff:127.0.0.9": true, "224.0.0.1": true, "192.0.2.1": false, "2001:db8::1": false} {
		if got := SelfAddrs(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
}
