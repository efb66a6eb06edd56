package inbound

import (
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

// hop hands a message on as domain does: it changes it, writes its results and
// seals.
type hop struct {
	domain, results string
	// changes says that it breaks the chain before it.
	changes bool
}

// forwarded is a message of a@good.example, whose policy is to reject, after
// hops; it comes from an address that good.example does not name.
func forwarded(t *testing.T, f *dns.Fake, hops ...hop) Mail {
	t.Helper()
	m := at(mail("bounce@list.example", "a@good.example"), "192.0.2.2")
	text := string(m.Header) + "\r\nhello\r\n"
	for _, h := range hops {
		signer, record := newSealer(t, h.domain)
		if _, err := f.Resolver().TXT(t.Context(), dkim.RecordName(h.domain, "s1")); err != nil { // not there yet
			if err := f.Add(record); err != nil {
				t.Fatal(err)
			}
		}
		if h.changes {
			text += "-- a footer\r\n"
		}
		text = "Authentication-Results: mx." + h.domain + "; " + h.results + "\r\n" + text
		set, err := signer.Seal(t.Context(), h.domain, "mx."+h.domain, message.FromBytes([]byte(text)), f.Resolver().TXT)
		if err != nil {
			t.Fatal(err)
		}
		text = string(set) + text
	}
	header, _, _ := strings.Cut(text, "\r\n\r\n")
	m.Header, m.Content = []byte(header+"\r\n"), message.FromBytes([]byte(text))
	return m
}

// sealerKey is made once; RSA takes a moment.
var sealerKey = sync.OnceValues(func() (*dkim.Key, error) { return dkim.GenerateKey(dkim.RSA) })

// newSealer is newSigner with an RSA key.
func newSealer(t *testing.T, domain string) (*dkim.Signer, string) {
	t.Helper()
	key, err := sealerKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := dkim.NewSigner([]dkim.Identity{{Domain: domain, Selector: "s1", Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	return s, dkim.ZoneLine(domain, "s1", key)
}

const seenPass = "spf=pass; dmarc=pass (p=reject) header.from=good.example"

func TestTrustedSealersVouch(t *testing.T) {
	cases := []struct {
		name    string
		hops    []hop
		trusted string
		arc     string // result
		action  Action
		comment string // of dmarc, a part
	}{
		{"no chain", nil, "list.example", "", Refuse, "dis=reject"},
		{"a trusted list", []hop{{"list.example", seenPass, false}}, "list.example", "pass", Deliver, "p=reject dis=none arc=list.example"},
		{"a list that nobody trusts", []hop{{"list.example", seenPass, false}}, "", "pass", Refuse, "dis=reject"},
		{"another is trusted", []hop{{"list.example", seenPass, false}}, "other.example", "pass", Refuse, "dis=reject"},
		{"it saw a failure", []hop{{"list.example", "dmarc=fail header.from=good.example", false}}, "list.example", "pass", Refuse, "dis=reject"},
		{"it saw another author", []hop{{"list.example", "dmarc=pass header.from=evil.example", false}}, "list.example", "pass", Refuse, "dis=reject"},
		{"it does not say which author", []hop{{"list.example", "dmarc=pass", false}}, "list.example", "pass", Refuse, "dis=reject"},
		{"a comment is no result", []hop{{"list.example", "spf=pass (; dmarc=pass header.from=good.example)", false}}, "list.example", "pass", Refuse, "dis=reject"},
		{"a quoted text is no result", []hop{{"list.example", `spf=pass reason="; dmarc=pass header.from=good.example"`, false}}, "list.example", "pass", Refuse, "dis=reject"},
		{"two trusted ones", []hop{{"list.example", seenPass, false}, {"forward.example", "arc=pass; dmarc=fail header.from=good.example", false}}, "list.example forward.example", "pass", Deliver, "arc=list.example"},
		{"the later one is not trusted", []hop{{"list.example", seenPass, false}, {"forward.example", "arc=pass; dmarc=fail header.from=good.example", false}}, "list.example", "pass", Refuse, "dis=reject"},
		{"the earlier one is not trusted", []hop{{"list.example", seenPass, false}, {"forward.example", "arc=pass; dmarc=fail header.from=good.example", false}}, "forward.example", "pass", Refuse, "dis=reject"},
		{"the later one did not check the chain", []hop{{"list.example", seenPass, false}, {"forward.example", "dmarc=fail header.from=good.example", false}}, "list.example forward.example", "pass", Refuse, "dis=reject"},
		{"the later one broke the message", []hop{{"list.example", seenPass, false}, {"forward.example", "arc=pass; " + seenPass, true}}, "list.example forward.example", "fail", Refuse, "dis=reject"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			m := forwarded(t, f, c.hops...)
			i := inspector(t, f, follow(Reject), func(o *Options) { o.TrustedSealers = strings.Fields(c.trusted) })
			r := i.Inspect(t.Context(), m)
			v, _ := r.best("arc")
			d, _ := r.best("dmarc")
			if v.Result != c.arc || r.Action != c.action || d.Result != fail || !strings.Contains(d.Comment, c.comment) {
				t.Errorf("arc=%s, %v, dmarc %s (%s)\n%s", v.Result, r.Action, d.Result, d.Comment, r.Header)
			}
			if has := strings.Contains(string(r.Header), "\tarc="+c.arc); has != (c.arc != "") {
				t.Errorf("header\n%s", r.Header)
			}
		})
	}
}

func TestARCThatIsOffOrBroken(t *testing.T) {
	f := newFake(t)
	m := forwarded(t, f, hop{"list.example", seenPass, false})
	trust := func(o *Options) { o.TrustedSealers = []string{"list.example"} }
	if r := inspector(t, f, follow(Reject), trust, func(o *Options) { o.ARC = Off }).Inspect(t.Context(), m); r.Action != Refuse || strings.Contains(string(r.Header), "\tarc=") {
		t.Errorf("off: %v\n%s", r.Action, r.Header)
	}
	b, err := io.ReadAll(m.Content.NewReader())
	if err != nil {
		t.Fatal(err)
	}
	changed := m
	changed.Content = message.FromBytes([]byte(strings.Replace(string(b), "hello", "hallo", 1)))
	if r := inspector(t, f, follow(Reject), trust).Inspect(t.Context(), changed); r.Action != Refuse || !strings.Contains(string(r.Header), "arc=fail\r\n\t reason=\"ARC-Message-Signature: the body has been changed\"") {
		t.Errorf("changed: %v\n%s", r.Action, r.Header)
	}
	odd := mail("a@good.example", "a@good.example")
	odd.Header = append([]byte("ARC-Odd: x\r\n"), odd.Header...)
	odd.Content = odd.Content.WithPrefix([]byte("ARC-Odd: x\r\n"))
	if r := inspector(t, f).Inspect(t.Context(), odd); strings.Contains(string(r.Header), "\tarc=") {
		t.Errorf("a field of another name:\n%s", r.Header)
	}
	f.Fail("list.example")
	if r := inspector(t, f, follow(Reject), trust).Inspect(t.Context(), m); r.Action != Refuse || !strings.Contains(string(r.Header), "arc=fail") {
		t.Errorf("no key to be had: %v\n%s", r.Action, r.Header)
	}
}

// TestWeReadOurOwnResults: what resultsField writes, parseResults reads.
func TestWeReadOurOwnResults(t *testing.T) {
	f := newFake(t)
	i := inspector(t, f)
	header := string(i.Inspect(t.Context(), mail("a@good.example", "a@good.example")).Header)
	_, body, _ := strings.Cut(header, ":")
	if results := parseResults(body); !passed(results, "dmarc", "good.example") || !passed(results, "spf", "") || passed(results, "dkim", "") {
		t.Errorf("%+v of\n%s", results, header)
	}
}

func TestParseResults(t *testing.T) {
	props := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	for text, want := range map[string][]result{
		"":                 nil,
		"mx.example":       nil,
		"mx.example; none": nil,
		"mx; ; SPF=Pass ;": {{"spf", "pass", props()}},
		"mx; dmarc/1 = pass (p=none (x)) \r\n\theader.from = Good.Example; x": {{"dmarc", "pass", props("header.from", "good.example")}},
		`mx; dkim=pass reason="a;b\"c=d" header.d=x`:                          {{"dkim", "pass", props("reason", "??????", "header.d", "x")}},
		"mx; spf=pass (never closed; dmarc=pass":                              {{"spf", "pass", props()}},
		`mx; spf=pass "never closed; dmarc=pass`:                              {{"spf", "pass", props()}},
	} {
		if got := parseResults(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func FuzzParseResults(f *testing.F) {
	for _, s := range []string{"mx; spf=pass; dmarc=pass (p=none) header.from=a.example", `mx; dkim=pass reason="a;b"`, "(((", `\`, "=;=;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range parseResults(s) {
			if strings.ContainsAny(r.method+r.value, "; ()\"") {
				t.Errorf("%+v of %q", r, s)
			}
		}
	})
}
