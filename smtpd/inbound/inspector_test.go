package inbound

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

const zone = `
good.example                 TXT "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all"
_dmarc.good.example          TXT "v=DMARC1; p=reject"
news.good.example            TXT "v=spf1 ip4:192.0.2.1 -all"
soft.example                 TXT "v=spf1 ~all"
_dmarc.soft.example          TXT "v=DMARC1; p=quarantine"
watch.example                TXT "v=spf1 -all"
_dmarc.watch.example         TXT "v=DMARC1; p=none; sp=reject; np=quarantine"
sub.watch.example            A   192.0.2.9
helo.example                 TXT "v=spf1 ip4:192.0.2.1 -all"
host.example                 A   192.0.2.1
host.example                 AAAA 2001:db8::1
liar.example                 A   192.0.2.77
1.2.0.192.in-addr.arpa       PTR host.example
2.2.0.192.in-addr.arpa       PTR liar.example
`

func newFake(t testing.TB) *dns.Fake {
	t.Helper()
	f, err := dns.NewFake(zone)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func inspector(t testing.TB, f *dns.Fake, edit ...func(*Options)) *Inspector {
	t.Helper()
	o := Options{AuthservID: "MX.test", Resolver: f.Resolver()}
	for _, e := range edit {
		e(&o)
	}
	i, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func follow(s Setting) func(*Options) { return func(o *Options) { o.DMARC = s } }

// mail is a message from 192.0.2.1 of the reverse-path and the author.
func mail(reversePath, from string) Mail {
	header := "From: " + from + "\r\nSubject: x\r\n"
	return Mail{Trace: "t1", Remote: netip.MustParseAddr("192.0.2.1"), HELO: "helo.example", ReversePath: reversePath,
		Header: []byte(header), Content: message.FromBytes([]byte(header + "\r\nhello\r\n"))}
}

func TestInspect(t *testing.T) {
	signer, record := newSigner(t, "good.example")
	cases := []struct {
		name    string
		mail    Mail
		setting Setting
		want    string // spf dkim dmarc
		action  Action
		trusted bool
	}{
		{"all is well", mail("a@good.example", "a@good.example"), Reject, "pass none pass", Deliver, true},
		{"relaxed alignment", mail("a@news.good.example", "a@good.example"), Reject, "pass none pass", Deliver, true},
		{"IPv6", at(mail("a@good.example", "a@good.example"), "2001:db8::1"), Reject, "pass none pass", Deliver, true},
		{"IPv4 in IPv6", at(mail("a@good.example", "a@good.example"), "::ffff:192.0.2.1"), Reject, "pass none pass", Deliver, true},
		{"forged and only told", at(mail("a@good.example", "a@good.example"), "192.0.2.2"), Tag, "fail none fail", Deliver, false},
		{"forged and set aside", at(mail("a@good.example", "a@good.example"), "192.0.2.2"), Quarantine, "fail none fail", Junk, false},
		{"forged and refused", at(mail("a@good.example", "a@good.example"), "192.0.2.2"), Reject, "fail none fail", Refuse, false},
		{"another's reverse-path", mail("a@helo.example", "a@good.example"), Reject, "pass none fail", Refuse, true},
		{"quarantine is not refused", mail("a@soft.example", "a@soft.example"), Reject, "softfail none fail", Junk, false},
		{"the domain wants nothing", mail("a@watch.example", "a@watch.example"), Reject, "fail none fail", Deliver, false},
		{"its subdomain does", mail("a@watch.example", "a@sub.watch.example"), Reject, "fail none fail", Refuse, false},
		{"a subdomain that is none", mail("a@watch.example", "a@no.watch.example"), Reject, "fail none fail", Junk, false},
		{"no policy", mail("a@host.example", "a@host.example"), Reject, "none none none", Deliver, false},
		{"the null reverse-path", mail("", "a@helo.example"), Reject, "pass none none", Deliver, false},
		{"a name that is none", helo(mail("", "a@good.example"), "[192.0.2.1]"), Tag, "none none fail", Deliver, false},
		{"signed by the author", signed(t, signer, "a@host.example", "a@good.example"), Reject, "none pass pass", Deliver, false},
		{"signed, and bounces go home", signed(t, signer, "a@news.good.example", "a@good.example"), Reject, "pass pass pass", Deliver, true},
		{"signed by a stranger", signed(t, signer, "a@host.example", "a@soft.example"), Reject, "none pass fail", Junk, false},
		{"two authors", mail("a@good.example", "a@good.example, b@good.example"), Tag, "pass none permerror", Deliver, true},
		{"two authors are set aside", mail("a@good.example", "a@good.example, b@good.example"), Reject, "pass none permerror", Junk, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			if err := f.Add(record); err != nil {
				t.Fatal(err)
			}
			r := inspector(t, f, follow(c.setting)).Inspect(t.Context(), c.mail)
			if got := results(r); got != c.want || r.Action != c.action || r.Trusted != c.trusted {
				t.Errorf("%s, %v, trusted %v\n%s", got, r.Action, r.Trusted, r.Header)
			}
			if (r.Err != nil) != (c.action == Refuse) {
				t.Errorf("Err = %v", r.Err)
			}
		})
	}
}

func at(m Mail, remote string) Mail { m.Remote = netip.MustParseAddr(remote); return m }
func helo(m Mail, name string) Mail { m.HELO = name; return m }

// results are those of spf, dkim and dmarc.
func results(r Report) string {
	var list []string
	for _, check := range []string{"spf", "dkim", "dmarc"} {
		v, _ := r.best(check)
		list = append(list, v.Result)
	}
	return strings.Join(list, " ")
}

// newSigner is our own signer for a domain, and its line in the zone.
func newSigner(t testing.TB, domain string) (*dkim.Signer, string) {
	t.Helper()
	key, err := dkim.GenerateKey(dkim.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dkim.NewSigner([]dkim.Identity{{Domain: domain, Selector: "s1", Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	return s, dkim.RecordName(domain, "s1") + ` TXT "` + dkim.Record(key) + `"`
}

// signed is a message that good.example has signed.
func signed(t testing.TB, s *dkim.Signer, reversePath, from string) Mail {
	t.Helper()
	return signedFor(t, s, "good.example", reversePath, from)
}

func signedFor(t testing.TB, s *dkim.Signer, domain, reversePath, from string) Mail {
	t.Helper()
	m := mail(reversePath, from)
	header, err := s.Sign(t.Context(), domain, m.Content)
	if err != nil {
		t.Fatal(err)
	}
	m.Content = m.Content.WithPrefix(header)
	m.Header = append(header, m.Header...)
	return m
}

func TestIprev(t *testing.T) {
	for remote, want := range map[string]string{"192.0.2.1": pass, "192.0.2.2": fail, "192.0.2.3": permError} {
		r := inspector(t, newFake(t)).Inspect(t.Context(), at(mail("", "a@good.example"), remote))
		if v, _ := r.best("iprev"); v.Result != want {
			t.Errorf("%s: %+v", remote, v)
		}
	}
}

func TestResultsFieldOfAMessage(t *testing.T) {
	r := inspector(t, newFake(t), follow(Quarantine)).Inspect(t.Context(), at(mail("a@good.example", "a@good.example"), "192.0.2.1"))
	const want = "Authentication-Results: mx.test;\r\n\tiprev=pass (host.example)\r\n\t policy.iprev=192.0.2.1;\r\n" +
		"\tspf=pass\r\n\t smtp.mailfrom=good.example;\r\n\tdkim=none;\r\n\tdmarc=pass (p=reject dis=none)\r\n\t header.from=good.example\r\n"
	if string(r.Header) != want {
		t.Errorf("got\n%s", r.Header)
	}
}

// TestDNSFailuresRefuseNothing covers resolvers that fail and that say nothing.
func TestDNSFailuresRefuseNothing(t *testing.T) {
	names := []string{"good.example", "_dmarc.good.example", "s1._domainkey.good.example", "1.2.0.192.in-addr.arpa"}
	for how, breakIt := range map[string]func(*dns.Fake, string){"fails": (*dns.Fake).Fail, "is silent": (*dns.Fake).Silence} {
		t.Run(how, func(t *testing.T) {
			signer, record := newSigner(t, "good.example")
			f := newFake(t)
			if err := f.Add(record); err != nil {
				t.Fatal(err)
			}
			for _, n := range names {
				breakIt(f, n)
			}
			i := inspector(t, f, follow(Reject), func(o *Options) { o.Timeout = 50 * time.Millisecond })
			r := i.Inspect(t.Context(), signed(t, signer, "a@good.example", "a@good.example"))
			if results(r) != "temperror temperror temperror" || r.Action != Deliver || r.Trusted {
				t.Errorf("%v\n%s", r.Action, r.Header)
			}
		})
	}
	t.Run("policy is there, identities are not", func(t *testing.T) {
		f := newFake(t)
		f.Fail("news.good.example")
		r := inspector(t, f, follow(Reject)).Inspect(t.Context(), mail("a@news.good.example", "a@good.example"))
		if results(r) != "temperror none temperror" || r.Action != Deliver {
			t.Errorf("%v\n%s", r.Action, r.Header)
		}
	})
	t.Run("the caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f := newFake(t)
		f.Silence("good.example")
		if r := inspector(t, f, follow(Reject)).Inspect(ctx, mail("a@good.example", "a@good.example")); r.Action != Deliver {
			t.Errorf("%s", r.Header)
		}
	})
}

func TestPercentSparesAStep(t *testing.T) {
	f := newFake(t)
	if err := f.Add(`_dmarc.some.example TXT "v=DMARC1; p=reject; pct=30"`); err != nil {
		t.Fatal(err)
	}
	i := inspector(t, f, follow(Reject))
	for draw, want := range map[int]Action{0: Refuse, 29: Refuse, 30: Junk, 99: Junk} {
		i.draw = func() int { return draw }
		if r := i.Inspect(t.Context(), mail("a@host.example", "a@some.example")); r.Action != want {
			t.Errorf("%d: %v", draw, r.Action)
		}
	}
}

func TestThisHostIsNotJudged(t *testing.T) {
	i := inspector(t, newFake(t), follow(Reject), func(o *Options) { o.Skip = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	for _, remote := range []netip.Addr{{}, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:127.0.0.1")} {
		m := mail("a@good.example", "a@good.example")
		m.Remote = remote
		if r := i.Inspect(t.Context(), m); r.Header != nil || r.Verdicts != nil || r.Action != Deliver {
			t.Errorf("%v: %+v", remote, r)
		}
	}
}

func TestSettingsSwitchChecksOff(t *testing.T) {
	i := inspector(t, newFake(t), func(o *Options) { o.SPF, o.DKIM, o.DMARC = Off, Off, Off })
	r := i.Inspect(t.Context(), mail("a@good.example", "a@good.example"))
	if len(r.Verdicts) != 1 || r.Trusted || bytes.Contains(r.Header, []byte("spf=")) {
		t.Errorf("%+v", r)
	}
	bad := Options{AuthservID: "a b", SPF: Reject, DMARC: "maybe"}
	if _, err := New(bad); err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("err = %v", err)
	}
}

func TestAThousandSignaturesCostEight(t *testing.T) {
	f := newFake(t)
	header := strings.Repeat("DKIM-Signature: v=1; a=ed25519-sha256; d=x.example; s=s; h=from; bh=AAAA; b=AAAA\r\n", 1000) + "From: a@good.example\r\n"
	m := mail("a@good.example", "a@good.example")
	m.Header, m.Content = []byte(header), message.FromBytes([]byte(header+"\r\nhello\r\n"))
	r := inspector(t, f).Inspect(t.Context(), m)
	if n := bytes.Count(r.Header, []byte("dkim=")); n > 8 || n == 0 || f.Asked("s._domainkey.x.example") > 8 {
		t.Errorf("%d results, asked %d times", n, f.Asked("s._domainkey.x.example"))
	}
}

func TestBugsInChecksAreTempErrors(t *testing.T) {
	reg := prometheus.NewRegistry()
	i := inspector(t, newFake(t), func(o *Options) { o.Registerer = reg })
	got := beside(i, t.Context(), Mail{}, func(context.Context, Mail) Verdict { panic("bug") }, unfinished("spf"))()
	if got.Result != tempError || testutil.ToFloat64(i.metrics.panics) != 1 {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := make(chan struct{})
	defer close(release)
	stuck := beside(i, ctx, Mail{}, func(context.Context, Mail) Verdict { <-release; return Verdict{} }, unfinished("spf"))()
	if stuck.Result != tempError {
		t.Errorf("%+v", stuck)
	}
}

func TestInspectCounts(t *testing.T) {
	reg := prometheus.NewRegistry()
	i := inspector(t, newFake(t), follow(Reject), func(o *Options) { o.Registerer = reg })
	again := inspector(t, newFake(t), func(o *Options) { o.Registerer = reg })
	r := i.Inspect(t.Context(), at(mail("a@good.example", "a@good.example"), "192.0.2.2"))
	if testutil.ToFloat64(again.metrics.results.WithLabelValues("spf", "fail")) != 1 || testutil.ToFloat64(i.metrics.actions.WithLabelValues("reject")) != 1 {
		t.Error("not counted")
	}
	attrs := r.Attrs()
	if len(attrs) != 10 || attrs[2] != "spf" || attrs[3] != "fail" || attrs[9] != "reject" {
		t.Errorf("%v", attrs)
	}
	if r.Err.Code != 550 || !errors.Is(r.Err, error(r.Err)) {
		t.Errorf("%v", r.Err)
	}
}

func BenchmarkInspect(b *testing.B) {
	signer, record := newSigner(b, "good.example")
	f := newFake(b)
	if err := f.Add(record); err != nil {
		b.Fatal(err)
	}
	i, m := inspector(b, f), signed(b, signer, "a@good.example", "a@good.example")
	b.ReportAllocs()
	for b.Loop() {
		i.Inspect(b.Context(), m)
	}
}
