package ban

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	ip   = netip.MustParseAddr
	net_ = netip.MustParsePrefix
)

type clock struct{ time.Time }

func (c *clock) pass(d time.Duration) { c.Time = c.Add(d) }

func open(t *testing.T, c *clock, o Options) *List {
	t.Helper()
	if o.File == "" {
		o.File = filepath.Join(t.TempDir(), "bans.json")
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l.now = func() time.Time { return c.Time }
	return l
}

var guesses uint64

func fail(l *List, addr string, n int) {
	for range n {
		guesses++
		l.Failed(ip(addr), guesses)
	}
}

func TestFailuresBanForLongerAndLonger(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	l := open(t, c, Options{After: 3, Time: time.Hour})
	fail(l, "192.0.2.1", 2)
	if l.Banned(ip("192.0.2.1"), true) {
		t.Fatal("banned too early")
	}
	for i, want := range []time.Duration{1, 2, 4, 8} {
		fail(l, "192.0.2.1", 3)
		if !l.Banned(ip("192.0.2.1"), true) || !l.Banned(ip("::ffff:192.0.2.1"), true) {
			t.Fatalf("%d: not banned", i)
		}
		if l.Banned(ip("192.0.2.1"), false) {
			t.Error("its mail is refused")
		}
		if l.Banned(ip("192.0.2.2"), true) {
			t.Error("its neighbour is banned")
		}
		c.pass(want*time.Hour - time.Second)
		if !l.Banned(ip("192.0.2.1"), true) {
			t.Errorf("%d: ends early", i)
		}
		c.pass(2 * time.Second)
		if l.Banned(ip("192.0.2.1"), true) || len(l.Entries()) != 0 {
			t.Errorf("%d: does not end: %v", i, l.Entries())
		}
	}
	c.pass(8 * 24 * time.Hour) // all is forgotten
	fail(l, "192.0.2.1", 3)
	if e := l.Entries(); len(e) != 1 || e[0].Times != 1 {
		t.Errorf("%+v", e)
	}
}

// A household of phones with old passwords bans nobody, however often they try.
func TestSamePasswordsCountOnce(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	l := open(t, c, Options{After: 10, NetworkAfter: 10})
	for i := range 1000 {
		l.Failed(ip("192.0.2.1"), uint64(i%9))
	}
	if len(l.Entries()) > 0 {
		t.Error(l.Entries())
	}
	l.Failed(ip("192.0.2.1"), 99)
	if !l.Banned(ip("192.0.2.1"), true) {
		t.Error("a tenth password is one too many")
	}
}

func TestSlowFailuresBanNobody(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	l := open(t, c, Options{After: 3})
	for range 10 {
		fail(l, "192.0.2.1", 2)
		c.pass(window)
	}
	if len(l.Entries()) > 0 {
		t.Error(l.Entries())
	}
	fail(open(t, c, Options{}), "192.0.2.1", 1000) // off: nothing happens
}

func TestNetworksAreBanned(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	l := open(t, c, Options{NetworkAfter: 6})
	fail(l, "192.0.2.1", 9) // one address alone is no network
	if len(l.Entries()) > 0 {
		t.Fatal(l.Entries())
	}
	fail(l, "192.0.2.2", 1)
	fail(l, "192.0.2.3", 1)
	if !l.Banned(ip("192.0.2.200"), true) || l.Banned(ip("192.0.3.1"), true) {
		t.Error(l.Entries())
	}
	for i := range 6 {
		fail(l, fmt.Sprintf("2001:db8:1:%d::1", i), 1)
	}
	if !l.Banned(ip("2001:db8:1:ff::1"), true) || l.Banned(ip("2001:db8:2::1"), true) {
		t.Error(l.Entries())
	}
}

func TestListSurvivesARestart(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	file := filepath.Join(t.TempDir(), "bans.json")
	l := open(t, c, Options{File: file, After: 1})
	fail(l, "198.51.100.1", 1)
	if _, err := l.Add(net_("192.0.2.0/24"), 0, "spam"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Add(net_("2001:db8::/32"), time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	again := open(t, c, Options{File: file})
	if got := fmt.Sprint(again.Entries()); got != fmt.Sprint(l.Entries()) || len(again.Entries()) != 3 {
		t.Errorf("%s", got)
	}
	if !again.Banned(ip("192.0.2.9"), false) || !again.Banned(ip("2001:db8:5::1"), false) {
		t.Error("what the administrator bans may send mail")
	}
	c.pass(2 * time.Hour)
	if again.Banned(ip("2001:db8:5::1"), true) || !again.Banned(ip("192.0.2.9"), true) {
		t.Error("ends")
	}
	if err := again.Remove(net_("192.0.2.9/32")); !errors.Is(err, ErrUnknown) || err.Error() != "192.0.2.9/32 is not banned, but 192.0.2.0/24 is" {
		t.Error(err)
	}
	if err := again.Remove(net_("192.0.2.0/24")); err != nil {
		t.Error(err)
	}
	if len(open(t, c, Options{File: file}).Entries()) != 0 {
		t.Error("a removed ban came back")
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{File: file}); err == nil {
		t.Error("a broken file is taken")
	}
}

func TestPassListWins(t *testing.T) {
	c := &clock{time.Unix(1e9, 0)}
	l := open(t, c, Options{After: 1, Pass: []netip.Prefix{net_("10.0.0.0/8")}})
	fail(l, "10.1.2.3", 100)
	if l.Banned(ip("10.1.2.3"), true) || len(l.Entries()) > 0 {
		t.Error(l.Entries())
	}
	for _, p := range []string{"10.1.0.0/16", "0.0.0.0/1"} {
		if _, err := l.Add(net_(p), 0, ""); !errors.Is(err, ErrPass) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	l := open(t, &clock{time.Unix(1e9, 0)}, Options{After: 1000})
	for i := range maxTracked {
		l.Failed(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), uint64(i))
	}
	if len(l.tracked) > maxTracked+1 {
		t.Error(len(l.tracked))
	}
}

func TestParseNetwork(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8::/32": "2001:db8::/32", "2001:db8::1": "2001:db8::1/128",
		"192.0.2.1/24": "", "0.0.0.0/0": "", "::ffff:192.0.2.0/120": "", "example.org": "", "": "",
	} {
		p, err := ParseNetwork(s)
		if got := p.String(); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q: %s, %v", s, got, err)
		}
	}
}

func BenchmarkBanned(b *testing.B) {
	l, _ := Open(Options{File: filepath.Join(b.TempDir(), "x")})
	for i := range 10000 {
		l.put(Entry{Network: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)})
	}
	a := ip("192.0.2.1")
	for b.Loop() {
		l.Banned(a, true)
	}
}

func FuzzParseNetwork(f *testing.F) {
	for _, s := range []string{"192.0.2.1", "192.0.2.0/24", "fe80::1%eth0", "::ffff:192.0.2.0/120", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseNetwork(s)
		if err == nil && (!p.IsValid() || p != p.Masked() || p.Bits() == 0 || p.Addr().Zone() != "") {
			t.Errorf("%q: %v", s, p)
		}
	})
}
