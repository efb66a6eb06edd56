package dane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/smtpd/relay"
)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate; by nil signs itself.
func issue(t *testing.T, by *pair, ca, expired bool, names ...string) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: fmt.Sprint("test ", names)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, DNSNames: names,
	}
	if expired {
		tpl.NotAfter = time.Now().Add(-time.Hour)
	}
	if by == nil {
		by = &pair{tpl, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{cert, key}
}

// record is a TLSA record that matches p.
func record(p *pair, usage, selector, matching uint8) dns.TLSA {
	data := p.cert.Raw
	if selector == publicKey {
		data = p.cert.RawSubjectPublicKeyInfo
	}
	switch matching {
	case digest:
		s := sha256.Sum256(data)
		data = s[:]
	case long:
		s := sha512.Sum512(data)
		data = s[:]
	}
	return dns.TLSA{Usage: usage, Selector: selector, MatchingType: matching, Data: data}
}

func TestChainsAgainstRecords(t *testing.T) {
	root := issue(t, nil, true, false)
	mid := issue(t, root, true, false)
	leaf := issue(t, mid, false, false, "mx.a.example")
	other := issue(t, mid, false, false, "elsewhere.example")
	old := issue(t, mid, false, true, "mx.a.example")
	foreign := issue(t, nil, true, false)
	domain := issue(t, mid, false, false, "a.example")
	chain := func(leaf *pair, more ...*pair) (list []*x509.Certificate) {
		list = append(list, leaf.cert)
		for _, p := range more {
			list = append(list, p.cert)
		}
		return list
	}
	cases := []struct {
		name    string
		records []dns.TLSA
		chain   []*x509.Certificate
		ok      bool
	}{
		{"EE key", []dns.TLSA{record(leaf, usageEE, publicKey, digest)}, chain(leaf), true},
		{"EE certificate, long digest", []dns.TLSA{record(leaf, usageEE, wholeCert, long)}, chain(leaf), true},
		{"EE exact key", []dns.TLSA{record(leaf, usageEE, publicKey, exact)}, chain(leaf), true},
		{"EE: the name does not count", []dns.TLSA{record(other, usageEE, publicKey, digest)}, chain(other), true},
		{"EE: the date does not count", []dns.TLSA{record(old, usageEE, publicKey, digest)}, chain(old), true},
		{"EE of another key", []dns.TLSA{record(other, usageEE, publicKey, digest)}, chain(leaf, mid, root), false},
		{"EE record of the authority", []dns.TLSA{record(mid, usageEE, publicKey, digest)}, chain(leaf, mid, root), false},
		{"EE, the second record", []dns.TLSA{record(other, usageEE, publicKey, digest), record(leaf, usageEE, publicKey, digest)}, chain(leaf), true},
		{"TA root", []dns.TLSA{record(root, usageTA, wholeCert, digest)}, chain(leaf, mid, root), true},
		{"TA intermediate", []dns.TLSA{record(mid, usageTA, publicKey, digest)}, chain(leaf, mid), true},
		{"TA for the domain's name", []dns.TLSA{record(root, usageTA, wholeCert, digest)}, chain(domain, mid, root), true},
		{"TA whole in DNS", []dns.TLSA{record(root, usageTA, wholeCert, exact)}, chain(leaf, mid), true},
		{"TA: the name counts", []dns.TLSA{record(root, usageTA, wholeCert, digest)}, chain(other, mid, root), false},
		{"TA: the date counts", []dns.TLSA{record(root, usageTA, wholeCert, digest)}, chain(old, mid, root), false},
		{"TA that did not issue it", []dns.TLSA{record(foreign, usageTA, wholeCert, digest)}, chain(leaf, mid, root, foreign), false},
		{"TA not sent", []dns.TLSA{record(root, usageTA, wholeCert, digest)}, chain(leaf, mid), false},
		{"TA record of the leaf", []dns.TLSA{record(leaf, usageTA, wholeCert, digest)}, chain(leaf, mid, root), false},
		{"TA that is no certificate", []dns.TLSA{{Usage: usageTA, Data: []byte("x")}}, chain(leaf, mid, root), false},
		{"no certificate", []dns.TLSA{record(leaf, usageEE, publicKey, digest)}, nil, false},
	}
	for _, c := range cases {
		a := authority{records: c.records, names: names("a.example", "mx.a.example", "mx.a.example")}
		for _, r := range c.records {
			if !usable(r) {
				t.Errorf("%s: record is not usable", c.name)
			}
		}
		if err := a.verify(tls.ConnectionState{PeerCertificates: c.chain}); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestUsable(t *testing.T) {
	sum := make([]byte, sha256.Size)
	for _, c := range []struct {
		t    dns.TLSA
		want bool
	}{
		{dns.TLSA{Usage: 0, Selector: 1, MatchingType: 1, Data: sum}, false},
		{dns.TLSA{Usage: 1, Selector: 1, MatchingType: 1, Data: sum}, false},
		{dns.TLSA{Usage: 2, Selector: 0, MatchingType: 1, Data: sum}, true},
		{dns.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Data: sum}, true},
		{dns.TLSA{Usage: 4, Selector: 1, MatchingType: 1, Data: sum}, false},
		{dns.TLSA{Usage: 3, Selector: 2, MatchingType: 1, Data: sum}, false},
		{dns.TLSA{Usage: 3, Selector: 1, MatchingType: 3, Data: sum}, false},
		{dns.TLSA{Usage: 3, Selector: 1, MatchingType: 3}, false},
		{dns.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Data: sum[1:]}, false},
		{dns.TLSA{Usage: 3, Selector: 1, MatchingType: 2, Data: sum}, false},
		{dns.TLSA{Usage: 3, Selector: 1, MatchingType: 0}, false},
	} {
		if got := usable(c.t); got != c.want {
			t.Errorf("%+v: %v", c.t, got)
		}
	}
}

// TestOnlyWhatDNSSECVouchesForCounts is the decision for a host, with one thing
// changed in each case.
func TestOnlyWhatDNSSECVouchesForCounts(t *testing.T) {
	leaf := issue(t, nil, true, false, "mx.a.example")
	good := "3 1 1 " + hex.EncodeToString(record(leaf, usageEE, publicKey, digest).Data)
	const host, tlsa = "mx.a.example", "_25._tcp.mx.a.example"
	cases := []struct {
		name, records string // of tlsa, separated by |
		insecureMX    bool
		unsigned      string
		failing       string
		want          relay.Level
		code          int
	}{
		{name: "all secure", records: good, want: relay.Verified},
		{name: "one usable among others", records: "0 1 1 " + good[6:] + "|" + good, want: relay.Verified},
		{name: "none usable: TLS all the same", records: "1 1 1 " + good[6:], want: relay.Encrypted},
		{name: "no records", want: relay.Opportunistic},
		{name: "MX not secure", records: good, insecureMX: true, want: relay.Opportunistic},
		{name: "addresses not secure", records: good, unsigned: host, want: relay.Opportunistic},
		{name: "TLSA not secure", records: good, unsigned: tlsa, want: relay.Opportunistic},
		{name: "TLSA suppressed", records: good, failing: tlsa, code: 451},
		{name: "addresses suppressed", records: good, failing: host, code: 451},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			zone := host + " A 192.0.2.1\n"
			if c.records != "" {
				for r := range strings.SplitSeq(c.records, "|") {
					zone += tlsa + " TLSA " + r + "\n"
				}
			}
			f, err := dns.NewFake(zone)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{host, tlsa} {
				if name != c.unsigned {
					f.Sign(name)
				}
			}
			if c.failing != "" {
				f.Fail(c.failing)
			}
			q, err := Policy(f.Resolver())(t.Context(), "a.example", relay.Host{Name: host, SecureMX: !c.insecureMX})
			if c.code != 0 {
				if err == nil || status.From(err).Code != c.code {
					t.Fatalf("%+v, %v", q, err)
				}
				return
			}
			if err != nil || q.Level != c.want || (q.Verify != nil) != (c.want == relay.Verified) {
				t.Fatalf("%+v, %v", q, err)
			}
			if q.Verify != nil && q.Verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.cert}}) != nil {
				t.Error("the right certificate is refused")
			}
			if c.insecureMX && f.Asked(tlsa) > 0 {
				t.Error("records were asked for that could not count")
			}
		})
	}
}

// TestAliasOfAHost: where a CNAME leads to a host with records of its own, that
// name is asked for (RFC 7672 sections 2.2.3 and 8.1).
func TestAliasOfAHost(t *testing.T) {
	leaf := issue(t, nil, true, false, "real.b.example")
	data := hex.EncodeToString(record(leaf, usageEE, publicKey, digest).Data)
	f, err := dns.NewFake("mx.a.example CNAME real.b.example\nreal.b.example A 192.0.2.1\n_25._tcp.real.b.example TLSA 3 1 1 " + data + "\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mx.a.example", "real.b.example", "_25._tcp.real.b.example"} {
		f.Sign(name)
	}
	q, err := Policy(f.Resolver())(t.Context(), "a.example", relay.Host{Name: "mx.a.example", SecureMX: true})
	if err != nil || q.Level != relay.Verified || q.ServerName != "real.b.example" {
		t.Errorf("%+v, %v", q, err)
	}
}

func TestRequirementsOfOtherRecordsAreOthers(t *testing.T) {
	p, q := issue(t, nil, true, false, "mx.a.example"), issue(t, nil, true, false, "mx.a.example")
	a := authority{[]dns.TLSA{record(p, usageEE, publicKey, digest)}, []string{"mx.a.example"}}
	b := authority{[]dns.TLSA{record(q, usageEE, publicKey, digest)}, []string{"mx.a.example"}}
	c := authority{a.records, []string{"mx.a.example", "a.example"}}
	again := a
	if a.id() != again.id() || a.id() == b.id() || a.id() == c.id() {
		t.Error(a.id(), again.id(), b.id(), c.id())
	}
}
