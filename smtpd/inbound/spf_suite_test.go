package inbound

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
)

// spfSuite is one part of testdata/rfc7208/suite.json.
type spfSuite struct {
	About   string     `json:"about"`
	Zone    [][]string `json:"zone"` // name, type, data
	Failing []string   `json:"failing"`
	Tests   []struct {
		Name     string   `json:"name"`
		HELO     string   `json:"helo"`
		Host     string   `json:"host"`
		MailFrom string   `json:"mailfrom"`
		Result   []string `json:"result"`
	} `json:"tests"`
}

// spfDeviations are tests of the suite that end otherwise here, with what we say
// and why: the library that judges is more tolerant than the RFC, for records that no
// sender has reason to publish. A test that ends as it should may not stand here.
var spfDeviations = map[string]string{
	"non-ascii-policy":             "fail: a record is read up to the term that matches",
	"control-char-policy":          "fail: a record is read up to the term that matches",
	"detect-errors-anywhere":       "pass: a record is read up to the term that matches",
	"redirect-is-modifier":         "pass: a record is read up to the term that matches",
	"invalid-domain":               "fail: a record is read up to the term that matches",
	"unknown-modifier-syntax":      "fail: a record is read up to the term that matches",
	"a-bad-domain":                 "neutral: a name that cannot exist is one without addresses",
	"a-null":                       "neutral: a name that cannot exist is one without addresses",
	"a-numeric":                    "neutral: a name that cannot exist is one without addresses",
	"a-numeric-toplabel":           "neutral: a name that cannot exist is one without addresses",
	"a-bad-toplabel":               "neutral: a name that cannot exist is one without addresses",
	"a-only-toplabel":              "neutral: a name that cannot exist is one without addresses",
	"a-only-toplabel-trailing-dot": "neutral: a name that cannot exist is one without addresses",
	"mx-bad-domain":                "neutral: a name that cannot exist is one without addresses",
	"mx-null":                      "neutral: a name that cannot exist is one without addresses",
	"mx-numeric-top-label":         "neutral: a name that cannot exist is one without addresses",
	"mx-bad-toplab":                "neutral: a name that cannot exist is one without addresses",
	"a-colon-domain":               "permerror: a slash within a name is taken for a length",
	"a-colon-domain-ip4mapped":     "permerror: a slash within a name is taken for a length",
	"mx-colon-domain":              "permerror: a slash within a name is taken for a length",
	"mx-colon-domain-ip4mapped":    "permerror: a slash within a name is taken for a length",
	"exp-empty-domain":             "fail: explanations are not asked for, and their syntax is not looked at",
	"exp-syntax-error":             "neutral: explanations are not asked for, and their syntax is not looked at",
	"exp-twice":                    "fail: explanations are not asked for, and their syntax is not looked at",
	"exp-only-macro-char":          "fail: explanations are not asked for, and their syntax is not looked at",
	"redirect-syntax-error":        "neutral: an empty redirect is none",
	"redirect-empty-domain":        "neutral: an empty redirect is none",
	"cidr4-032":                    "pass: a length may begin with zeros",
	"bare-ip6":                     "fail: an address without its colon is an unknown modifier",
	"macro-mania-in-domain":        "fail: a name with such characters is not asked for",
	"p-macro-multiple":             "neutral: the macro p is the word unknown",
}

func TestSPFSuite(t *testing.T) {
	b, err := os.ReadFile("testdata/rfc7208/suite.json")
	if err != nil {
		t.Fatal(err)
	}
	var suites []spfSuite
	if err := json.Unmarshal(b, &suites); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range suites {
		f, err := dns.NewFake(s.zone())
		if err != nil {
			t.Fatalf("%s: %v", s.About, err)
		}
		for _, name := range s.Failing {
			f.Silence(name)
		}
		i := inspector(t, f)
		silence := time.Minute // only where somebody is silent do we mean to wait
		if len(s.Failing) > 0 {
			silence = 300 * time.Millisecond
		}
		for _, c := range s.Tests {
			n++
			ctx, cancel := context.WithTimeout(t.Context(), silence)
			v := i.spf(ctx, Mail{Remote: netip.MustParseAddr(c.Host).Unmap(), HELO: c.HELO, ReversePath: c.MailFrom})
			cancel()
			want, why, _ := strings.Cut(spfDeviations[c.Name], ": ")
			switch {
			case want == "" && !slices.Contains(c.Result, v.Result):
				t.Errorf("%s: %s: %s, want %q (%s)", s.About, c.Name, v.Result, c.Result, v.Reason)
			case want != "" && v.Result != want:
				t.Errorf("%s: %s is listed as %s (%s), but is %s", s.About, c.Name, want, why, v.Result)
			case want != "" && slices.Contains(c.Result, want):
				t.Errorf("%s: %s must not be listed as a deviation", s.About, c.Name)
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d tests", n)
	}
}

// zone writes the records as a master file. Each rune of the suite is a byte.
func (s spfSuite) zone() string {
	var b strings.Builder
	for _, r := range s.Zone {
		name := strings.ReplaceAll(masterEscape(strings.TrimSuffix(r[0], ".")), " ", `\032`)
		if r[1] != "TXT" {
			if strings.HasSuffix(r[2], " ") {
				r[2] += "." // a mail exchanger without a name
			}
			fmt.Fprintf(&b, "%s. %s %s\n", name, r[1], masterEscape(strings.Join(r[2:], " ")))
			continue
		}
		fmt.Fprintf(&b, "%s. TXT", name)
		for _, text := range r[2:] {
			for len(text) > 0 { // strings of at most 255 bytes
				n := 0
				fmt.Fprint(&b, ` "`)
				for at, c := range text {
					if n++; n > 250 {
						text = text[at:]
						break
					}
					if c < ' ' || c > '~' || c == '"' || c == '\\' || c == ';' {
						fmt.Fprintf(&b, `\%03d`, c&0xff)
					} else {
						fmt.Fprintf(&b, "%c", c)
					}
				}
				fmt.Fprint(&b, `"`)
				if n <= 250 {
					text = ""
				}
			}
		}
		if len(r) == 2 {
			fmt.Fprint(&b, ` ""`)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

func masterEscape(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c&0xff)
		case strings.ContainsRune(`"\;()@$`, c):
			fmt.Fprintf(&b, `\%c`, c)
		default:
			fmt.Fprintf(&b, "%c", c)
		}
	}
	return b.String()
}
