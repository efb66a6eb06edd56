package smtpd

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// plan is where a message goes: every local place once, even if several
// recipients lead to it.
type plan struct {
	locals []message.Local
	of     [][]int             // per recipient: its elements of locals
	remote []message.Recipient // for the queue
}

func (tx *transaction) plan() plan {
	p := plan{of: make([][]int, len(tx.recipients))}
	index := make(map[message.Local]int)
	for i, r := range tx.recipients {
		for _, l := range r.route.Local {
			n, known := index[l.Place()]
			if !known {
				n = len(p.locals)
				index[l.Place()] = n
				p.locals = append(p.locals, l)
			}
			p.of[i] = append(p.of[i], n)
		}
		for _, address := range r.route.Remote {
			p.remote = append(p.remote, r.forwarded(address))
		}
	}
	return p
}

// forwarded is the recipient with the address that an alias leads to; where it
// came from stays known for a DSN (RFC 3461 section 5.2.7).
func (r recipient) forwarded(address string) message.Recipient {
	to := r.Recipient
	if !strings.EqualFold(address, r.Address) {
		to.Address = address
		if to.ORcpt == "" {
			to.ORcpt = "rfc822;" + r.Address
		}
	}
	return to
}

// deferred is the recipient by which the queue reaches this one place later,
// and not others of the same alias again.
func (s *Server) deferred(r recipient, l message.Local) message.Recipient {
	if len(r.route.Local) == 1 && len(r.route.Remote) == 0 {
		return r.Recipient
	}
	to := r.Recipient
	if l.Program == "" {
		address := l.User
		if !strings.Contains(address, "@") && len(s.o.Domains) > 0 {
			address = quoteLocal(address) + "@" + s.o.Domains[0]
		}
		to = r.forwarded(address)
	}
	to.Local = &l
	return to
}

// hand passes a received message on; nil means that it is safe. One reply
// cannot say two things: if no recipient got it, the reply is theirs; if some
// did, a passing failure joins the queue, and a final one is told to the sender
// by another message, or logged when the sender may be forged.
func (s *session) hand(tx *transaction, c *message.Content) error {
	results, err := s.deliver(tx, c)
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range results {
		if e == nil {
			return nil
		}
		failed = append(failed, e)
	}
	for _, e := range failed {
		if status.IsTemporary(e) {
			return e
		}
	}
	return failed[0]
}

// deliver gives one result per recipient: nil if we have responsibility for it
// now. Its error means that nothing was done for anybody.
func (s *session) deliver(tx *transaction, c *message.Content) ([]error, error) {
	ctx, cancel := context.WithTimeout(s.wire.ctx, s.server.o.Limits.Delivery)
	defer cancel()
	p := tx.plan()
	if tx.env.ReleaseAt.After(time.Now()) {
		return make([]error, len(tx.recipients)), s.hold(ctx, tx, c, p)
	}
	env := tx.env
	if len(p.remote) > 0 {
		// First, since this can be refused while nothing has been done yet.
		env.Recipients = p.remote
		onward, text := s.server.forwarded(ctx, env, c)
		if err := s.server.o.Queue.Enqueue(ctx, onward, text); err != nil {
			return nil, err
		}
	}
	outcome := s.deliverLocal(ctx, tx, c, p.locals)
	return s.settle(ctx, tx, c, fates(tx, p, outcome))
}

// forwarded is what leaves of a message. What our users send is ready.
func (s *Server) forwarded(ctx context.Context, env message.Envelope, c *message.Content) (message.Envelope, *message.Content) {
	if s.o.Mode.submits() || s.o.Forwarded == nil {
		return env, c
	}
	return s.o.Forwarded(ctx, env, c)
}

func (s *session) deliverLocal(ctx context.Context, tx *transaction, c *message.Content, to []message.Local) []error {
	if len(to) == 0 {
		return nil
	}
	env := tx.env
	for _, r := range tx.recipients {
		env.Recipients = append(env.Recipients, r.Recipient)
	}
	outcome := s.server.o.Deliverer.Deliver(ctx, env, c, to)
	for len(outcome) < len(to) {
		outcome = append(outcome, status.Wrap(errors.New("the deliverer gave no answer"), 451, 3, 0, "Local error, try again later"))
	}
	return outcome
}

// fate is what became of one recipient in its local mailboxes.
type fate struct {
	recipient
	reached bool // a mailbox has it, or the queue, or nobody shall
	failed  []failure
}

type failure struct {
	local message.Local
	err   *status.Error
}

func fates(tx *transaction, p plan, outcome []error) []fate {
	all := make([]fate, len(tx.recipients))
	for i, r := range tx.recipients {
		f := fate{recipient: r, reached: len(r.route.Remote) > 0 || r.route.Discard}
		for _, n := range p.of[i] {
			if e := status.From(outcome[n]); e != nil {
				f.failed = append(f.failed, failure{p.locals[n], e})
			} else {
				f.reached = true
			}
		}
		all[i] = f
	}
	return all
}

// worst is the failure that speaks for a recipient: a passing one if there is
// one.
func (f fate) worst() *status.Error {
	for _, x := range f.failed {
		if x.err.Temporary() {
			return x.err
		}
	}
	return f.failed[0].err
}

// settle decides about the failures of local deliveries: into the reply, into
// the queue, or into a report to the sender.
func (s *session) settle(ctx context.Context, tx *transaction, c *message.Content, all []fate) ([]error, error) {
	results := make([]error, len(all))
	var later, told []message.Recipient
	var outcome []error // of told
	inReply := s.inReply(all)
	for i, f := range all {
		if len(f.failed) > 0 && inReply(f) {
			results[i] = f.worst()
			continue
		}
		for _, x := range f.failed {
			if x.err.Temporary() {
				later = append(later, s.server.deferred(f.recipient, x.local))
				s.logFailure(tx, f.Address, x.err, "delivery deferred")
				continue
			}
			told, outcome = append(told, f.Recipient), append(outcome, x.err)
			s.logFailure(tx, f.Address, x.err, "delivery failed")
		}
		if len(f.failed) == 0 && len(f.route.Remote) == 0 && slices.Contains(f.Notify, "SUCCESS") {
			told, outcome = append(told, f.Recipient), append(outcome, nil)
		}
	}
	if len(later) > 0 {
		env := tx.env
		env.Recipients = later
		if err := s.server.o.Queue.Enqueue(ctx, env, c); err != nil {
			return nil, err
		}
	}
	s.tell(ctx, tx, c, told, outcome)
	return results, nil
}

// inReply says for which recipients a failure is the reply's to tell: in LMTP
// for each that nothing of the message has reached, else when it has reached
// nobody. Our own users' programs do not try again by themselves: for them what
// may pass is queued even then.
func (s *session) inReply(all []fate) func(fate) bool {
	if s.server.o.Mode == LMTP {
		return func(f fate) bool { return !f.reached }
	}
	anybody := slices.ContainsFunc(all, func(f fate) bool {
		return f.reached || s.server.o.Mode.submits() && f.worst().Temporary()
	})
	return func(fate) bool { return !anybody }
}

// tell reports outcomes that the reply cannot, to a sender who surely is the
// sender.
func (s *session) tell(ctx context.Context, tx *transaction, c *message.Content, to []message.Recipient, outcome []error) {
	env := tx.env
	var wanted []error
	for i, r := range to {
		if outcome[i] == nil || len(r.Notify) == 0 || slices.Contains(r.Notify, "FAILURE") {
			env.Recipients = append(env.Recipients, r)
			wanted = append(wanted, outcome[i])
		}
	}
	if len(wanted) == 0 || !env.Trusted || env.ReversePath == "" || s.server.o.Report == nil {
		return
	}
	if err := s.server.o.Report(ctx, env, c, wanted); err != nil {
		s.logFailure(tx, env.ReversePath, status.From(err), "reporting to the sender failed")
	}
}
