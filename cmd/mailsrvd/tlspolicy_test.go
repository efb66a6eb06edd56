package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/smtpd/queue"
)

// destination is a domain with its TLS policy, and what is to become of mail to
// it.
type destination struct {
	name string // of "<name>.example"
	mx   string // address
	tlsa string // record of port 25; "" for none
	// unsigned says that DNSSEC vouches for nothing of the domain.
	unsigned bool
	sts      string // mode of MTA-STS; "" for none
	stsMX    string // its mx, if not the domain's own
	stsAt    string // the web server, if not the good one
	// kept is a policy that was fetched so long ago, of a web server that is no
	// more.
	kept time.Duration

	verified string // of the delivery; "" if it is put off
	clear    bool   // it was delivered without TLS
	err      string // a part of the reason why it is put off
	metric   string // policy and result
}

// TestTLSPoliciesAgainstPostfix sends mail through the whole daemon to a
// Postfix, past DANE and MTA-STS that match and that do not.
func TestTLSPoliciesAgainstPostfix(t *testing.T) {
	sum := sha256.New()
	anchor := func(n *internet) string {
		sum.Reset()
		sum.Write(n.ca.Certificate.Raw)
		return "2 0 1 " + hex.EncodeToString(sum.Sum(nil))
	}
	const own, anchored = "own key", "authority" // stand for records that are known later
	wrong := "3 1 1 " + strings.Repeat("ab", 32)
	destinations := []destination{
		{name: "plain", mx: clearMX, clear: true, metric: `policy="none",result="starttls-not-supported"`},
		{name: "opportune", mx: foreignMX, verified: "none", metric: `policy="none",result="success"`},

		{name: "dane", mx: goodMX, tlsa: own, verified: "dane", metric: `policy="tlsa",result="success"`},
		{name: "dane-any-name", mx: otherMX, tlsa: own, verified: "dane"},
		{name: "dane-any-authority", mx: foreignMX, tlsa: own, verified: "dane"},
		{name: "dane-any-date", mx: oldMX, tlsa: own, verified: "dane"},
		{name: "dane-anchor", mx: goodMX, tlsa: anchored, verified: "dane"},
		{name: "dane-anchor-other-name", mx: otherMX, tlsa: anchored, err: "certificate is valid for mx.elsewhere.example", metric: `policy="tlsa",result="certificate-host-mismatch"`},
		{name: "dane-anchor-old", mx: oldMX, tlsa: anchored, err: "expired", metric: `policy="tlsa",result="certificate-expired"`},
		{name: "dane-anchor-foreign", mx: foreignMX, tlsa: anchored, err: "no certificate of the server matches"},
		{name: "dane-other-key", mx: goodMX, tlsa: wrong, err: "no certificate of the server matches its TLSA records", metric: `policy="tlsa",result="validation-failure"`},
		{name: "dane-clear", mx: clearMX, tlsa: wrong, err: "offers no TLS", metric: `policy="tlsa",result="starttls-not-supported"`},
		{name: "dane-unsigned", mx: goodMX, tlsa: wrong, unsigned: true, verified: "none"},
		{name: "dane-unusable", mx: otherMX, tlsa: "1" + wrong[1:], verified: "none", metric: `policy="tlsa",result="tlsa-invalid"`},
		{name: "dane-unusable-clear", mx: clearMX, tlsa: "1" + wrong[1:], err: "offers no TLS"},

		{name: "sts", mx: goodMX, sts: "enforce", verified: "sts", metric: `policy="sts",result="success"`},
		{name: "sts-wildcard", mx: goodMX, sts: "enforce", stsMX: "*.sts-wildcard.example", verified: "sts"},
		{name: "sts-unlisted", mx: goodMX, sts: "enforce", stsMX: "mx.elsewhere.example", err: "not among the mail exchangers"},
		{name: "sts-other-name", mx: otherMX, sts: "enforce", err: "certificate is valid for mx.elsewhere.example", metric: `policy="sts",result="certificate-host-mismatch"`},
		{name: "sts-foreign", mx: foreignMX, sts: "enforce", err: "unknown authority", metric: `policy="sts",result="certificate-not-trusted"`},
		{name: "sts-old", mx: oldMX, sts: "enforce", err: "expired", metric: `policy="sts",result="certificate-expired"`},
		{name: "sts-clear", mx: clearMX, sts: "enforce", err: "offers no TLS", metric: `policy="sts",result="starttls-not-supported"`},
		{name: "sts-testing", mx: goodMX, sts: "testing", verified: "sts"},
		{name: "sts-testing-other-name", mx: otherMX, sts: "testing", verified: "none"},
		{name: "sts-testing-clear", mx: clearMX, sts: "testing", clear: true},
		{name: "sts-none", mx: otherMX, sts: "none", verified: "none"},
		{name: "sts-web-foreign", mx: otherMX, sts: "enforce", stsAt: foreign, verified: "none", metric: `policy="sts",result="sts-webpki-invalid"`},
		{name: "sts-web-down", mx: otherMX, sts: "enforce", stsAt: "192.0.2.90", verified: "none", metric: `policy="sts",result="sts-policy-fetch-error"`},
		{name: "sts-kept", mx: otherMX, kept: time.Hour, err: "certificate is valid for mx.elsewhere.example"},
		{name: "sts-kept-expired", mx: otherMX, kept: 48 * time.Hour, verified: "none"},

		{name: "dane-before-sts", mx: otherMX, tlsa: own, sts: "enforce", stsMX: "mx.elsewhere.example", verified: "dane"},
		{name: "dane-wrong-sts-right", mx: goodMX, tlsa: wrong, sts: "enforce", err: "no certificate of the server matches"},
	}
	var names []string
	for _, d := range destinations {
		names = append(names, d.name)
	}
	n := newInternet(t, "", names...)
	for i, d := range destinations {
		switch d.tlsa {
		case own:
			destinations[i].tlsa = tlsaOf(n.pair[d.mx].Leaf)
		case anchored:
			destinations[i].tlsa = anchor(n)
		}
		n.publish(destinations[i])
	}
	o := n.startOutgoing("")
	for _, d := range destinations {
		if d.kept > 0 {
			keepPolicy(t, o, d)
		}
	}
	for _, d := range destinations {
		o.send(t, "bob@"+d.name+".example")
	}
	for _, d := range destinations {
		t.Run(d.name, func(t *testing.T) { n.expect(t, o, d) })
	}
	items := o.queued(t)
	for _, d := range destinations {
		expectQueued(t, items, d)
	}
	if _, err := os.Stat(keptFile(o, "sts-kept-expired")); err == nil {
		t.Error("the expired policy is still there")
	}
	if _, err := os.Stat(keptFile(o, "sts-kept")); err != nil {
		t.Errorf("the policy that counts: %v", err)
	}
	testRoute(t, o)
	metrics := o.metrics(t)
	for _, d := range destinations {
		if !strings.Contains(metrics, "mailsrvd_relay_tls_sessions_total{"+d.metric) {
			t.Errorf("%s: no metric %s", d.name, d.metric)
		}
	}
}

// publish puts d into the DNS and its policy onto the web.
func (n *internet) publish(d destination) {
	n.t.Helper()
	domain := d.name + ".example"
	var signed []string
	if !d.unsigned {
		signed = []string{domain, "mx." + domain, "_25._tcp.mx." + domain}
	}
	n.add(fmt.Sprintf("%[1]s MX 10 mx.%[1]s\nmx.%[1]s A %[2]s\n", domain, d.mx), signed...)
	if d.tlsa != "" {
		n.add("_25._tcp.mx." + domain + " TLSA " + d.tlsa + "\n")
	}
	if d.sts != "" {
		mx, at := "mx."+domain, web
		if d.stsMX != "" {
			mx = d.stsMX
		}
		if d.stsAt != "" {
			at = d.stsAt
		}
		n.policy(domain, at, d.sts, mx)
	}
}

func keptFile(o *outgoing, name string) string {
	return filepath.Join(o.cfg.StateDir, "mta-sts", name+".example.json")
}

// keepPolicy writes what the daemon would have kept of a policy for a day.
func keepPolicy(t *testing.T, o *outgoing, d destination) {
	t.Helper()
	text := fmt.Sprintf(`{"version":1,"domain":"%[1]s.example","id":"1","fetched":%[2]q,"policy":{"mode":"enforce","mx":["mx.%[1]s.example"],"max_age":86400000000000}}`,
		d.name, time.Now().Add(-d.kept).UTC().Format(time.RFC3339))
	file := keptFile(o, d.name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// expect looks at what the log says, and at what Postfix has got and how.
func (n *internet) expect(t *testing.T, o *outgoing, d destination) {
	to := "bob@" + d.name + ".example"
	line := o.fate(t, to)
	switch {
	case d.err != "":
		if !strings.Contains(line, "msg=deferred") || !strings.Contains(line, d.err) {
			t.Errorf("the log says %s", line)
		}
		for _, m := range n.mail() {
			if strings.Contains(m, to) {
				t.Errorf("it was delivered all the same:\n%s", m)
			}
		}
		return
	case d.clear:
		if !strings.Contains(line, "msg=delivered") || !strings.Contains(line, " tls=none") {
			t.Errorf("the log says %s", line)
		}
	default:
		if !strings.Contains(line, "msg=delivered") || !strings.Contains(line, ` tls="TLS 1.3" cipher=TLS_AES_`) || !strings.Contains(line, " verified="+d.verified+" ") {
			t.Errorf("the log says %s", line)
		}
	}
	if m := n.mailFor(to); strings.Contains(m, "(using TLSv1.3 with cipher") == d.clear {
		t.Errorf("Postfix got\n%s", m)
	}
}

// expectQueued looks for d in the queue.
func expectQueued(t *testing.T, items []queue.Item, d destination) {
	t.Helper()
	for _, it := range items {
		r := it.Recipients[0]
		if r.Address != "bob@"+d.name+".example" {
			continue
		}
		if d.err == "" || r.State != queue.Pending || r.Last == nil || r.Last.Code != 451 || !strings.Contains(r.Last.Text, d.err) {
			t.Errorf("%s: in the queue as %+v, %+v", d.name, r, r.Last)
		}
		return
	}
	if d.err != "" {
		t.Errorf("%s is not in the queue", d.name)
	}
}

// testRoute asks mailsrvd route about some of the destinations.
func testRoute(t *testing.T, o *outgoing) {
	for _, c := range []struct {
		to   string
		code int
		want []string
	}{
		{"dane.example", 0, []string{"mx.dane.example[192.0.2.1]", "TLS 1.3, TLS_AES_", "verified: dane", "DANE: 3 1 1 "}},
		{"bob@sts.example", 0, []string{"verified: sts", "MTA-STS: version: STSv1; mode: enforce; mx: mx.sts.example; max_age: 86400"}},
		{"plain.example", 0, []string{"no TLS", "policy  none"}},
		{"dane-other-key.example", 1, []string{"no: 451 4.7.5 ", "no certificate of the server matches"}},
		{"sts-clear.example", 1, []string{"no: 451 4.7.10 ", "offers no TLS"}},
		{"sts-unlisted.example", 1, []string{"no: 451 4.7.5 ", "validation-failure: mx.sts-unlisted.example is not listed"}},
		{"sts-web-down.example", 0, []string{"verified: none", "sts-policy-fetch-error: "}},
		{"nowhere.example", 1, []string{"does not exist"}},
	} {
		code, out := o.child(t, "route", c.to)
		for _, w := range c.want {
			if !strings.Contains(out, w) {
				t.Errorf("route %s: no %q in\n%s", c.to, w, out)
			}
		}
		if code != c.code {
			t.Errorf("route %s: exit %d, want %d:\n%s", c.to, code, c.code, out)
		}
	}
	code, out := o.child(t, "route", "sts-testing-other-name.example", "--json")
	var hops []hopReport
	if err := json.Unmarshal([]byte(out), &hops); err != nil || code != 0 || len(hops) != 1 || !hops[0].OK || hops[0].Policy != "sts" || hops[0].TLS.Verified != "none" || hops[0].Demand != "opportunistic" {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
}
