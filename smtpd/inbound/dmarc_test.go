package inbound

import (
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dmarc"
)

func TestAligned(t *testing.T) {
	for _, c := range []struct {
		domain, from    string
		relaxed, strict bool
	}{
		{"example.org", "example.org", true, true},
		{"Example.ORG", "example.org", true, true},
		{"mail.example.org", "example.org", true, false},
		{"example.org", "mail.example.org", true, false},
		{"a.example.org", "b.example.org", true, false},
		{"example.org", "example.net", false, false},
		{"badexample.org", "example.org", false, false},
		{"example.co.uk", "other.co.uk", false, false}, // co.uk is a public suffix
		{"a.example.co.uk", "example.co.uk", true, false},
		{"co.uk", "example.co.uk", false, false},
		{"co.uk", "co.uk", true, true},
		{"one.github.io", "two.github.io", false, false},
		{"", "example.org", false, false},
		{"example.org", "", false, false},
		{"", "", false, false},
	} {
		if got := aligned(c.domain, c.from, dmarc.AlignmentRelaxed); got != c.relaxed {
			t.Errorf("%q, %q relaxed: %v", c.domain, c.from, got)
		}
		if got := aligned(c.domain, c.from, dmarc.AlignmentStrict); got != c.strict {
			t.Errorf("%q, %q strict: %v", c.domain, c.from, got)
		}
	}
}

func TestChooseRecord(t *testing.T) {
	for _, c := range []struct {
		txts []string
		want string // p sp np adkim aspf
		err  string
	}{
		{[]string{"v=DMARC1; p=none"}, "none   r r", ""},
		{[]string{"v=spf1 -all", "v=DMARC1;p=reject;sp=none;np=reject;adkim=s;aspf=s"}, "reject none reject s s", ""},
		{[]string{" v = DMARC1 ; P = Reject ; ASPF=S; x=y; broken; rf=odd; ri=x; fo=z; pct=200"}, "reject   r s", ""},
		{[]string{"v=DMARC1; p=reject; p=none"}, "reject   r r", ""},
		{[]string{"v=DMARC1; p=reject; np=odd; adkim=odd"}, "reject   r r", ""},
		{[]string{"v=DMARC1; rua=mailto:a@example.org"}, "none   r r", ""},
		{[]string{"v=DMARC1; p=reject; sp=odd; rua=mailto:a@example.org"}, "none   r r", ""},
		{[]string{"v=DMARC1; p=odd"}, "", "no good p="},
		{[]string{"v=DMARC1; p=reject; sp=odd"}, "", "no good sp="},
		{[]string{"v=DMARC1"}, "", "no good p="},
		{[]string{"v=DMARC1; p=none", "v=DMARC1; p=reject"}, "", errManyRecords.Error()},
		{[]string{"p=reject; v=DMARC1"}, "", errNoRecord.Error()},
		{[]string{"v=DMARC2; p=reject"}, "", errNoRecord.Error()},
		{[]string{"v=dmarc1; p=reject"}, "", errNoRecord.Error()},
		{nil, "", errNoRecord.Error()},
	} {
		r, err := chooseRecord(c.txts)
		if err != nil {
			if c.err == "" || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: %v", c.txts, err)
			}
			continue
		}
		got := strings.Join([]string{string(r.Policy), string(r.SubdomainPolicy), string(r.missing), string(r.DKIMAlignment), string(r.SPFAlignment)}, " ")
		if got != c.want || c.err != "" || r.Percent != nil {
			t.Errorf("%q: %q", c.txts, got)
		}
	}
}

func TestPercent(t *testing.T) {
	for s, want := range map[string]bool{"0": true, "7": true, "100": true, "099": true, "101": false, "": false, "-1": false, "1e2": false, "1000": false} {
		if isPercent(s) != want {
			t.Errorf("%q", s)
		}
	}
	if r, err := parseRecord("v=DMARC1; p=none; pct=007"); err != nil || *r.Percent != 7 {
		t.Errorf("%v, %v", r, err)
	}
}

func TestAuthor(t *testing.T) {
	for _, c := range []struct{ header, want string }{
		{"From: a@example.org\r\n", "example.org"},
		{"FROM : Alice <a@Example.ORG>\r\n", "example.org"},
		{"From:\r\n =?utf-8?q?x?=\r\n <a@example.org>\r\n", "example.org"},
		{"From: \"ceo@bank.example\" <a@evil.example>\r\n", "evil.example"},
		{"From: a@b@evil.example\r\n", ""},
		{"From: a@bücher.example\r\n", "xn--bcher-kva.example"},
		{"From: a@x.example, b@y.example\r\n", ""},
		{"From: <a@x.example> <b@y.example>\r\n", ""},
		{"From: friends: a@x.example, b@y.example;\r\n", ""},
		{"From: a@x.example\r\nFrom: b@y.example\r\n", ""},
		{"From: a@x.example\r\nno field\r\nfrom: b@y.example\r\n", ""},
		{"From: nobody\r\n", ""},
		{"From:\r\n", ""},
		{"From: a@[192.0.2.1]\r\n", ""},
		{"Subject: x\r\n", ""},
		{"", ""},
	} {
		got, err := author([]byte(c.header))
		if got != c.want || (c.want == "") != errors.Is(err, errAuthor) {
			t.Errorf("%q: %q, %v", c.header, got, err)
		}
	}
}

func FuzzAuthor(f *testing.F) {
	for _, s := range []string{"From: a@example.org\r\n", "From: a: b@c.d, e;\r\n", "From: \"\\", "x\r\nFrom:(((\r\n <a@b.c>"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		domain, err := author(header)
		if err != nil != (domain == "") || strings.ContainsAny(domain, " \r\n<>@;") {
			t.Errorf("%q, %v", domain, err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	for _, s := range []string{"v=DMARC1; p=reject; sp=none; pct=5", "v=DMARC1;rua=mailto:x", "v=DMARC1;;;=;p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, txt string) {
		r, err := chooseRecord([]string{txt})
		if err == nil && (r.Policy == "" || r.Percent != nil && (*r.Percent < 0 || *r.Percent > 100)) {
			t.Errorf("%+v", r)
		}
	})
}
