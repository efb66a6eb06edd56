package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/message"
)

// TestWhatCameOfTLSIsReported looks at what reports, metrics and the outcome
// say of one attempt.
func TestWhatCameOfTLSIsReported(t *testing.T) {
	ca := newAuthority(t)
	good, other := ca.server("mx1.a.example"), ca.server("elsewhere.example")
	foreign := newAuthority(t).server("mx1.a.example")
	broken := ca.server("mx1.a.example")
	broken.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("broken") }
	sts := Published{Type: STS, Text: []string{"version: STSv1"}, MX: []string{"mx1.a.example"}}
	dane := Published{Type: TLSA, Text: []string{"3 1 1 00"}}
	refuse := func(tls.ConnectionState) error { return errors.New("no record matches") }
	cases := []struct {
		name     string
		tls      *tls.Config
		q        Requirement
		policy   error
		failure  TLSFailure
		reason   string // a part of it
		sent     bool
		verified string // "" for no TLS
	}{
		{name: "no policy", tls: good, sent: true, verified: "none"},
		{name: "no policy, no TLS", failure: NoSTARTTLS, sent: true},
		{name: "no policy, broken TLS", tls: broken, failure: InvalidTLS, reason: "internal error", sent: true},
		{name: "administrator", tls: good, q: Requirement{Level: Verified}, sent: true, verified: "pkix"},
		{name: "sts", tls: good, q: Requirement{Level: Verified, Published: sts}, sent: true, verified: "sts"},
		{name: "sts, no TLS", q: Requirement{Level: Verified, Published: sts}, failure: NoSTARTTLS},
		{name: "sts, other name", tls: other, q: Requirement{Level: Verified, Published: sts}, failure: WrongName, reason: "elsewhere.example"},
		{name: "sts, unknown authority", tls: foreign, q: Requirement{Level: Verified, Published: sts}, failure: UntrustedCert, reason: "unknown authority"},
		{name: "sts testing", tls: good, q: Requirement{Report: true, Published: sts}, sent: true, verified: "sts"},
		{name: "sts testing, other name", tls: other, q: Requirement{Report: true, Published: sts}, failure: WrongName, sent: true, verified: "none"},
		{name: "sts testing, no TLS", q: Requirement{Report: true, Published: sts}, failure: NoSTARTTLS, sent: true},
		{name: "sts testing, not listed", tls: good, q: Requirement{Report: true, Published: sts, Flaw: InvalidTLS, Reason: "not listed"}, failure: InvalidTLS, reason: "not listed", sent: true, verified: "sts"},
		{name: "sts, not listed", tls: good, q: Requirement{Published: sts, Flaw: InvalidTLS}, policy: errors.New("not listed"), failure: InvalidTLS, reason: "not listed"},
		{name: "sts not to be had", tls: good, q: Requirement{Published: Published{Type: STS}, Flaw: NoSTSPolicy, Reason: "404"}, failure: NoSTSPolicy, reason: "404", sent: true, verified: "none"},
		{name: "dane", tls: other, q: Requirement{Level: Verified, Published: dane, Verify: func(tls.ConnectionState) error { return nil }}, sent: true, verified: "dane"},
		{name: "dane, no match", tls: good, q: Requirement{Level: Verified, Published: dane, Verify: refuse}, failure: InvalidTLS, reason: "no record matches"},
		{name: "dane unusable", tls: other, q: Requirement{Level: Encrypted, Published: dane, Flaw: InvalidTLSA}, failure: InvalidTLSA, sent: true, verified: "none"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSink(t)
			s.tls = c.tls
			var mu sync.Mutex
			var seen []TLSResult
			reg := prometheus.NewRegistry()
			w := newWorld(t, map[string]*sink{"192.0.2.1": s}, func(o *Options) {
				o.RootCAs, o.Registerer = ca.pool, reg
				o.Policy = func(_ context.Context, _ string, h Host) (Requirement, error) {
					if h.Name != "mx1.a.example" {
						return Requirement{}, nil
					}
					return c.q, c.policy
				}
				o.Observe = func(r TLSResult) {
					mu.Lock()
					defer mu.Unlock()
					seen = append(seen, r)
				}
			})
			out := w.send(t, "bob@a.example")[0]
			if (out.Err == nil) != c.sent || out.TLS.Verified != c.verified || (out.TLS.Version == "") != (c.verified == "") {
				t.Errorf("outcome %+v", out)
			}
			if len(seen) != 1 {
				t.Fatalf("%d results: %+v", len(seen), seen)
			}
			r := seen[0]
			if r.Domain != "a.example" || r.Host != "mx1.a.example" || r.Remote.String() != "192.0.2.1" || r.Published.Type != c.q.Published.Type ||
				r.Failure != c.failure || !strings.Contains(r.Reason, c.reason) || c.failure == "" && r.Reason != "" {
				t.Errorf("result %+v", r)
			}
			policy, result := "none", "success"
			if c.q.Published.Type != "" {
				policy = string(c.q.Published.Type)
			}
			if c.failure != "" {
				result = string(c.failure)
			}
			if got := counted(t, reg, policy, result); got != 1 {
				t.Errorf("the metric of %s and %s is %v", policy, result, got)
			}
			w.send(t, "bob@a.example")
			if c.sent && len(seen) != 1 {
				t.Error("a connection that was used again is reported again")
			}
		})
	}
}

// counted reads mailsrvd_relay_tls_sessions_total.
func counted(t *testing.T, reg *prometheus.Registry, policy, result string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "mailsrvd_relay_tls_sessions_total" && m.GetLabel()[0].GetValue() == policy && m.GetLabel()[1].GetValue() == result {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestASmarthostIsNotReported(t *testing.T) {
	s := newSink(t)
	w := newWorld(t, map[string]*sink{"192.0.2.1": s}, func(o *Options) {
		o.Smarthost.Addr = "smart.example:25"
		o.Observe = func(r TLSResult) { t.Errorf("%+v", r) }
	})
	if out := w.send(t, "bob@a.example")[0]; out.Err != nil || out.TLS != (message.TLS{}) {
		t.Errorf("%+v", out)
	}
}
