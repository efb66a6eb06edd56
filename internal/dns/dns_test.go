package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

const zone = `
example.org        MX   20 mx2.example.org
example.org        MX   10 MX1.Example.org
example.org        TXT  "v=spf1 " "-all"
quoted.example.org TXT  "a\"b\\c\128"
mx1.example.org    A    192.0.2.1
mx1.example.org    AAAA 2001:db8::1
mx2.example.org    A    192.0.2.2
null.example.org   MX   0 .
odd.example.org    MX   0 .
odd.example.org    MX   5 mx1.example.org
alias.example.org  CNAME real.example.org
real.example.org   CNAME example.org
loop.example.org   CNAME loop2.example.org
loop2.example.org  CNAME loop.example.org
dangling.example.org CNAME nowhere.example.net
noaddr.example.org TXT  "only text"
xn--bcher-kva.example.org A 192.0.2.9
1.2.0.192.in-addr.arpa PTR mx1.example.org
_25._tcp.mx1.example.org TLSA 3 1 1 0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3
broken.example.org A 192.0.2.66
`

func fake(t *testing.T) *Fake {
	t.Helper()
	f, err := NewFake(zone)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// served is a Resolver that reaches the fake over the network.
func served(t *testing.T, f *Fake) *Resolver {
	t.Helper()
	addr, err := f.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewSystem(addr)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswers(t *testing.T) {
	f := fake(t)
	f.Fail("broken.example.org")
	for _, via := range []struct {
		name string
		r    *Resolver
	}{{"in process", f.Resolver()}, {"over the network", served(t, f)}} {
		mx := func(name string) (any, error) { a, err := via.r.MX(t.Context(), name); return a.Records, err }
		addrs := func(name string) (any, error) { a, err := via.r.Addrs(t.Context(), name); return a.Records, err }
		txt := func(name string) (any, error) { return via.r.TXT(t.Context(), name) }
		ptr := func(a string) (any, error) { return via.r.PTR(t.Context(), netip.MustParseAddr(a)) }
		ordered := []MX{{"mx1.example.org", 10}, {"mx2.example.org", 20}}
		cases := []struct {
			name string
			ask  func(string) (any, error)
			q    string
			want any
			err  error
		}{
			{"MX come in order, in lower case", mx, "Example.ORG.", ordered, nil},
			{"CNAMEs are followed", mx, "alias.example.org", ordered, nil},
			{"null MX is named", mx, "null.example.org", nil, ErrNullMX},
			{"a dot among others is left out", mx, "odd.example.org", []MX{{"mx1.example.org", 5}}, nil},
			{"no MX", mx, "mx1.example.org", nil, ErrNotFound},
			{"no such name", mx, "missing.example.org", nil, ErrNotFound},
			{"a CNAME loop ends", mx, "loop.example.org", nil, ErrNotFound},
			{"a CNAME to nothing", mx, "dangling.example.org", nil, ErrNotFound},
			{"both families", addrs, "mx1.example.org", []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1")}, nil},
			{"one family", addrs, "mx2.example.org", []netip.Addr{netip.MustParseAddr("192.0.2.2")}, nil},
			{"no address", addrs, "noaddr.example.org", nil, ErrNotFound},
			{"Unicode names", addrs, "Bücher.example.org", []netip.Addr{netip.MustParseAddr("192.0.2.9")}, nil},
			{"failure is not absence", addrs, "broken.example.org", nil, ErrTemporary},
			{"strings are joined", txt, "example.org", []string{"v=spf1 -all"}, nil},
			{"texts are bytes", txt, "quoted.example.org", []string{"a\"b\\c\x80"}, nil},
			{"names of an address", ptr, "192.0.2.1", []string{"mx1.example.org"}, nil},
			{"mapped addresses are IPv4", ptr, "::ffff:192.0.2.1", []string{"mx1.example.org"}, nil},
			{"nameless address", ptr, "2001:db8::77", nil, ErrNotFound},
			{"no name at all", txt, "", nil, ErrInvalidName},
			{"escapes are no names", txt, `a\.b.example.org`, nil, ErrInvalidName},
		}
		for _, c := range cases {
			t.Run(via.name+"/"+c.name, func(t *testing.T) {
				got, err := c.ask(c.q)
				if !errors.Is(err, c.err) || (err != nil) != (c.err != nil) {
					t.Fatalf("err = %v, want %v", err, c.err)
				}
				if c.err == nil && !reflect.DeepEqual(got, c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
			})
		}
	}
}

func TestNoNameAndNoRecordAreToldApart(t *testing.T) {
	r := fake(t).Resolver()
	for name, want := range map[string]bool{"missing.example.org": true, "noaddr.example.org": false, "_tcp.mx1.example.org": false} {
		_, err := r.MX(t.Context(), name)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrNotFound) || e.NoName != want {
			t.Errorf("%s: %v, want NoName %v", name, err, want)
		}
	}
}

func TestTLSAIsSecureOnlyWhenSigned(t *testing.T) {
	f := fake(t)
	r := f.Resolver()
	a, err := r.TLSA(t.Context(), 25, "mx1.example.org")
	if err != nil || len(a.Records) != 1 || len(a.Records[0].Data) != 32 || a.Secure {
		t.Fatalf("unsigned: %+v, %v", a, err)
	}
	f.Sign("_25._tcp.mx1.example.org")
	if a, err = r.TLSA(t.Context(), 25, "mx1.example.org"); err != nil || !a.Secure {
		t.Fatalf("signed: %+v, %v", a, err)
	}
}

func TestAbsenceIsSecureOnlyWhenSigned(t *testing.T) {
	f := fake(t)
	for _, signed := range []bool{false, true} {
		_, err := f.Resolver().MX(t.Context(), "noaddr.example.org")
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, ErrNotFound) || e.Secure != signed {
			t.Errorf("%+v, want Secure %v", e, signed)
		}
		f.Sign("noaddr.example.org")
	}
}

func TestADBitCountsOnlyFromThisHost(t *testing.T) {
	for server, want := range map[string]bool{
		"127.0.0.1:53": true, "127.0.0.53:53": true, "[::1]:53": true,
		"192.0.2.53:53": false, "[2001:db8::53]:53": false, "dns.example:53": false,
	} {
		if got := loopback(server); got != want {
			t.Errorf("loopback(%s) = %v", server, got)
		}
	}
}

func TestLongAnswersComeByTCP(t *testing.T) {
	f := fake(t)
	for i := range 200 {
		f.Add(fmt.Sprintf("big.example.org MX %d host-%03d.with-a-long-name.example.org\n", i, i))
	}
	a, err := served(t, f).MX(t.Context(), "big.example.org")
	if err != nil || len(a.Records) != 200 {
		t.Fatalf("%d records, %v", len(a.Records), err)
	}
}

func TestAnswersAreCached(t *testing.T) {
	f := fake(t)
	r := served(t, f)
	for range 5 {
		r.TXT(t.Context(), "example.org")
		r.TXT(t.Context(), "missing.example.org")
	}
	if n, m := f.Asked("example.org"), f.Asked("missing.example.org"); n != 1 || m != 1 {
		t.Errorf("asked %d and %d times, want once each", n, m)
	}
}

func TestFailuresAreNotCached(t *testing.T) {
	f := fake(t)
	r := served(t, f)
	f.Fail("example.org")
	if _, err := r.TXT(t.Context(), "example.org"); !errors.Is(err, ErrTemporary) {
		t.Fatal(err)
	}
	f.Heal("example.org")
	if _, err := r.TXT(t.Context(), "example.org"); err != nil {
		t.Fatal(err)
	}
}

func TestTheSecondServerAnswersForTheFirst(t *testing.T) {
	f := fake(t)
	bad := fake(t)
	bad.Fail("org")
	good, err1 := f.Listen(t.Context(), "127.0.0.1:0")
	broken, err2 := bad.Listen(t.Context(), "127.0.0.1:0")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	conf := resolvConf{servers: []string{broken, good}, timeout: 5 * time.Second, attempts: 1}
	c := &client{conf: func() resolvConf { return conf }}
	r := newResolver(c.exchange, Options{})
	if txt, err := r.TXT(t.Context(), "example.org"); err != nil || len(txt) != 1 {
		t.Fatalf("%v, %v", txt, err)
	}
	if bad.Asked("example.org") == 0 {
		t.Error("the first server was never asked")
	}
}

func TestAQuestionEndsWithItsContext(t *testing.T) {
	f := fake(t)
	f.Silence("example.org")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Resolver().MX(ctx, "example.org"); !errors.Is(err, ErrTemporary) || !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestEqualQuestionsGoOutOnce(t *testing.T) {
	f := fake(t)
	f.Silence("example.org")
	ctx, cancel := context.WithCancel(t.Context())
	r := f.Resolver()
	done := make(chan error)
	for range 8 {
		go func() { _, err := r.TXT(ctx, "example.org"); done <- err }()
	}
	for f.Asked("example.org") == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for range 8 {
		<-done
	}
	if n := f.Asked("example.org"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestCacheForgetsByTimeAndByNumber(t *testing.T) {
	c := newCache(2)
	now := time.Unix(1000, 0)
	put := func(name string, ttl time.Duration) { c.put(&entry{key: key{name, 1}, expires: now.Add(ttl)}) }
	has := func(name string) bool { _, ok := c.get(key{name, 1}, now); return ok }
	put("a", time.Minute)
	put("b", time.Minute)
	has("a") // b is now the older one
	put("c", time.Second)
	if !has("a") || has("b") || !has("c") {
		t.Error("the least recently used entry should have gone")
	}
	put("a", time.Minute)
	now = now.Add(time.Second)
	if has("c") || !has("a") {
		t.Error("entries live as long as their TTL")
	}
	if c.order.Len() != len(c.byKey) || c.order.Len() != 1 {
		t.Errorf("list %d, map %d", c.order.Len(), len(c.byKey))
	}
}

func TestServerAddresses(t *testing.T) {
	cases := map[string]string{
		"127.0.0.1":         "127.0.0.1:53",
		"127.0.0.1:5353":    "127.0.0.1:5353",
		"::1":               "[::1]:53",
		"[2001:db8::1]":     "[2001:db8::1]:53",
		"[2001:db8::1]:530": "[2001:db8::1]:530",
		"dns.example.org":   "",
		"dns.example.org:1": "",
		"127.0.0.1:":        "",
	}
	for in, want := range cases {
		if got, err := serverAddr(in); got != want || (err == nil) != (want != "") {
			t.Errorf("serverAddr(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := New(Options{Addr: "nonsense"}); err == nil {
		t.Error("a resolver that is no address was taken")
	}
}

func TestNetSpeaksNetErrors(t *testing.T) {
	f := fake(t)
	f.Fail("broken.example.org")
	n := f.Resolver().Net()
	var e *net.DNSError
	if _, err := n.LookupTXT(t.Context(), "missing.example.org"); !errors.As(err, &e) || !e.IsNotFound || e.IsTemporary {
		t.Errorf("missing: %v", err)
	}
	if _, err := n.LookupIPAddr(t.Context(), "broken.example.org"); !errors.As(err, &e) || e.IsNotFound || !e.IsTemporary {
		t.Errorf("broken: %v", err)
	}
	if mx, err := n.LookupMX(t.Context(), "example.org"); err != nil || len(mx) != 2 || mx[0].Host != "mx1.example.org." {
		t.Errorf("MX: %v, %v", mx, err)
	}
	if mx, err := n.LookupMX(t.Context(), "null.example.org"); err != nil || len(mx) != 1 || mx[0].Host != "." {
		t.Errorf("null MX: %v, %v", mx, err)
	}
	if names, err := n.LookupAddr(t.Context(), "192.0.2.1"); err != nil || len(names) != 1 || names[0] != "mx1.example.org." {
		t.Errorf("PTR: %v, %v", names, err)
	}
	if _, err := n.LookupAddr(t.Context(), "nonsense"); err == nil {
		t.Error("PTR of nonsense")
	}
}

func TestToASCII(t *testing.T) {
	long := strings.Repeat("a", 64)
	cases := map[string]string{
		"Example.ORG.":                  "example.org",
		"_dmarc.example.org":            "_dmarc.example.org",
		"r3---sn-x.example.org":         "r3---sn-x.example.org",
		"straße.example":                "xn--strae-oqa.example",
		"例え。テスト":                        "xn--r8jz45g.xn--zckzah",
		"0/25.2.0.192.in-addr.arpa":     "0/25.2.0.192.in-addr.arpa",
		"":                              "",
		".":                             "",
		"..":                            "",
		"a..b":                          "",
		".a":                            "",
		"a b":                           "",
		"a\x00b":                        "",
		"[192.0.2.1]":                   "",
		long + ".example":               "",
		strings.Repeat("a.", 127) + "b": "",
		"\xff.example":                  "",
	}
	for in, want := range cases {
		got, err := ToASCII(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("ToASCII(%q) = %q, %v; want %q", in, got, err, want)
		}
		if err != nil && !errors.Is(err, ErrInvalidName) {
			t.Errorf("ToASCII(%q): %v is not ErrInvalidName", in, err)
		}
	}
}

func FuzzToASCII(f *testing.F) {
	for _, s := range []string{"example.org", "bücher.de", "xn--bcher-kva.example", "a..b", "_x._tcp.é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ToASCII(s)
		if err != nil {
			return
		}
		if again, err := ToASCII(a); err != nil || again != a {
			t.Errorf("ToASCII(%q) = %q, and again %q, %v", s, a, again, err)
		}
	})
}
