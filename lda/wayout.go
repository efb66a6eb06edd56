package lda

import (
	"context"
	"errors"
	"fmt"
	"os"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/lda/sieve"
)

// RedirectCall is the name of the call by which the command, run by a user, has
// the daemon send a message on (internal/control); the message is its body.
const RedirectCall = "lda.redirect"

// redirection is what the command tells about the message.
type redirection struct {
	User    string `json:"user"`
	Sender  string `json:"sender,omitempty"`
	Address string `json:"address"`
	Trace   string `json:"trace,omitempty"`
}

// redirectionReply has the status of a message that was not taken; Code is 0 for
// one that is in the queue.
type redirectionReply struct {
	Code     int             `json:"code,omitempty"`
	Enhanced status.Enhanced `json:"enhanced,omitempty"`
	Text     string          `json:"text,omitempty"`
}

// withWayOut are filters whose redirects and answers leave through the daemon, for a
// command that delivers by itself. Without a daemon nothing leaves, and then nothing is
// stored either: the whole delivery is put off, and comes again.
func (r *run) withWayOut(o *Sieve, acct auth.Account) *Sieve {
	if o == nil || r.opts.WayOut == "" || o.Redirect != nil {
		return o
	}
	s := *o
	s.Redirect = func(ctx context.Context, env message.Envelope, c *message.Content) error {
		return r.redirect(ctx, acct, env, c)
	}
	s.Reach = func(ctx context.Context) error { return control.Reach(ctx, r.opts.WayOut) }
	if r.opts.Respond != nil {
		s.Respond = func(ctx context.Context, env message.Envelope, c *message.Content) error {
			return r.opts.Respond(ctx, acct.Name, env, c)
		}
	}
	return &s
}

// redirect hands one message to the daemon. What it refuses for now, and a daemon
// that does not answer, is tried again.
func (r *run) redirect(ctx context.Context, acct auth.Account, env message.Envelope, c *message.Content) error {
	args := redirection{User: acct.Name, Sender: env.ReversePath, Address: env.Recipients[0].Address, Trace: env.Trace}
	ctx, cancel := context.WithTimeout(ctx, handoverTimeout)
	defer cancel()
	var reply redirectionReply
	if err := control.Do(ctx, r.opts.WayOut, control.Request{Name: RedirectCall, Args: args, Body: c.NewReader()}, &reply); err != nil {
		return fmt.Errorf("handing the message to the daemon: %w", err)
	}
	if reply.Code != 0 {
		return &status.Error{Code: reply.Code, Enhanced: reply.Enhanced, Text: reply.Text}
	}
	return nil
}

// RedirectOptions say what the daemon takes from users' commands.
type RedirectOptions struct {
	// SpoolDir takes messages that are too large for memory.
	SpoolDir string
	// Limit bounds a message in bytes; 0 is none.
	Limit int64
	// Take counts a message against what the account may send; nil allows all.
	Take func(account string, recipients int) error
	// Send makes a message durable that goes elsewhere, under a sender that it has
	// rewritten.
	Send func(ctx context.Context, env message.Envelope, c *message.Content) error
}

// maxReceived is the number of Received fields that means a loop (RFC 5321 section
// 6.3).
const maxReceived = 50

// Redirects returns the daemon's side of the way out, for RedirectCall. It serves
// the account whose uid calls, and root; the kernel says who that is. The message is
// the user's word: nothing in it is taken for ours, failures are told to nobody, and
// it counts as one that he sends.
func (a *Agent) Redirects(o RedirectOptions) control.Handler {
	return func(ctx context.Context, call *control.Call) (any, error) {
		var m redirection
		if err := call.Decode(&m); err != nil {
			return nil, err
		}
		acct, err := lookupUser(ctx, a.o, m.User)
		if err != nil || acct.Self || acct.Owner.UID != call.Peer.UID && call.Peer.UID != 0 && call.Peer.UID != os.Geteuid() {
			return nil, control.Errorf(control.Refused, "uid %d may not send mail on for %s", call.Peer.UID, m.User)
		}
		err = a.redirectFor(ctx, acct, m, call, o)
		attrs := []any{"proto", "lda", "trace", m.Trace, "user", acct.Name, "uid", call.Peer.UID, "from", m.Sender, "to", m.Address}
		if err != nil {
			s := status.From(err)
			a.o.Logger.WarnContext(ctx, "redirect not taken", append(attrs, "code", s.Code, "err", err)...)
			return redirectionReply{Code: s.Code, Enhanced: s.Enhanced, Text: s.Text}, nil
		}
		a.o.Logger.InfoContext(ctx, "redirect taken", attrs...)
		return redirectionReply{}, nil
	}
}

// redirectFor puts one message of a user into the queue.
func (a *Agent) redirectFor(ctx context.Context, acct auth.Account, m redirection, call *control.Call, o RedirectOptions) error {
	if a.filters == nil || a.filters.Redirects < 0 {
		return status.New(451, 3, 2, "Mail is not sent on here now")
	}
	env := message.Envelope{Trace: m.Trace, Recipients: []message.Recipient{{Address: m.Address}}}
	if !isTrace(env.Trace) {
		env.Trace = observe.NewTrace()
	}
	if local, domain, err := splitAddress(m.Address); err != nil || local == "" || domain == "" {
		return status.Wrap(err, 553, 1, 3, "Address to redirect to has invalid syntax")
	}
	if local, domain, err := splitAddress(m.Sender); err == nil && local != "" && domain != "" {
		env.ReversePath = m.Sender
	}
	c, err := message.Spool(call.Body, o.SpoolDir, spoolMemory, o.Limit)
	if errors.Is(err, message.ErrTooBig) {
		return status.Wrap(err, 552, 3, 4, "Message is too big")
	} else if err != nil {
		return err
	}
	defer c.Close()
	facts, err := contentFacts(c)
	if err != nil {
		return err
	}
	if facts.received >= maxReceived {
		return status.New(554, 4, 6, "Too many hops, this message is in a loop")
	}
	if o.Take != nil {
		if err := o.Take(acct.Name, 1); err != nil {
			return err
		}
	}
	return o.Send(ctx, env, c)
}

// isTrace reports whether a text is one of observe.NewTrace's.
func isTrace(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// reachable is an error if the verdict sends something on and nobody is there to
// take it.
func (a *Agent) reachable(ctx context.Context, redirects []*sieve.Redirect) error {
	if len(redirects) == 0 || a.filters.Reach == nil {
		return nil
	}
	if err := a.filters.Reach(ctx); err != nil {
		return status.Wrap(err, 451, 3, 2, "Message cannot be sent on now, try again later")
	}
	return nil
}
