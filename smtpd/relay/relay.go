package relay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// Relay delivers to other hosts. It is safe for concurrent use.
type Relay struct {
	o    Options
	name string // our host name, as A-labels
	pool pool

	sessions *prometheus.CounterVec // by result
	results  *prometheus.CounterVec // recipients, by result
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
	r := &Relay{o: o, name: name, pool: pool{idle: map[poolKey][]*pooled{}, keep: o.IdleTimeout}}
	r.sessions = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "mailsrvd", Subsystem: "relay", Name: "sessions_total",
		Help: "Connections to other hosts, by result: opened, reused, failed."}, []string{"result"})
	r.results = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "mailsrvd", Subsystem: "relay", Name: "recipients_total",
		Help: "Recipients attempted, by result: sent, deferred, failed."}, []string{"result"})
	if o.Registerer != nil {
		o.Registerer.MustRegister(r.sessions, r.results)
	}
	return r, nil
}

// Close ends the connections that are kept for later messages.
func (r *Relay) Close() error {
	r.pool.close()
	return nil
}

// attempt is one call of Attempt.
type attempt struct {
	r    *Relay
	env  message.Envelope
	body *body
	to   []message.Recipient
	out  []message.Outcome
	open []int // recipients without an outcome
}

// Attempt implements queue.Transport: it delivers c to rcpts, which have one
// domain in common, and returns one outcome for each. Hosts are tried in order
// until one has given its answer.
func (r *Relay) Attempt(ctx context.Context, env message.Envelope, c *message.Content, rcpts []message.Recipient) []message.Outcome {
	a := &attempt{r: r, env: env, to: rcpts, out: make([]message.Outcome, len(rcpts))}
	a.refuseUnsafe()
	if len(a.open) > 0 {
		if fail := a.deliver(ctx, c); fail != nil {
			a.settle(fail, false)
		}
	}
	for _, o := range a.out {
		r.results.WithLabelValues(resultOf(o.Err)).Inc()
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

// settle gives all open recipients the same outcome.
func (a *attempt) settle(f *failure, unreachable bool) {
	o := f.outcome()
	o.Unreachable = unreachable && o.Err != nil && status.IsTemporary(o.Err)
	for _, i := range a.open {
		a.out[i] = o
	}
	a.open = nil
}

// deliver tries host after host. What it returns is for all that are still
// open.
func (a *attempt) deliver(ctx context.Context, c *message.Content) *failure {
	var err error
	if a.body, err = scan(c); err != nil {
		return &failure{err: status.From(err)}
	}
	domain := splitAddress(a.to[a.open[0]].Address).domain
	hops, fail := a.r.route(ctx, domain)
	if fail != nil {
		return fail
	}
	var last *failure
	reached, tried := false, 0
	for host, fail := range a.r.candidates(ctx, hops) {
		if fail == nil {
			if tried++; tried > a.r.o.MaxAddrs {
				break
			}
			fail = a.host(ctx, host, &reached)
		}
		if len(a.open) == 0 {
			return nil
		}
		if fail != nil {
			last = worse(last, fail)
			a.r.o.Logger.Debug("relay host failed", "trace", a.env.Trace, "remote", fail.remote, "err", fail.err)
			if fail.unsure {
				break // another host could deliver it a second time
			}
		}
		if err := ctx.Err(); err != nil {
			last = &failure{err: status.Wrap(err, 451, 4, 2, "Interrupted")}
			break
		}
	}
	if last == nil {
		last = ours("", 451, 4, 4, "No mail exchanger of %s could be tried", domain)
	}
	a.settle(last, !reached)
	return nil
}

// worse picks the failure to report of several hosts: a passing one, since
// trying again can help then; of equals the later one.
func worse(a, b *failure) *failure {
	if a != nil && a.err.Temporary() && !b.err.Temporary() {
		return a
	}
	return b
}

// host delivers by one host what it takes. A failure is that of the host; the
// recipients that it answered for have their outcome.
func (a *attempt) host(ctx context.Context, c candidate, reached *bool) *failure {
	q, fail := a.r.requirement(ctx, c, &a.env)
	if fail != nil {
		return fail
	}
	for try := 0; ; try++ {
		s, reused, fail := a.r.connect(ctx, c, q)
		if fail != nil {
			a.r.sessions.WithLabelValues("failed").Inc()
			return fail
		}
		*reached = true
		fail = a.transactions(ctx, s)
		if fail == nil || !fail.broken {
			a.r.pool.put(s)
			return fail
		}
		s.close()
		// A connection that was kept may have been closed meanwhile.
		if !reused || s.said > 0 || fail.unsure || try > 2 {
			return fail
		}
	}
}

// transactions sends the message in portions of MaxRecipients.
func (a *attempt) transactions(ctx context.Context, s *session) *failure {
	stop := context.AfterFunc(ctx, func() { s.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	s.said = 0
	for len(a.open) > 0 {
		part := slices.Clone(a.open[:min(len(a.open), a.r.o.MaxRecipients)])
		outcomes, fail := s.transaction(&a.env, a.body, recipientsAt(a.to, part))
		if fail != nil {
			if !fail.err.Temporary() {
				// The host's final word on the message, not on itself.
				a.record(part, func(int) message.Outcome { return fail.outcome() })
				if fail.broken {
					return fail
				}
				continue
			}
			return fail
		}
		a.record(part, func(i int) message.Outcome { return outcomes[i] })
	}
	return nil
}

func (a *attempt) record(part []int, outcome func(int) message.Outcome) {
	for k, i := range part {
		a.out[i] = outcome(k)
	}
	a.open = slices.DeleteFunc(a.open, func(i int) bool { return slices.Contains(part, i) })
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
		q = r.o.Smarthost.requirement()
	} else {
		var err error
		if q, err = r.o.Policy(ctx, c.domain, c.Host); err != nil {
			var st *status.Error
			if !errors.As(err, &st) {
				st = status.Wrap(err, 451, 7, 5, "The TLS policy of "+c.domain+" cannot be met at "+c.Name)
			}
			return q, &failure{err: st, remote: c.remote()}
		}
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

// trimDot removes the dot of an absolute name, which certificates lack.
func trimDot(name string) string { return strings.TrimSuffix(name, ".") }
