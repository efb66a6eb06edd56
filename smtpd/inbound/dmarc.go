package inbound

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"

	"svc.plus/mailsrvd/internal/status"
)

// policy is what the author's domain says in the DNS, or why that is not known.
type policy struct {
	from   string // the author's domain
	at     string // the domain that has the record
	record *record
	// wish is p=, sp= or np=, whichever is for this author.
	wish dmarc.Policy
	// result and reason are set when there is no record to go by.
	result, reason string
}

// policy finds the record of the author's domain, or else of its
// organisational domain (RFC 7489 section 6.6.3).
func (i *Inspector) policy(ctx context.Context, m Mail) policy {
	if i.o.DMARC == Off {
		return policy{}
	}
	from, err := author(m.Header)
	if err != nil {
		return policy{result: permError, reason: err.Error()}
	}
	p := policy{from: from}
	for _, domain := range []string{from, organisation(from)} {
		if p.at == domain {
			continue // asked already
		}
		p.at = domain
		txts, err := i.o.Resolver.TXT(ctx, "_dmarc."+domain)
		if temporary(err) {
			p.result, p.reason = tempError, "the record is not to be had now"
			return p
		}
		p.record, err = chooseRecord(txts)
		switch {
		case errors.Is(err, errNoRecord):
			continue
		case errors.Is(err, errManyRecords):
			p.result, p.reason = none, err.Error()
		case err != nil:
			p.result, p.reason = permError, err.Error()
		default:
			p.wish = i.wish(ctx, p)
		}
		return p
	}
	p.result = none
	return p
}

// wish is the policy of the record that is for this author: np= for a domain
// that does not exist (RFC 9091), sp= for a subdomain, else p=.
func (i *Inspector) wish(ctx context.Context, p policy) dmarc.Policy {
	switch r := p.record; {
	case p.at == p.from:
		return r.Policy
	case r.missing != "" && i.missing(ctx, p.from):
		return r.missing
	case r.SubdomainPolicy != "":
		return r.SubdomainPolicy
	default:
		return r.Policy
	}
}

// missing reports whether a domain has neither address nor mail exchanger. In
// doubt it has.
func (i *Inspector) missing(ctx context.Context, domain string) bool {
	_, errMX := i.o.Resolver.MX(ctx, domain)
	_, errAddr := i.o.Resolver.Addrs(ctx, domain)
	return isNotFound(errMX) && isNotFound(errAddr)
}

// organisation is the organisational domain by the list of public suffixes (RFC
// 7489 section 3.2); a public suffix is its own.
func organisation(domain string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain
}

// aligned compares an authenticated domain with the author's (RFC 7489 section
// 3.1): equal, or relaxed of the same organisation.
func aligned(domain, from string, mode dmarc.AlignmentMode) bool {
	if domain == "" || from == "" {
		return false
	}
	domain, from = strings.ToLower(domain), strings.ToLower(from)
	return domain == from || mode != dmarc.AlignmentStrict && organisation(domain) == organisation(from)
}

// identities are the verdicts that authenticate a domain.
type identities struct {
	spf  Verdict
	dkim []Verdict
}

// result is what DMARC makes of them (RFC 7489 section 6.6.2): one that passes
// and aligns is enough, and one that might have passed leaves it open.
func (ids identities) result(from string, r *record) (result, reason string) {
	open := false
	consider := func(v Verdict, mode dmarc.AlignmentMode) bool {
		near := aligned(v.domain, from, mode)
		// A check that did not come to an end has no domain.
		open = open || v.Result == tempError && (near || v.domain == "")
		return near && v.Result == pass
	}
	ok := consider(ids.spf, r.SPFAlignment)
	for _, v := range ids.dkim {
		ok = consider(v, r.DKIMAlignment) || ok
	}
	switch {
	case ok:
		return pass, ""
	case open:
		return tempError, "a check that could have passed came to no end"
	}
	return fail, "nothing that passed aligns with the author"
}

// trusts reports whether the reverse-path is authenticated.
func (ids identities) trusts(reversePath string) bool {
	if reversePath == "" {
		return false
	}
	if ids.spf.Result == pass {
		return true
	}
	for _, v := range ids.dkim {
		if v.Result == pass && aligned(v.domain, domainOf(reversePath), dmarc.AlignmentRelaxed) {
			return true
		}
	}
	return false
}

// conclude adds DMARC's verdict to the report and decides about the message.
func (i *Inspector) conclude(r *Report, m Mail, p policy, ids identities, forwarded chain) {
	v := Verdict{Check: "dmarc", Result: p.result, Reason: p.reason}
	if p.from != "" {
		v.Properties = []Property{{"header.from", p.from}}
	}
	if p.result == "" {
		v.Result, v.Reason = ids.result(p.from, p.record)
		if v.Result == fail {
			r.Action = i.action(p)
		}
		by, sealer := "", ""
		if s, ok := forwarded.vouches(p.from, i.o.TrustedSealers); ok && v.Result == fail {
			r.Action, by, sealer = Deliver, " arc="+s, s
		}
		v.Comment = fmt.Sprintf("p=%s dis=%s%s", p.wish, r.Action, by)
		if i.o.Evaluated != nil && len(p.record.reports) > 0 {
			i.o.Evaluated(i.evaluation(m, p, ids, r.Action, sealer))
		}
	} else if p.result == permError && p.from == "" && i.o.DMARC != Tag {
		// Else two authors would be the way around the policies of both.
		r.Action = Junk
	}
	if r.Action == Refuse {
		r.Err = status.New(550, 7, 26, "The author's domain "+p.from+" asks to reject this message (DMARC)")
	}
	r.Verdicts = append(r.Verdicts, v)
}

// action is what becomes of a message that fails: what the domain wishes, as
// far as the configuration follows. pct= spares a part of the messages one
// step (RFC 7489 section 6.6.4).
func (i *Inspector) action(p policy) Action {
	wish := map[dmarc.Policy]Action{dmarc.PolicyQuarantine: Junk, dmarc.PolicyReject: Refuse}[p.wish]
	if p.record.Percent != nil && i.draw() >= *p.record.Percent && wish > Deliver {
		wish--
	}
	return min(wish, i.most())
}

// most is the hardest action that the configuration follows.
func (i *Inspector) most() Action {
	return map[Setting]Action{Quarantine: Junk, Reject: Refuse}[i.o.DMARC]
}
