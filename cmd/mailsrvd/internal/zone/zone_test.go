package zone

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/peertest"
	"svc.plus/mailsrvd/smtpd/relay/mtasts"
)

// testKey is made once; the tests only read it.
func testKey(t *testing.T) *dkim.Key {
	t.Helper()
	k, err := dkim.GenerateKey(dkim.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// testCertificate is self-signed.
func testCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func domain(k *dkim.Key) Domain {
	return Domain{
		Name: "example.org", Hostname: "mail.example.org", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		Postmaster: "pm", Keys: []Key{{Selector: "s1", Key: k}}, Submission: 587, Submissions: 465, IMAP: 143, IMAPS: 993, ManageSieve: 4190,
	}
}

const reverse = "1.2.0.192.in-addr.arpa PTR mail.example.org\n" +
	"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR mail.example.org\n"

// good is the zone that Records writes.
func good(d Domain) string {
	var b strings.Builder
	for _, r := range d.Records() {
		b.WriteString(r.String() + "\n")
	}
	return b.String() + reverse
}

func noFetch(context.Context, string) (string, error) { return "", errors.New("not asked for") }

// TestPrintedRecordsPassTheCheck: whoever pastes what we print is done.
func TestPrintedRecordsPassTheCheck(t *testing.T) {
	d := domain(testKey(t))
	f, err := dns.NewFake(good(d))
	if err != nil {
		t.Fatalf("%v in\n%s", err, good(d))
	}
	if findings := d.Check(context.Background(), f.Resolver(), noFetch); len(findings) > 0 {
		t.Errorf("%+v", findings)
	}
}

func TestRecordsAreZoneLines(t *testing.T) {
	rsa, err := dkim.GenerateKey(dkim.RSA)
	if err != nil {
		t.Fatal(err)
	}
	d := domain(rsa)
	d.IMAP = 0
	types := map[string]int{}
	for _, r := range d.Records() {
		rr, err := mdns.NewRR(r.String())
		if err != nil {
			t.Errorf("%s: %v", r, err)
			continue
		}
		types[mdns.TypeToString[rr.Header().Rrtype]]++
		if txt, ok := rr.(*mdns.TXT); ok && strings.Contains(r.Name, "_domainkey") {
			if err := dkim.CompareRecord([]string{strings.Join(txt.Txt, "")}, rsa); err != nil {
				t.Errorf("%s: %v", r, err)
			}
		}
	}
	if types["MX"] != 1 || types["A"] != 1 || types["AAAA"] != 1 || types["TXT"] != 3 || types["SRV"] != 4 {
		t.Errorf("%v", types)
	}
}

func TestFindings(t *testing.T) {
	k := testKey(t)
	d := domain(k)
	other := dkim.ZoneLine("example.org", "s1", testKey(t)) + "\n"
	for _, tt := range []struct {
		name   string
		remove []string // names taken out of the good zone
		add    string
		fail   string
		want   string // About, and whether it is a warning
		text   string
		mend   string
	}{
		{name: "no MX", remove: []string{"example.org"}, add: `example.org TXT "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all"`, want: "MX", text: "no MX", mend: "MX 10 mail.example.org."},
		{name: "another MX", remove: []string{"example.org"}, add: "example.org MX 10 other.example.net\nexample.org TXT \"v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all\"", want: "MX", text: "is other.example.net, not", mend: "MX 10"},
		{name: "null MX", remove: []string{"example.org"}, add: "example.org MX 0 .\nexample.org TXT \"v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all\"", want: "MX", text: "takes no mail", mend: "MX 10"},
		{name: "no address", remove: []string{"mail.example.org"}, want: "address", text: "no address", mend: "A (and AAAA)"},
		{name: "alias", remove: []string{"mail.example.org"}, add: "mail.example.org CNAME h.example.org\nh.example.org A 192.0.2.1\nh.example.org AAAA 2001:db8::1", want: "address", text: "CNAME", mend: "records of its own"},
		{name: "another address", add: "mail.example.org A 192.0.2.9\n9.2.0.192.in-addr.arpa PTR mail.example.org", want: "address warning", text: "192.0.2.9", mend: "NAT"},
		{name: "an address of ours that is not there", remove: []string{"mail.example.org"}, add: "mail.example.org A 192.0.2.1", want: "address warning", text: "2001:db8::1, and mail.example.org no AAAA", mend: "AAAA 2001:db8::1"},
		{name: "no PTR", remove: []string{"1.2.0.192.in-addr.arpa"}, want: "PTR warning", text: "no reverse", mend: "provider"},
		{name: "another PTR", remove: []string{"1.2.0.192.in-addr.arpa"}, add: "1.2.0.192.in-addr.arpa PTR host1.example.net", want: "PTR warning", text: "leads back to host1.example.net", mend: "provider"},
		{name: "no SPF", remove: []string{"example.org"}, add: "example.org MX 10 mail.example.org", want: "SPF", text: "no SPF", mend: "v=spf1 mx -all"},
		{name: "two SPF", add: `example.org TXT "v=spf1 -all"`, want: "SPF", text: "2 SPF records", mend: "keep one"},
		{name: "SPF without us", remove: []string{"example.org"}, add: "example.org MX 10 mail.example.org\nexample.org TXT \"v=spf1 ip4:192.0.2.1 -all\"", want: "SPF", text: "fail for our address 2001:db8::1", mend: "ip6:"},
		{name: "no DKIM record", remove: []string{"s1._domainkey.example.org"}, want: "DKIM", text: "no DKIM record", mend: "TXT"},
		{name: "DKIM record of another key", remove: []string{"s1._domainkey.example.org"}, add: other, want: "DKIM", text: "another key", mend: "TXT"},
		{name: "no DMARC", remove: []string{"_dmarc.example.org"}, want: "DMARC warning", text: "no DMARC", mend: "v=DMARC1; p=quarantine"},
		{name: "two DMARC", add: `_dmarc.example.org TXT "v=DMARC1; p=none"`, want: "DMARC", text: "2 DMARC", mend: "keep one"},
		{name: "DMARC without policy", remove: []string{"_dmarc.example.org"}, add: `_dmarc.example.org TXT "v=DMARC1; rua=mailto:x@y"`, want: "DMARC", text: "no policy", mend: "p=none"},
		{name: "MTA-STS without policy", add: `_mta-sts.example.org TXT "v=STSv1; id=1"`, want: "MTA-STS", text: "cannot be read", mend: "https://mta-sts.example.org/.well-known/mta-sts.txt"},
		{name: "resolver down for one name", fail: "_dmarc.example.org", want: "DMARC warning", text: "could not be looked up", mend: "later"},
		{name: "SRV to another host", remove: []string{"_sieve._tcp.example.org"}, add: "_sieve._tcp.example.org SRV 0 1 4190 old.example.net", want: "SRV warning", text: "sends mail programs to old.example.net, port 4190", mend: "_sieve._tcp.example.org. SRV 0 1 4190 mail.example.org."},
		{name: "SRV to another port", remove: []string{"_imaps._tcp.example.org"}, add: "_imaps._tcp.example.org SRV 0 1 994 mail.example.org", want: "SRV warning", text: "to mail.example.org, port 994", mend: "993 mail"},
		{name: "SRV that says no", remove: []string{"_imap._tcp.example.org"}, add: "_imap._tcp.example.org SRV 0 0 0 ."},
		{name: "SRV to us and another", add: "_imap._tcp.example.org SRV 20 1 143 second.example.net"},
		{name: "no SRV", remove: []string{"_imap._tcp.example.org", "_imaps._tcp.example.org", "_sieve._tcp.example.org"}},
		{name: "nothing wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := dns.NewFake(good(d))
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range tt.remove {
				f.Remove(n)
			}
			if err := f.Add(tt.add); err != nil {
				t.Fatal(err)
			}
			if tt.fail != "" {
				f.Fail(tt.fail)
			}
			findings := d.Check(context.Background(), f.Resolver(), noFetch)
			if tt.want == "" {
				if len(findings) > 0 {
					t.Errorf("%+v", findings)
				}
				return
			}
			i := slices.IndexFunc(findings, func(g Finding) bool {
				about := g.About
				if g.Warning {
					about += " warning"
				}
				return about == tt.want && strings.Contains(g.Text, tt.text) && g.Means != "" && strings.Contains(g.Mend, tt.mend)
			})
			if i < 0 || len(findings) > 1 {
				t.Errorf("findings: %+v", findings)
			}
		})
	}
}

// TestSRVToWhatIsOffIsFound: a port here on which nobody listens.
func TestSRVToWhatIsOffIsFound(t *testing.T) {
	d := domain(testKey(t))
	zone := good(d)
	d.ManageSieve, d.IMAP = 0, 0
	f, err := dns.NewFake(zone)
	if err != nil {
		t.Fatal(err)
	}
	f.Remove("_imap._tcp.example.org")
	if err := f.Add("_imap._tcp.example.org SRV 0 1 143 imap.example.net"); err != nil { // somebody else's
		t.Fatal(err)
	}
	findings := d.Check(context.Background(), f.Resolver(), noFetch)
	if len(findings) != 1 || findings[0].About != "SRV" || !strings.Contains(findings[0].Text, "port 4190") || !strings.Contains(findings[0].Mend, "remove the record") {
		t.Errorf("%+v", findings)
	}
}

func TestMTASTSPolicyMustNameUs(t *testing.T) {
	d := domain(testKey(t))
	for policy, fine := range map[string]bool{
		"version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmax_age: 86400\r\n":    true,
		"version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 86400\n":               true,
		"version: STSv1\nmode: none\nmax_age: 86400\n":                                     true,
		"version: STSv1\nmode: enforce\nmx: mail.example.org\n":                            false,
		"version: STSv1\nmode: enforce\nmx: *.mail.example.org\nmx: x.org\nmax_age: 86400": false,
		"": false,
	} {
		f, err := dns.NewFake(good(d) + "_mta-sts.example.org TXT \"v=STSv1; id=1\"\n")
		if err != nil {
			t.Fatal(err)
		}
		findings := d.Check(context.Background(), f.Resolver(), func(_ context.Context, url string) (string, error) { return policy, nil })
		if (len(findings) == 0) != fine {
			t.Errorf("%q: %+v", policy, findings)
		}
	}
}

// TestOurPolicyIsComparedWithWhatOthersSee: the policy of [mta_sts].
func TestOurPolicyIsComparedWithWhatOthersSee(t *testing.T) {
	d := domain(testKey(t))
	d.HasPolicy, d.Policy = true, mtasts.Policy{Mode: mtasts.Enforce, MX: []string{"mail.example.org"}, MaxAge: 14 * 24 * time.Hour}
	other := d.Policy
	other.Mode = mtasts.Testing
	for _, tt := range []struct {
		name   string
		served mtasts.Policy
		remove string
		add    string
		want   []string
	}{
		{name: "all is right", served: d.Policy},
		{name: "not announced", served: d.Policy, remove: "_mta-sts.example.org", want: []string{"is not announced"}},
		{name: "another is served", served: other, want: []string{"is not that of [mta_sts]"}},
		{name: "an old id", served: d.Policy, remove: "_mta-sts.example.org", add: `_mta-sts.example.org TXT "v=STSv1; id=1;"`, want: []string{`the id "1" is not that`}},
		{name: "all is old", served: other, remove: "_mta-sts.example.org", add: `_mta-sts.example.org TXT "v=STSv1; id=1;"`, want: []string{"is not that of [mta_sts]", `the id "1"`}},
		{name: "no reports", served: d.Policy, remove: "_smtp._tls.example.org", want: []string{"where others report failures of TLS"}},
		{name: "reports to nowhere", served: d.Policy, remove: "_smtp._tls.example.org", add: `_smtp._tls.example.org TXT "v=TLSRPTv1; rua="`, want: []string{"where others report failures of TLS"}},
	} {
		f, err := dns.NewFake(good(d))
		if err != nil {
			t.Fatal(err)
		}
		if tt.remove != "" {
			f.Remove(tt.remove)
		}
		if err := f.Add(tt.add); err != nil {
			t.Fatal(err)
		}
		findings := d.Check(context.Background(), f.Resolver(), func(_ context.Context, url string) (string, error) { return tt.served.String(), nil })
		for i, g := range findings {
			if !g.Warning || i >= len(tt.want) || !strings.Contains(g.Text, tt.want[i]) || g.Means == "" || g.Mend == "" {
				t.Errorf("%s: %+v", tt.name, g)
			}
		}
		if len(findings) != len(tt.want) {
			t.Errorf("%s: %+v", tt.name, findings)
		}
	}
}

// TestCertificateAsOthersSeeIt: by TLSA records, and by the usual authorities
// where an MTA-STS policy demands it.
func TestCertificateAsOthersSeeIt(t *testing.T) {
	ca := peertest.NewAuthority(t)
	leaf, other := ca.Issue(time.Hour, "mail.example.org").Leaf, ca.Issue(time.Hour, "mail.example.net").Leaf
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	record := func(usage int, c *x509.Certificate) string {
		return fmt.Sprintf("_25._tcp.mail.example.org TLSA %d 1 1 %x\n", usage, sha256.Sum256(c.RawSubjectPublicKeyInfo))
	}
	for _, tt := range []struct {
		name   string
		tlsa   string
		served []*x509.Certificate
		mode   mtasts.Mode
		roots  *x509.CertPool
		want   string
		warn   bool
	}{
		{name: "no records", served: []*x509.Certificate{leaf}},
		{name: "right", tlsa: record(3, leaf), served: []*x509.Certificate{leaf}},
		{name: "one of two is right", tlsa: record(3, other) + record(3, leaf), served: []*x509.Certificate{leaf}},
		{name: "the authority", tlsa: record(2, ca.Certificate), served: []*x509.Certificate{leaf, ca.Certificate}},
		{name: "the authority is not shown", tlsa: record(2, ca.Certificate), served: []*x509.Certificate{leaf}, want: "the TLSA records do not fit"},
		{name: "an old key", tlsa: record(3, other), served: []*x509.Certificate{leaf}, want: "the TLSA records do not fit"},
		{name: "of no use to anybody", tlsa: record(1, other), served: []*x509.Certificate{leaf}},
		{name: "certificate not known", tlsa: record(3, other)},
		{name: "enforced and trusted", served: []*x509.Certificate{leaf, ca.Certificate}, mode: mtasts.Enforce, roots: roots},
		{name: "enforced and not trusted", served: []*x509.Certificate{leaf, ca.Certificate}, mode: mtasts.Enforce, roots: x509.NewCertPool(), want: "refuse the certificate of mail.example.org"},
		{name: "enforced with another name", served: []*x509.Certificate{other, ca.Certificate}, mode: mtasts.Enforce, roots: roots, want: "refuse the certificate of mail.example.org"},
		{name: "tested and not trusted", served: []*x509.Certificate{leaf}, mode: mtasts.Testing, roots: x509.NewCertPool(), want: "refuse the certificate of mail.example.org", warn: true},
		{name: "ended and not trusted", served: []*x509.Certificate{leaf}, mode: mtasts.None, roots: x509.NewCertPool()},
	} {
		d := domain(testKey(t))
		d.Served, d.Roots = tt.served, tt.roots
		if tt.mode != "" {
			d.HasPolicy, d.Policy = true, mtasts.Policy{Mode: tt.mode, MX: []string{"mail.example.org"}, MaxAge: time.Hour}
		}
		f, err := dns.NewFake(good(d) + tt.tlsa)
		if err != nil {
			t.Fatal(err)
		}
		findings := d.Check(context.Background(), f.Resolver(), func(context.Context, string) (string, error) { return d.Policy.String(), nil })
		if tt.want == "" && len(findings) == 0 {
			continue
		}
		if len(findings) != 1 || tt.want == "" || findings[0].Warning != tt.warn || !strings.Contains(findings[0].Text, tt.want) || findings[0].Means == "" || findings[0].Mend == "" {
			t.Errorf("%s: %+v", tt.name, findings)
		}
	}
}

// TestKeysInRotation: a key that waits is announced, one that is spent is not.
func TestKeysInRotation(t *testing.T) {
	d := domain(testKey(t))
	d.Keys = append(d.Keys, Key{"e1", testKey(t), dkim.Waiting}, Key{"s0", testKey(t), dkim.Spent}, Key{"s00", testKey(t), dkim.Retiring})
	for _, tt := range []struct{ remove, add, want string }{
		{want: ""},
		{remove: "e1._domainkey.example.org", want: "warning there is no DKIM record"},
		{remove: "s00._domainkey.example.org", want: "there is no DKIM record"},
		{add: dkim.ZoneLine("example.org", "s0", d.Keys[2].Key), want: "warning is of a key that no longer signs"},
	} {
		f, err := dns.NewFake(good(d) + tt.add)
		if err != nil {
			t.Fatal(err)
		}
		if tt.remove != "" {
			f.Remove(tt.remove)
		}
		findings := d.Check(context.Background(), f.Resolver(), noFetch)
		text, warning := strings.CutPrefix(tt.want, "warning ")
		if tt.want == "" && len(findings) == 0 {
			continue
		}
		if len(findings) != 1 || tt.want == "" || findings[0].Warning != warning || !strings.Contains(findings[0].Text, text) || findings[0].Means == "" {
			t.Errorf("%+v: %+v", tt, findings)
		}
	}
}

func TestDomainWithoutKeyIsWarned(t *testing.T) {
	d := domain(testKey(t))
	d.Keys = nil
	f, err := dns.NewFake(good(d))
	if err != nil {
		t.Fatal(err)
	}
	findings := d.Check(context.Background(), f.Resolver(), noFetch)
	if len(findings) != 1 || findings[0].About != "DKIM" || !findings[0].Warning {
		t.Errorf("%+v", findings)
	}
}

func TestPublicAddressesAreReachable(t *testing.T) {
	for _, a := range PublicAddresses() {
		if regexp.MustCompile(`^(10|127|192\.168|100\.6[4-9]|fe80|fd)`).MatchString(a.String()) {
			t.Errorf("%s is not public", a)
		}
	}
}
