package inbound

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/peertest"
)

// rspamdWords translate rspamd's symbols into results.
var rspamdWords = map[string][]struct{ symbol, word string }{
	"spf": {{"R_SPF_ALLOW", pass}, {"R_SPF_PLUSALL", pass}, {"R_SPF_FAIL", fail}, {"R_SPF_SOFTFAIL", "softfail"}, {"R_SPF_NEUTRAL", "neutral"},
		{"R_SPF_NA", none}, {"R_SPF_PERMFAIL", permError}, {"R_SPF_DNSFAIL", tempError}},
	"dkim":  {{"R_DKIM_ALLOW", pass}, {"R_DKIM_REJECT", fail}, {"R_DKIM_NA", none}, {"R_DKIM_PERMFAIL", permError}, {"R_DKIM_TEMPFAIL", tempError}},
	"arc":   {{"ARC_ALLOW", pass}, {"ARC_REJECT", fail}, {"ARC_INVALID", fail}, {"ARC_NA", none}, {"ARC_DNSFAIL", tempError}},
	"dmarc": {{"DMARC_POLICY_ALLOW", pass}, {"DMARC_POLICY_ALLOW_WITH_FAILURES", pass}, {"DMARC_POLICY_REJECT", fail}, {"DMARC_POLICY_QUARANTINE", fail}, {"DMARC_POLICY_SOFTFAIL", fail}, {"DMARC_NA", none}, {"DMARC_BAD_POLICY", permError}, {"DMARC_DNSFAIL", tempError}},
}

// judgedBy asks a running rspamd about a message.
func judgedBy(t *testing.T, addr string, m Mail) map[string]string {
	t.Helper()
	body, err := io.ReadAll(m.Content.NewReader())
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/checkv2", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("IP", m.Remote.String())
	req.Header.Set("Helo", m.HELO)
	req.Header.Set("From", m.ReversePath)
	req.Header.Set("Rcpt", "x@here.test")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r struct{ Symbols map[string]any }
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	words := map[string]string{}
	for check, list := range rspamdWords {
		for _, w := range list {
			if _, ok := r.Symbols[w.symbol]; ok && words[check] == "" {
				words[check] = w.word
			}
		}
	}
	return words
}

const rspamdZone = `
pass.example           TXT "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all"
_dmarc.pass.example    TXT "v=DMARC1; p=reject"
soft.example           TXT "v=spf1 a:host.pass.example ~all"
_dmarc.soft.example    TXT "v=DMARC1; p=quarantine; adkim=s; aspf=s"
host.pass.example      A   192.0.2.1
neutral.example        TXT "v=spf1 ?all"
_dmarc.neutral.example TXT "v=DMARC1; p=none; sp=reject"
include.example        TXT "v=spf1 include:pass.example -all"
_dmarc.include.example TXT "v=DMARC1; p=reject"
redirect.example       TXT "v=spf1 redirect=pass.example"
mx.example             TXT "v=spf1 mx -all"
mx.example             MX  10 host.pass.example
macro.example          TXT "v=spf1 exists:%{i}.list.example -all"
192.0.2.1.list.example A   127.0.0.2
badinclude.example     TXT "v=spf1 include:nothing.example -all"
loop.example           TXT "v=spf1 include:loop.example -all"
two.example            TXT "v=spf1 -all"
two.example            TXT "v=spf1 +all"
broken.example         TXT "v=spf1 ipv4:192.0.2.1 -all"
policies.example       TXT "v=spf1 -all"
_dmarc.policies.example TXT "v=DMARC1; p=none"
_dmarc.policies.example TXT "v=DMARC1; p=reject"
nothing.example        A   192.0.2.50
`

// rspamdDiffers are the records on which rspamd 3.4 does not follow the RFC: it
// goes on, where that wants a permerror, or none for DMARC.
var rspamdDiffers = map[string]string{
	"badinclude spf": permError, // RFC 7208 section 5.2
	"loop spf":       permError, // section 4.6.4
	"two spf":        permError, // section 4.5
	"broken spf":     permError, // section 4.6
	"policies dmarc": none,      // RFC 7489 section 6.6.3
}

// TestSameVerdictsAsRspamd gives the same messages to both, with one DNS behind
// them.
func TestSameVerdictsAsRspamd(t *testing.T) {
	f, err := dns.NewFake(rspamdZone)
	if err != nil {
		t.Fatal(err)
	}
	signer, record := newSigner(t, "pass.example")
	if err := f.Add(record + "\n"); err != nil {
		t.Fatal(err)
	}
	resolver, err := f.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := peertest.StartRspamd(t, resolver, nil)
	i := inspector(t, f)
	for _, domain := range []string{"pass", "soft", "neutral", "include", "redirect", "mx", "macro", "badinclude", "loop", "two", "broken", "policies", "nothing"} {
		for _, remote := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"} {
			for _, how := range []string{"plain", "sub", "signed", "changed"} {
				from := "a@" + domain + ".example"
				if how == "sub" {
					from = "a@sub." + domain + ".example"
				}
				m := mail("bounce@"+domain+".example", from)
				if how == "signed" || how == "changed" {
					m = signedFor(t, signer, "pass.example", "bounce@"+domain+".example", from)
				}
				if how == "changed" {
					b, _ := io.ReadAll(m.Content.NewReader())
					m.Content = message.FromBytes(append(b, "more\r\n"...))
				}
				m.Remote, m.HELO = netip.MustParseAddr(remote), "host.pass.example"
				name := strings.Join([]string{domain, remote, how}, " ")
				theirs := judgedBy(t, r.HTTP, m)
				report := i.Inspect(t.Context(), m)
				for _, check := range []string{"spf", "dkim", "dmarc"} {
					v, _ := report.best(check)
					want, differs := rspamdDiffers[domain+" "+check]
					if !differs {
						want = theirs[check]
					}
					if v.Result != want || differs && v.Result == theirs[check] {
						t.Errorf("%s: %s=%s (%s), rspamd says %s", name, check, v.Result, v.Reason, theirs[check])
					}
				}
			}
		}
	}
}

// TestSameChainsAsRspamd gives the same chains of ARC to both, and what has been
// done to them: all four checks must end alike.
func TestSameChainsAsRspamd(t *testing.T) {
	f, err := dns.NewFake("good.example TXT \"v=spf1 ip4:192.0.2.1 -all\"\n_dmarc.good.example TXT \"v=DMARC1; p=reject\"\nlist.example TXT \"v=spf1 ip4:192.0.2.2 -all\"\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{"list.example", "second.example"} { // before rspamd asks, and remembers
		if _, record := newSealer(t, domain); f.Add(record+"\n") != nil {
			t.Fatal(record)
		}
	}
	resolver, err := f.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := peertest.StartRspamd(t, resolver, nil)
	i := inspector(t, f)
	list, second := hop{domain: "list.example", results: seenPass}, hop{domain: "second.example", results: seenPass}
	footer := second
	footer.changes = true
	for _, c := range []struct {
		name     string
		hops     []hop
		old, new string
	}{
		{"no chain", nil, "", ""},
		{"one", []hop{list}, "", ""},
		{"two", []hop{list, second}, "", ""},
		{"two, the second adds a footer", []hop{list, footer}, "", ""},
		{"a footer that nobody sealed", []hop{list}, "hello\r\n", "hello\r\n-- x\r\n"},
		{"other results", []hop{list, second}, "ARC-Authentication-Results: i=1; mx.list.example; spf=pass", "ARC-Authentication-Results: i=1; mx.list.example; spf=fail"},
		{"another author", []hop{list}, "From: a@good.example", "From: b@good.example"},
		{"a chain that begins with pass", []hop{list}, "cv=none", "cv=pass"},
		{"an instance of 3", []hop{list, second}, "ARC-Seal: i=2", "ARC-Seal: i=3"},
		{"no message signature", []hop{list}, "ARC-Message-Signature:", "X-Was:"}, // rspamd sees no chain there; RFC 8617 section 5.2, step 3 sees a failed one
	} {
		m := forwarded(t, f, c.hops...)
		b, err := io.ReadAll(m.Content.NewReader())
		if err != nil || !strings.Contains(string(b), c.old) {
			t.Fatalf("%s: no %q in %s (%v)", c.name, c.old, b, err)
		}
		text := strings.Replace(string(b), c.old, c.new, 1)
		head, _, _ := strings.Cut(text, "\r\n\r\n")
		m.Header, m.Content, m.HELO = []byte(head+"\r\n"), message.FromBytes([]byte(text)), "host.list.example"
		theirs, report := judgedBy(t, r.HTTP, m), i.Inspect(t.Context(), m)
		for _, check := range []string{"spf", "dkim", "dmarc", "arc"} {
			v, ok := report.best(check)
			if !ok && check == "arc" { // without a chain nothing is told
				v.Result = none
			}
			want := theirs[check]
			if c.name == "no message signature" && check == "arc" && want == none {
				want = fail
			}
			if v.Result != want {
				t.Errorf("%s: %s=%s (%s), rspamd says %q", c.name, check, v.Result, v.Reason, theirs[check])
			}
		}
	}
}
