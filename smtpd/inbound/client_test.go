package inbound

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/internal/dns"
)

const clientZone = zone + `
1.2.0.192.bad.example        A   127.0.0.2
1.2.0.192.coded.example      A   127.0.0.4
1.2.0.192.coded.example      A   127.0.0.9
1.2.0.192.asleep.example     A   127.255.255.254
1.2.0.192.good.list          A   127.0.0.1
1.2.0.192.gone.example       A   192.0.2.99
mailonly.example             MX  10 host.example
`

func clientFake(t testing.TB) *dns.Fake {
	t.Helper()
	f, err := dns.NewFake(clientZone)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func with(c ClientOptions) func(*Options) { return func(o *Options) { o.Client = c } }

func TestHELO(t *testing.T) {
	f := clientFake(t)
	f.Fail("later.example")
	i := inspector(t, f, with(ClientOptions{HELO: Reject}))
	for name, want := range map[string]string{
		"host.example": pass, "HOST.example": pass, "mailonly.example": pass, "[192.0.2.1]": pass,
		"[192.0.2.2]": fail, "[IPv6:2001:db8::1]": fail, "[": fail, "192.0.2.1": fail, "localhost": fail, "laptop": fail,
		"nowhere.example": fail, "mx.test": fail, "MX.TEST": fail, "..": fail, "later.example": tempError,
	} {
		c := i.Client(t.Context(), netip.MustParseAddr("192.0.2.1"), false)
		m := helo(mail("a@good.example", "a@good.example"), name)
		if v := c.judgeHELO(m); v.Result != want {
			t.Errorf("%s: %+v", name, v)
		}
		if err := c.Recipient(m, "x@here.test"); (err != nil) != (want == fail) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A second EHLO counts as what it says.
	c := i.Client(t.Context(), netip.MustParseAddr("192.0.2.1"), false)
	for _, name := range []string{"laptop", "host.example", "laptop"} {
		if err := c.Recipient(helo(mail("", ""), name), "x@here.test"); (err != nil) != (name == "laptop") {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := at(helo(mail("", ""), "[IPv6:2001:db8::1]"), "2001:db8::1")
	if v := i.Client(t.Context(), m.Remote, false).judgeHELO(m); v.Result != pass {
		t.Errorf("%+v", v)
	}
}

func TestClientsWithoutANameAreRefusedOnlyWhenAsked(t *testing.T) {
	for _, c := range []struct {
		remote string
		code   string
	}{{"192.0.2.1", ""}, {"192.0.2.2", "550 5.7.25"}, {"192.0.2.3", "550 5.7.25"}, {"192.0.2.4", ""}} {
		f := clientFake(t)
		f.Fail("4.2.0.192.in-addr.arpa")
		m := at(mail("a@good.example", "a@good.example"), c.remote)
		i := inspector(t, f, with(ClientOptions{IPRev: Reject}))
		got := ""
		if err := i.Client(t.Context(), m.Remote, false).Recipient(m, "x@here.test"); err != nil {
			got = err.Reply()[:10]
			if n := testutil.ToFloat64(i.metrics.refused.WithLabelValues("iprev")); n != 1 {
				t.Errorf("counted %v", n)
			}
		}
		if got != c.code {
			t.Errorf("%s: %q", c.remote, got)
		}
		if err := i.Client(t.Context(), m.Remote, true).Recipient(m, "x@here.test"); err != nil {
			t.Errorf("a trusted client: %v", err)
		}
		if err := inspector(t, f).Client(t.Context(), m.Remote, false).Recipient(m, "x@here.test"); err != nil {
			t.Errorf("by default: %v", err)
		}
	}
}

func TestDNSLists(t *testing.T) {
	codes := map[netip.Addr]int{netip.MustParseAddr("127.0.0.4"): 2, netip.MustParseAddr("127.0.0.9"): 7}
	for _, c := range []struct {
		name         string
		lists        []DNSList
		word         string
		score        int
		junk, refuse bool
	}{
		{"not listed", []DNSList{{Zone: "clean.example", Score: 9}}, "none", 0, false, false},
		{"listed", []DNSList{{Zone: "bad.example", Score: 4}}, "listed (bad.example=4)", 4, true, false},
		{"the sum counts", []DNSList{{Zone: "bad.example", Score: 4}, {Zone: "coded.example", Score: 2}}, "listed (bad.example=4 coded.example=2)", 6, true, true},
		{"the highest code counts", []DNSList{{Zone: "coded.example", Codes: codes}}, "listed (coded.example=7)", 7, true, true},
		{"a foreign code counts nothing", []DNSList{{Zone: "bad.example", Score: 9, Codes: codes}}, "none", 0, false, false},
		{"good marks", []DNSList{{Zone: "bad.example", Score: 4}, {Zone: "good.list", Score: -3}}, "listed (bad.example=4 good.list=-3)", 1, false, false},
		{"refused questions", []DNSList{{Zone: "asleep.example", Score: 9}}, "temperror", 0, false, false},
		{"a zone given up", []DNSList{{Zone: "gone.example", Score: 9}}, "temperror", 0, false, false},
		{"no answer", []DNSList{{Zone: "broken.example", Score: 9}, {Zone: "bad.example", Score: 4}}, "listed (bad.example=4)", 4, true, false},
		{"silence", []DNSList{{Zone: "silent.example", Score: 9}}, "temperror", 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := clientFake(t)
			f.Fail("broken.example")
			f.Silence("1.2.0.192.silent.example")
			i := inspector(t, f, with(ClientOptions{Lists: c.lists, JunkScore: 3, RejectScore: 6}), func(o *Options) { o.Timeout = 300 * time.Millisecond })
			m := mail("a@good.example", "a@good.example")
			m.Client = i.Client(t.Context(), m.Remote, false)
			defer m.Client.Close()
			if err := m.Client.Recipient(m, "x@here.test"); (err != nil) != c.refuse {
				t.Errorf("%v", err)
			}
			r := i.Inspect(t.Context(), m)
			v, _ := r.best("dnsbl")
			if v.word() != c.word || m.Client.score != c.score || (r.Action == Junk) != c.junk {
				t.Errorf("%q, score %d, %v", v.word(), m.Client.score, r.Action)
			}
			if !strings.Contains(fmt.Sprint(r.Attrs()), "dnsbl "+c.word) || strings.Contains(string(r.Header), "dnsbl") {
				t.Errorf("%v\n%s", r.Attrs(), r.Header)
			}
		})
	}
}

func TestCheckList(t *testing.T) {
	f, err := dns.NewFake(`2.0.0.127.good.example    A 127.0.0.2
2.0.0.127.all.example     A 127.0.0.2
1.0.0.127.all.example     A 127.0.0.2
2.0.0.127.refuses.example A 127.255.255.254
1.0.0.127.refuses.example A 127.255.255.254
`)
	if err != nil {
		t.Fatal(err)
	}
	f.Fail("fails.example")
	for zone, want := range map[string]error{"good.example": nil, "all.example": ErrListAll, "refuses.example": ErrListRefuses, "gone.example": ErrListSilent, "fails.example": dns.ErrTemporary} {
		if err := CheckList(t.Context(), f.Resolver(), zone); !errors.Is(err, want) {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

// greyClock is a Greylist with a clock of its own.
func greyClock(t *testing.T, file string, o GreylistOptions) (*Greylist, *time.Time) {
	t.Helper()
	o.File = file
	g, err := OpenGreylist(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	now := time.Now().Truncate(time.Second)
	g.now = func() time.Time { return now }
	return g, &now
}

func TestGreylist(t *testing.T) {
	file := filepath.Join(t.TempDir(), "grey")
	g, now := greyClock(t, file, GreylistOptions{PassNets: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, PassDomains: []string{"friend.example"}})
	ask := func(ip, from, to, want string) {
		t.Helper()
		name := "stranger.example"
		if ip == "203.0.113.1" {
			name = "mx.friend.example"
		}
		word, wait := g.ask(netip.MustParseAddr(ip), func() string { return name }, from, to)
		if word != want || (wait > 0) != (want == "first" || want == "early") {
			t.Errorf("%s %s %s: %s, %v, want %s", ip, from, to, word, wait, want)
		}
	}
	ask("198.51.100.7", "a@x", "u@y", "pass")
	ask("203.0.113.1", "a@x", "u@y", "pass")
	ask("192.0.2.1", "a@x", "u@y", "first")
	ask("192.0.2.1", "a@x", "u@y", "early")
	*now = now.Add(4 * time.Minute)
	ask("192.0.2.1", "a@x", "u@y", "early")
	ask("192.0.2.1", "b@x", "u@y", "first") // another sender
	*now = now.Add(2 * time.Minute)
	ask("192.0.2.99", "A@X", "U@y", "known") // the same network, in other letters
	ask("192.0.2.1", "a@x", "u@y", "known")
	ask("192.0.3.1", "a@x", "u@y", "first") // another network
	ask("2001:db8::1", "a@x", "u@y", "first")
	*now = now.Add(6 * time.Minute)
	ask("2001:db8::ffff", "a@x", "u@y", "known")
	ask("192.0.2.1", "b@x", "u@y", "known")
	ask("192.0.2.1", "list-bounce-123-x=y@l", "u@y", "first")
	*now = now.Add(6 * time.Minute)
	ask("192.0.2.1", "list-bounce-124-x=y@l", "u@y", "known") // third: the network is known
	ask("192.0.2.1", "new@x", "new@y", "known")
	ask("192.0.3.1", "c@x", "u@y", "first")
	*now = now.Add(greyRetry + time.Minute)
	ask("192.0.3.1", "c@x", "u@y", "first") // too late
	before := len(g.entries)

	again, clock := greyClock(t, file, GreylistOptions{})
	*clock = *now
	if len(again.entries) != before {
		t.Errorf("%d entries after a restart, %d before", len(again.entries), before)
	}
	g = again
	ask("192.0.2.1", "other@x", "u@y", "known")
	*clock = clock.Add(greyMemory + time.Hour)
	ask("192.0.2.1", "other@x", "u@y", "first")
	g.records = 1 << 20
	g.clean()
	if len(g.entries) != 1 || g.records != 1 {
		t.Errorf("%d entries, %d records", len(g.entries), g.records)
	}
}

func TestGreylistFileMayBeDamaged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "grey")
	g, _ := greyClock(t, file, GreylistOptions{})
	g.ask(netip.MustParseAddr("192.0.2.1"), nil, "a@x", "u@y")
	g.ask(netip.MustParseAddr("192.0.2.1"), nil, "b@x", "u@y")
	whole, err := os.ReadFile(file)
	if err != nil || len(whole) != len(greyMagic)+2*greyRecord {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	for _, c := range []struct {
		text []byte
		want int
	}{{whole, 2}, {whole[:len(whole)-1], 1}, {whole[:5], 0}, {[]byte("nonsense of more than one line\n"), 0}, {nil, 0}} {
		if err := os.WriteFile(file, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		g := &Greylist{o: GreylistOptions{File: file, Logger: g.o.Logger}, entries: map[greyID]seen{}}
		if err := g.load(); err != nil || len(g.entries) != c.want {
			t.Errorf("%d bytes: %d entries, %v", len(c.text), len(g.entries), err)
		}
	}
}

func TestGreylistRefusesForTheMoment(t *testing.T) {
	g, _ := greyClock(t, filepath.Join(t.TempDir(), "grey"), GreylistOptions{})
	i := inspector(t, clientFake(t), with(ClientOptions{Greylist: g, Lists: []DNSList{{Zone: "good.list", Score: -1}}}))
	m := mail("a@good.example", "a@good.example")
	if err := i.Client(t.Context(), m.Remote, false).Recipient(m, "x@here.test"); err != nil {
		t.Errorf("who is listed as good waits: %v", err)
	}
	m = at(m, "192.0.2.2")
	err := i.Client(t.Context(), m.Remote, false).Recipient(m, "x@here.test")
	if err == nil || err.Reply() != "451 4.7.1 Greylisted, try again in 5m0s" {
		t.Errorf("%v", err)
	}
	if n := testutil.ToFloat64(i.metrics.results.WithLabelValues("greylist", "first")); n != 1 {
		t.Errorf("counted %v", n)
	}
}

// FuzzGreylistFile reads a journal that anything may have happened to.
func FuzzGreylistFile(f *testing.F) {
	f.Add([]byte(greyMagic))
	f.Add(append([]byte(greyMagic), seen{first: 1, last: 2, passed: 3}.record(greyID{})...))
	file := filepath.Join(f.TempDir(), "grey")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := OpenGreylist(GreylistOptions{File: file})
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if word, _ := g.ask(netip.MustParseAddr("192.0.2.1"), nil, "a@x", "u@y"); word == "" {
			t.Error("no decision")
		}
	})
}
