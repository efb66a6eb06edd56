package inbound

import (
	"fmt"
	"testing"
)

func TestEvaluations(t *testing.T) {
	const reporting = `
_dmarc.told.example   TXT "v=DMARC1; p=reject; sp=none; pct=40; adkim=s; rua=mailto:A@told.example"
told.example          TXT "v=spf1 ip4:192.0.2.1 -all"
`
	f := clientFake(t)
	if err := f.Add(reporting); err != nil {
		t.Fatal(err)
	}
	signer, record := newSigner(t, "told.example")
	if err := f.Add(record); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		mail    Mail
		setting Setting
		draw    int
		want    string // disposition, override, dkim, spf, envelope, results
	}{
		{"good", mail("a@told.example", "a@told.example"), Reject, 0, "none  false true told.example [] {told.example mfrom pass}"},
		{"bad", at(mail("a@told.example", "a@told.example"), "192.0.2.9"), Reject, 0, "reject  false false told.example [] {told.example mfrom fail}"},
		{"sampled out", at(mail("a@told.example", "a@told.example"), "192.0.2.9"), Reject, 50, "quarantine sampled_out false false told.example [] {told.example mfrom fail}"},
		{"told only", at(mail("a@told.example", "a@told.example"), "192.0.2.9"), Tag, 0, "none local_policy false false told.example [] {told.example mfrom fail}"},
		{"no reverse-path", at(mail("", "a@told.example"), "192.0.2.1"), Tag, 0, "none local_policy false false  [] {helo.example helo pass}"},
		{"signed", signedFor(t, signer, "told.example", "a@host.example", "a@told.example"), Reject, 0, "none  true false host.example [{told.example s1 pass}] {host.example mfrom none}"},
		{"strict", signedFor(t, signer, "told.example", "a@host.example", "a@sub.told.example"), Reject, 0, "none  false false host.example [{told.example s1 pass}] {host.example mfrom none}"},
		{"nobody asks", mail("a@good.example", "a@good.example"), Reject, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			i := inspector(t, f, follow(c.setting), func(o *Options) {
				o.Evaluated = func(e Evaluation) {
					got = fmt.Sprint(e.Disposition, " ", e.Override, " ", e.DKIMAligned, " ", e.SPFAligned, " ", e.EnvelopeFrom, " ", e.DKIM, " ", e.SPF)
					if p := e.Published; e.Domain != "told.example" || p.P != "reject" || p.SP != "none" || p.ADKIM != "s" || *p.Percent != 40 {
						t.Errorf("%+v", e)
					}
				}
			})
			i.draw = func() int { return c.draw }
			i.Inspect(t.Context(), c.mail)
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
	if got := fmt.Sprint(ReportURIs([]string{"x", "v=DMARC1; p=odd; RUA = mailto:A@b.example , mailto:c@d.example!10m; rua=x"})); got != "[mailto:A@b.example   mailto:c@d.example!10m]" {
		t.Errorf("%s", got)
	}
}
