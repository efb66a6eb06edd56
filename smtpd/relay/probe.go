package relay

import (
	"context"

	"svc.plus/mailsrvd/internal/message"
)

// Probe is one address of a mail exchanger as a delivery would find it.
type Probe struct {
	// Remote is the host, "mx.example.org[192.0.2.1]", or its name alone.
	Remote string
	// SecureMX is that of Host.
	SecureMX bool
	// Demand is what is demanded of TLS, Published whose policy that is, Flaw
	// and Reason what is wrong with the policy.
	Demand    Level
	Published Published
	Flaw      TLSFailure
	Reason    string
	// TLS is what came of it.
	TLS message.TLS
	// Err is why no mail could be sent to this address; nil if it could.
	Err error
}

// Probe connects to all addresses of a domain's mail exchangers, in their order,
// up to the point where a message could be sent, and says goodbye. An error
// means that there is none.
func (r *Relay) Probe(ctx context.Context, domain string) ([]Probe, error) {
	hops, fail := r.route(ctx, domain)
	if fail != nil {
		return nil, fail.err
	}
	var list []Probe
	for c, fail := range r.candidates(ctx, hops) {
		p := Probe{Remote: c.Name, SecureMX: c.SecureMX}
		if fail != nil {
			p.Err = fail.err
		} else {
			r.probe(ctx, c, &p)
		}
		list = append(list, p)
	}
	return list, nil
}

func (r *Relay) probe(ctx context.Context, c candidate, p *Probe) {
	p.Remote = c.remote()
	q, fail := r.requirement(ctx, c, &message.Envelope{})
	p.Demand, p.Published, p.Flaw, p.Reason = q.Level, q.Published, q.Flaw, q.Reason
	if fail == nil {
		var s *session
		if s, _, fail = r.connect(ctx, c, q); fail == nil {
			p.TLS = s.tls
			s.quit()
			return
		}
	}
	p.Err = fail.err
}
