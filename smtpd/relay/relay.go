package relay

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// Relay delivers to other hosts. It is safe for concurrent use.
type Relay struct {
	o    Options
	name string // our host name, as A-labels
	// policy is all that is demanded of a mail exchanger.
	policy Policy
	pool   pool
	lame   *lame

	sessions *prometheus.CounterVec // by result
	results  *prometheus.CounterVec // recipients, by result
	tls      *prometheus.CounterVec // sessions, by policy and result
}

// New makes a Relay. The errors are those of Options.Check.
func New(o Options) (*Relay, error) {
	if err := o.Check(context.Background()); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	name, err := dns.ToASCII(o.Hostname)
	if err != nil {
		return nil, err
	}
	r := &Relay{o: o, name: name, policy: Strictest(o.Published, o.Policy), lame: newLame(), pool: pool{idle: map[poolKey][]*pooled{}, keep: o.IdleTimeout}}
	r.sessions = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "mailsrvd", Subsystem: "relay", Name: "sessions_total",
		Help: "Connections to other hosts, by result: opened, reused, failed."}, []string{"result"})
	r.results = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "mailsrvd", Subsystem: "relay", Name: "recipients_total",
		Help: "Recipients attempted, by result: sent, deferred, failed."}, []string{"result"})
	r.tls = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "mailsrvd", Subsystem: "relay", Name: "tls_sessions_total",
		Help: "New connections to mail exchangers, by the policy of the destination (none, sts, tlsa) and what came of TLS: success, or a result type of RFC 8460."},
		[]string{"policy", "result"})
	if o.Registerer != nil {
		lame := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "mailsrvd", Subsystem: "relay", Name: "lame_hosts",
			Help: "Addresses of mail exchangers that could not be spoken to, and are tried after others for a while."}, r.lame.count)
		o.Registerer.MustRegister(r.sessions, r.results, r.tls, lame)
	}
	return r, nil
}

// Close ends the connections that are kept for later messages.
func (r *Relay) Close() error {
	r.pool.close()
	return nil
}

// attempt is the work for the recipients of one domain.
type attempt struct {
	r      *Relay
	env    *message.Envelope
	body   *body
	domain string
	to     []message.Recipient
	out    []message.Outcome
	// open are the recipients to be tried at the next host: those without an
	// outcome, and those that a host has put off (soft).
	open []int
	soft map[int]bool
	// sessions counts the hosts that were spoken to.
	sessions int
}

// maxSoft is how many hosts are asked for a recipient that they put off: RFC
// 5321 section 5.1 wants two at least, and greylisting is the same at all.
const maxSoft = 2

// Attempt implements queue.Transport: it delivers c to rcpts and returns one
// outcome for each. For each domain, hosts are tried in order until one has
// given its answer.
func (r *Relay) Attempt(ctx context.Context, env message.Envelope, c *message.Content, rcpts []message.Recipient) []message.Outcome {
	out := make([]message.Outcome, len(rcpts))
	b, err := scan(c)
	if err != nil {
		for i := range out {
			out[i].Err = status.From(err)
		}
		return out
	}
	for domain, at := range r.byDomain(rcpts) {
		a := &attempt{r: r, env: &env, body: b, domain: domain, to: recipientsAt(rcpts, at), soft: map[int]bool{}}
		for k, o := range a.run(ctx) {
			out[at[k]] = o
		}
	}
	for _, o := range out {
		r.results.WithLabelValues(resultOf(o.Err)).Inc()
	}
	return out
}

// byDomain groups recipients by where they go: all without a route to the
// smarthost, else by domain.
func (r *Relay) byDomain(rcpts []message.Recipient) map[string][]int {
	groups := make(map[string][]int)
	for i, to := range rcpts {
		domain := strings.ToLower(splitAddress(to.Address).domain)
		if _, own := Nearest(r.o.Routes, domain); !own && r.o.Smarthost.Addr != "" {
			domain = ""
		}
		groups[domain] = append(groups[domain], i)
	}
	return groups
}

func (a *attempt) run(ctx context.Context) []message.Outcome {
	a.out = make([]message.Outcome, len(a.to))
	a.refuseUnsafe()
	if len(a.open) > 0 {
		a.deliver(ctx)
	}
	return a.out
}

func resultOf(err error) string {
	switch {
	case err == nil:
		return "sent"
	case status.IsTemporary(err):
		return "deferred"
	}
	return "failed"
}

// refuseUnsafe settles addresses that could not stand in a command, and opens
// the others.
func (a *attempt) refuseUnsafe() {
	for i, to := range a.to {
		if !safe(to.Address) || !safe(a.env.ReversePath) {
			a.out[i].Err = status.New(553, 1, 3, "An address of this message cannot be sent")
			continue
		}
		a.open = append(a.open, i)
	}
}

// settle gives all that no host has spoken about the same outcome.
func (a *attempt) settle(f *failure) {
	o := f.outcome()
	// What only this message demands says nothing about the destination.
	o.Unreachable = a.sessions == 0 && !a.env.RequireTLS && status.IsTemporary(o.Err)
	for _, i := range a.open {
		if !a.soft[i] {
			a.out[i] = o
		}
	}
	a.open = nil
}

// deliver tries host after host.
func (a *attempt) deliver(ctx context.Context) {
	hops, fail := a.r.route(ctx, a.domain)
	if fail != nil {
		a.settle(fail)
		return
	}
	var last *failure
	tried := 0
	for host, fail := range a.r.lame.last(a.r.candidates(ctx, hops)) {
		before := a.sessions
		if fail == nil {
			if tried++; tried > a.r.o.MaxAddrs {
				break
			}
			fail = a.host(ctx, host)
		}
		if fail != nil {
			a.r.o.Logger.Debug("a host did not work out", "trace", a.env.Trace, "remote", fail.remote, "err", fail.err)
			last = worse(last, fail, a.sessions > before)
		}
		if len(a.open) == 0 || fail != nil && fail.unsure { // another host could deliver it a second time
			break
		}
		if ctx.Err() != nil {
			last = &failure{err: status.Wrap(ctx.Err(), 451, 4, 2, "Interrupted")}
			break
		}
		if len(a.soft) > 0 && a.sessions >= maxSoft {
			break
		}
	}
	if last == nil {
		last = ours("", 451, 4, 4, "No mail exchanger of %s could be tried", a.domain)
	}
	a.settle(last)
}

// worse picks the failure to report of several hosts: a passing one, since
// trying again can help then; of equals the later one. But that a host lacks an
// ability is the answer when the others did not speak.
func worse(before, now *failure, spoken bool) *failure {
	switch {
	case before == nil:
		return now
	case before.lacks:
		if spoken {
			return now
		}
		return before
	case before.err.Temporary() && !now.err.Temporary() && !now.lacks:
		return before
	}
	return now
}

// host delivers by one host what it takes. A failure is that of the host; the
// recipients that it answered for have their outcome.
func (a *attempt) host(ctx context.Context, c candidate) *failure {
	q, fail := a.r.requirement(ctx, c, a.env)
	if fail != nil {
		return fail
	}
	for {
		s, reused, fail := a.r.connect(ctx, c, q)
		if fail != nil {
			a.r.sessions.WithLabelValues("failed").Inc()
			return fail
		}
		fail = a.transactions(ctx, s)
		if fail == nil || !fail.broken {
			a.sessions++
			a.r.pool.put(s)
			return fail
		}
		s.close()
		if !reused || fail.unsure || !fail.err.Temporary() || ctx.Err() != nil {
			a.sessions++
			return fail
		}
		// A connection that was kept may have gone meanwhile, or its host has
		// had enough of it: that is no word on this message. There are only a
		// few, and the next may be a new one.
	}
}

// transactions sends the message in portions that the host takes.
func (a *attempt) transactions(ctx context.Context, s *session) *failure {
	defer s.during(ctx)()
	for rest := slices.Clone(a.open); len(rest) > 0; {
		part := rest[:min(len(rest), a.r.o.MaxRecipients, s.maxRecipients())]
		rest = rest[len(part):]
		outs, fail := s.transaction(a.env, a.body, recipientsAt(a.to, part))
		switch {
		case fail == nil:
			a.record(part, s, func(k int) message.Outcome { return outs[k] })
		case fail.lacks, fail.broken && fail.err.Temporary():
			return fail
		default: // the host's word on the message
			a.record(part, s, func(int) message.Outcome { return fail.outcome() })
			if fail.broken {
				return fail
			}
		}
		s.reset()
	}
	return nil
}

// record notes what the host of s said about recipients. Those it put off stay open
// for another host.
func (a *attempt) record(part []int, s *session, outcome func(int) message.Outcome) {
	for k, i := range part {
		a.out[i] = outcome(k)
		a.out[i].TLS = s.tls
		delete(a.soft, i)
		if status.IsTemporary(a.out[i].Err) {
			a.soft[i] = true
		}
	}
	a.open = slices.DeleteFunc(a.open, func(i int) bool { return slices.Contains(part, i) && !a.soft[i] })
}

func recipientsAt(all []message.Recipient, at []int) []message.Recipient {
	list := make([]message.Recipient, len(at))
	for k, i := range at {
		list[k] = all[i]
	}
	return list
}

// requirement asks what this host and this message demand of TLS.
func (r *Relay) requirement(ctx context.Context, c candidate, env *message.Envelope) (Requirement, *failure) {
	var q Requirement
	if c.smart {
		q = c.via.requirement()
	} else {
		policy := r.policy
		if env.TLSOptional && !env.RequireTLS {
			policy = r.o.Policy
		}
		var err error
		if q, err = policy(ctx, c.domain, c.Host); err != nil {
			var st *status.Error
			if !errors.As(err, &st) {
				st = status.Wrap(err, 451, 7, 5, "The TLS policy of "+c.domain+" cannot be met at "+c.Name)
			}
			r.observe(c, q, nil, cmp.Or(q.Flaw, InvalidTLS), cmp.Or(q.Reason, tlsReason(err)))
			return q, &failure{err: st, remote: c.remote()}
		}
		q.quiet = env.TLSOptional
	}
	if env.RequireTLS {
		if !c.smart && !q.SecureMX && !c.SecureMX {
			return q, ours(c.remote(), 550, 7, 30, "REQUIRETLS: nothing vouches for %s as mail exchanger of %s", c.Name, c.domain)
		}
		q.Level = Verified
	}
	return q, nil
}

// requirement is what the settings of the smarthost mean. A password is for
// nobody but the host of that name.
func (s Smarthost) requirement() Requirement {
	q := Requirement{ID: "smarthost", plain: s.TLS == TLSNone}
	if s.TLS == TLSRequired || s.User != "" {
		q.Level = Verified
	}
	return q
}
