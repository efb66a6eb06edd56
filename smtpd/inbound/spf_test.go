package inbound

import (
	"testing"

	"svc.plus/mailsrvd/internal/dns"
)

// spfZone is that of RFC 7208 appendix A, with records that the text asks for.
const spfZone = `
example.com        A   192.0.2.10
example.com        A   192.0.2.11
example.com        MX 10 mail-a.example.com
example.com        MX 20 mail-b.example.com
amy.example.com    A   192.0.2.65
bob.example.com    A   192.0.2.66
mail-a.example.com A   192.0.2.129
mail-b.example.com A   192.0.2.130
example.org        MX 10 mail-c.example.org
mail-c.example.org A   192.0.2.140
10.2.0.192.in-addr.arpa PTR example.com
65.2.0.192.in-addr.arpa PTR amy.example.com
`

// TestSPFExamplesOfTheRFC takes records and what is said about them from RFC
// 7208 appendix A and its sections.
func TestSPFExamplesOfTheRFC(t *testing.T) {
	for _, c := range []struct{ name, record, remote, want string }{
		{"A.1 all", `"v=spf1 +all"`, "203.0.113.1", "pass"},
		{"A.1 a", `"v=spf1 a -all"`, "192.0.2.10", "pass"},
		{"A.1 a, the other", `"v=spf1 a -all"`, "192.0.2.11", "pass"},
		{"A.1 a, a stranger", `"v=spf1 a -all"`, "192.0.2.12", "fail"},
		{"A.1 a:domain has no address", `"v=spf1 a:example.org -all"`, "192.0.2.140", "fail"},
		{"A.1 mx", `"v=spf1 mx -all"`, "192.0.2.129", "pass"},
		{"A.1 mx:domain", `"v=spf1 mx:example.org -all"`, "192.0.2.140", "pass"},
		{"A.1 mx of both", `"v=spf1 mx mx:example.org -all"`, "192.0.2.130", "pass"},
		{"A.1 mx with a length", `"v=spf1 mx/30 mx:example.org/30 -all"`, "192.0.2.131", "pass"},
		{"A.1 mx outside of the length", `"v=spf1 mx/30 mx:example.org/30 -all"`, "192.0.2.132", "fail"},
		{"A.1 ptr", `"v=spf1 ptr -all"`, "192.0.2.65", "pass"},
		{"A.1 ptr of none", `"v=spf1 ptr -all"`, "192.0.2.140", "fail"},
		{"A.1 ip4", `"v=spf1 ip4:192.0.2.128/28 -all"`, "192.0.2.129", "pass"},
		{"A.1 ip4 outside", `"v=spf1 ip4:192.0.2.128/28 -all"`, "192.0.2.65", "fail"},
		{"8.2 neutral", `"v=spf1 ?all"`, "192.0.2.1", "neutral"},
		{"4.7 nothing matches", `"v=spf1 ip4:192.0.2.1"`, "192.0.2.2", "neutral"},
		{"8.5 softfail", `"v=spf1 ~all"`, "192.0.2.1", "softfail"},
		{"4.5 no record", `"hello"`, "192.0.2.1", "none"},
		{"4.5 another version", `"v=spf10 -all"`, "192.0.2.1", "none"},
		{"4.6 syntax", `"v=spf1 ipv4:192.0.2.1 -all"`, "192.0.2.1", "permerror"},
		{"5.2 include of nothing", `"v=spf1 include:nothing.example -all"`, "192.0.2.1", "permerror"},
		{"6.1 redirect to nothing", `"v=spf1 redirect=nothing.example"`, "192.0.2.1", "permerror"},
		{"4.6.4 a loop", `"v=spf1 include:example.com -all"`, "192.0.2.1", "permerror"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := dns.NewFake(spfZone + "example.com TXT " + c.record)
			if err != nil {
				t.Fatal(err)
			}
			r := inspector(t, f).Inspect(t.Context(), at(mail("x@example.com", "x@example.com"), c.remote))
			if v, _ := r.best("spf"); v.Result != c.want {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestSPFLookupsAreBounded(t *testing.T) {
	f, err := dns.NewFake(`wide.example TXT "v=spf1 a:a1.example a:a2.example a:a3.example a:a4.example a:a5.example a:a6.example a:a7.example a:a8.example a:a9.example a:b1.example a:b2.example -all"`)
	if err != nil {
		t.Fatal(err)
	}
	r := inspector(t, f).Inspect(t.Context(), mail("x@wide.example", "x@wide.example"))
	if v, _ := r.best("spf"); v.Result != permError || f.Asked("b2.example") > 0 {
		t.Errorf("%+v", v)
	}
}
