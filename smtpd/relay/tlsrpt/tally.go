package tlsrpt

import (
	"slices"
	"strings"

	"svc.plus/mailsrvd/smtpd/relay"
)

// Bounds on what is kept of a day: destinations, policies of one and kinds of
// failure under a policy. What is beyond them is not counted, or not detailed.
const (
	maxDomains  = 20_000
	maxPolicies = 20
	maxDetails  = 100
	maxReason   = 200 // bytes
)

// tally is what a day brought for one destination.
type tally struct {
	Policies []*policy `json:"policies"`
	// Sent are the addresses that have got the report.
	Sent []string `json:"sent,omitempty"`
}

// policy counts the sessions under one policy.
type policy struct {
	Type    relay.PolicyType `json:"type,omitempty"`
	Domain  string           `json:"domain"`
	Text    []string         `json:"text,omitempty"`
	MX      []string         `json:"mx,omitempty"`
	Success int              `json:"success"`
	Failure int              `json:"failure"`
	Details []*detail        `json:"details,omitempty"`
}

// detail counts failures that are alike.
type detail struct {
	Result relay.TLSFailure `json:"result"`
	MX     string           `json:"mx,omitempty"`
	Remote string           `json:"remote,omitempty"`
	Local  string           `json:"local,omitempty"`
	Reason string           `json:"reason,omitempty"`
	Count  int              `json:"count"`
}

// add counts one session.
func (t *tally) add(r relay.TLSResult) {
	p := t.policy(r)
	if p == nil {
		return
	}
	if r.Failure == "" {
		p.Success++
		return
	}
	p.Failure++
	p.add(detail{Result: r.Failure, MX: r.Host, Reason: short(r.Reason)}, r)
}

// policy finds or makes the policy of r; nil if there are too many.
func (t *tally) policy(r relay.TLSResult) *policy {
	domain := r.Domain
	if r.Published.Type == relay.TLSA {
		domain = r.Host // the TLSA base domain (RFC 8460 section 1.1)
	}
	for _, p := range t.Policies {
		if p.Type == r.Published.Type && p.Domain == domain && slices.Equal(p.Text, r.Published.Text) {
			return p
		}
	}
	if len(t.Policies) >= maxPolicies {
		return nil
	}
	p := &policy{Type: r.Published.Type, Domain: domain, Text: r.Published.Text, MX: r.Published.MX}
	t.Policies = append(t.Policies, p)
	return p
}

func (p *policy) add(d detail, r relay.TLSResult) {
	if r.Remote.IsValid() {
		d.Remote = r.Remote.Unmap().String()
	}
	if r.Local.IsValid() {
		d.Local = r.Local.String()
	}
	for _, have := range p.Details {
		n := have.Count
		if d.Count = n; *have == d {
			have.Count++
			return
		}
	}
	if len(p.Details) < maxDetails {
		d.Count = 1
		p.Details = append(p.Details, &d)
	}
}

// short bounds a reason, on a boundary of characters.
func short(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxReason)], "") }
