package inbound

import (
	"net/netip"
	"slices"

	"github.com/emersion/go-msgauth/dmarc"
)

// Evaluation is what DMARC made of one message, in the words of an aggregate
// report (RFC 7489 appendix C).
type Evaluation struct {
	Remote netip.Addr
	// Domain has the policy, From is the author's.
	Domain, From string
	Published    Published
	// Disposition is "none", "quarantine" or "reject".
	Disposition string
	// Override says why that is not what the domain wants: "sampled_out",
	// "local_policy", "trusted_forwarder" or "".
	Override, OverrideComment string
	DKIMAligned, SPFAligned   bool
	EnvelopeFrom              string
	DKIM                      []DKIMResult
	SPF                       SPFResult
}

// Published is the policy.
type Published struct {
	ADKIM, ASPF, P, SP, NP string
	Percent                *int
}

// DKIMResult is that of one signature.
type DKIMResult struct{ Domain, Selector, Result string }

// SPFResult is that of SPF; Scope is "mfrom" or "helo".
type SPFResult struct{ Domain, Scope, Result string }

// evaluation describes a message of which DMARC has a verdict. action is what the
// domain's policy has led to, and by the sealer that has spared it.
func (i *Inspector) evaluation(m Mail, p policy, ids identities, action Action, by string) Evaluation {
	r := p.record
	e := Evaluation{
		Remote: m.Remote, Domain: p.at, From: p.from, Disposition: action.String(), EnvelopeFrom: domainOf(m.ReversePath),
		Published:  Published{string(r.DKIMAlignment), string(r.SPFAlignment), string(r.Policy), string(r.SubdomainPolicy), string(r.missing), r.Percent},
		SPFAligned: ids.spf.Result == pass && aligned(ids.spf.domain, p.from, r.SPFAlignment),
		SPF:        SPFResult{ids.spf.domain, "mfrom", ids.spf.Result},
	}
	if m.ReversePath == "" {
		e.SPF.Scope = "helo"
	}
	if e.SPF.Result == "" {
		e.SPF.Result = none // not asked
	}
	for _, v := range ids.dkim {
		if v.domain == "" {
			continue
		}
		e.DKIMAligned = e.DKIMAligned || v.Result == pass && aligned(v.domain, p.from, r.DKIMAlignment)
		e.DKIM = append(e.DKIM, DKIMResult{v.domain, v.property("header.s"), v.Result})
	}
	wished := map[dmarc.Policy]Action{dmarc.PolicyQuarantine: Junk, dmarc.PolicyReject: Refuse}[p.wish]
	switch {
	case e.DKIMAligned || e.SPFAligned || action == wished:
	case by != "":
		e.Override, e.OverrideComment = "trusted_forwarder", "arc=pass, sealed by "+by
	case r.Percent != nil && *r.Percent < 100 && min(wished, i.most()) > action:
		e.Override = "sampled_out"
	default:
		e.Override = "local_policy"
	}
	return e
}

func (v Verdict) property(name string) string {
	i := slices.IndexFunc(v.Properties, func(p Property) bool { return p.Name == name })
	if i < 0 {
		return ""
	}
	return v.Properties[i].Value
}

// ReportURIs are where the domain of a DMARC record, among the texts at its name,
// wants aggregate reports (rua=); none if there is no one record.
func ReportURIs(texts []string) []string {
	r, err := chooseRecord(texts)
	if err != nil {
		return nil
	}
	return r.reports
}

// Organisation is the organisational domain of a domain in A-labels, by the list
// of public suffixes (RFC 7489 section 3.2).
func Organisation(domain string) string { return organisation(domain) }
