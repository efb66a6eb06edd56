package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/internal/status"
)

// foreign reports whether a route only says that the address is not ours.
func foreign(r message.Route, address string) bool {
	return len(r.Local) == 0 && len(r.Remote) == 1 && r.Remote[0] == address
}

// Attempt implements queue.Transport. Recipients of ours, whose delivery met a
// passing failure before, are delivered again; all others go out together.
func (d *Daemon) Attempt(ctx context.Context, env message.Envelope, c *message.Content, rcpts []message.Recipient) []message.Outcome {
	g := d.board.live.Load()
	out := make([]message.Outcome, len(rcpts))
	var remote []message.Recipient
	var places []int // of the remote ones in out
	for i, r := range rcpts {
		if r.Local != nil {
			out[i].Err = g.agent.Deliver(ctx, env, c, []message.Local{*r.Local})[0]
			continue
		}
		route, err := g.route(ctx, r.Address)
		switch {
		case err != nil:
			out[i].Err = err
		case foreign(route, r.Address):
			remote, places = append(remote, r), append(places, i)
		default:
			out[i].Err = d.deliverAgain(ctx, g, env, c, r, route)
		}
	}
	if len(remote) == 0 {
		return out
	}
	env.Recipients = remote
	for i, o := range g.out.Attempt(ctx, env, c, remote) {
		out[places[i]] = o
	}
	return out
}

// deliverAgain brings a message to where an address of ours leads today. What
// an alias sends elsewhere joins the queue under its own address.
func (d *Daemon) deliverAgain(ctx context.Context, g *generation, env message.Envelope, c *message.Content, r message.Recipient, route message.Route) error {
	for _, err := range g.agent.Deliver(ctx, env, c, route.Local) {
		if err != nil {
			return err
		}
	}
	if len(route.Remote) == 0 {
		return nil
	}
	env.Recipients = nil
	for _, a := range route.Remote {
		to := r
		to.Address = a
		env.Recipients = append(env.Recipients, to)
	}
	if env.User == "" {
		env, c = d.forwarded(ctx, env, c)
	}
	return d.queue.Enqueue(ctx, env, c)
}

// holds is queue.Options.HoldNew: with [relay] hold, mail that would leave waits
// for a word of the administrator.
func (d *Daemon) holds(env message.Envelope) bool {
	g := d.board.live.Load()
	return g.cfg.Relay.Hold && slices.ContainsFunc(env.Recipients, func(r message.Recipient) bool {
		route, err := g.route(context.Background(), r.Address)
		return err == nil && foreign(route, r.Address)
	})
}

// bounce is queue.Options.Bounce: a report of ours goes to local mailboxes at
// once, and signed into the queue for everybody else.
func (d *Daemon) bounce(ctx context.Context, env message.Envelope, c *message.Content) error {
	if env.Trace == "" {
		env.Trace = observe.NewTrace()
	}
	g := d.board.live.Load()
	var errs []error
	var later []message.Recipient
	for _, r := range env.Recipients {
		route, err := g.route(ctx, r.Address)
		switch {
		case err != nil && !status.IsTemporary(err):
			d.log.Warn("a report has no recipient", "trace", env.Trace, "to", r.Address, "err", err)
		case err != nil || len(route.Local) == 0 && len(route.Remote) > 0:
			later = append(later, r)
		default:
			errs = append(errs, g.agent.Deliver(ctx, env, c, route.Local)...)
		}
	}
	if len(later) > 0 {
		env.Recipients = later
		errs = append(errs, d.queue.Enqueue(ctx, env, d.signed(ctx, g, env, c)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delivering a report: %w", err)
	}
	return nil
}

// signed is c with our signature, or c itself if there is none to be had: a
// report without a signature is better than none.
func (d *Daemon) signed(ctx context.Context, g *generation, env message.Envelope, c *message.Content) *message.Content {
	domain, err := dkim.FromDomain(c)
	if err == nil {
		var header []byte
		if header, err = sign(ctx, g.signing.Load(), domain, c); err == nil && len(header) > 0 {
			return c.WithPrefix(header)
		}
	}
	if err != nil {
		d.log.Warn("signing a report", "trace", env.Trace, "err", err)
	}
	return c
}
