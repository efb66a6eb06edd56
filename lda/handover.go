package lda

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/internal/status"
)

// HandoverCall is the name of the call by which the command hands a message to
// the daemon (internal/control); the message is its body.
const HandoverCall = "lda.deliver"

// handover is what the command tells about the message.
type handover struct {
	User     string `json:"user"`
	Sender   string `json:"sender,omitempty"`
	Original string `json:"original,omitempty"`
	Final    string `json:"final,omitempty"`
	Mailbox  string `json:"mailbox,omitempty"`
	// Settings are what the caller's -o or configuration say.
	Settings
}

// handoverReply is what became of it.
type handoverReply struct {
	// Exit is the exit code of the command.
	Exit int `json:"exit"`
	// Folder took the message, when Exit is 0.
	Folder string `json:"folder,omitempty"`
	// Code, Enhanced and Text are the status otherwise.
	Code     int             `json:"code,omitempty"`
	Enhanced status.Enhanced `json:"enhanced,omitempty"`
	Text     string          `json:"text,omitempty"`
}

// handoverTimeout bounds the wait for the daemon; callers give up earlier.
const handoverTimeout = 5 * time.Minute

// handOver gives the message to the daemon and returns its answer.
func (r *run) handOver(c *message.Content) error {
	if r.opts.Socket == "" {
		return tempFail("only the daemon can deliver to %s, and no socket of it is configured", r.args.user)
	}
	args := handover{
		User: r.args.user, Sender: r.sender, Original: r.args.original, Final: r.args.final,
		Mailbox: r.args.mailbox, Settings: r.opts.Settings,
	}
	ctx, cancel := context.WithTimeout(r.ctx, handoverTimeout)
	defer cancel()
	var reply handoverReply
	err := control.Do(ctx, r.opts.Socket, control.Request{Name: HandoverCall, Args: args, Body: c.NewReader()}, &reply)
	var refusal *control.Error
	switch {
	case errors.Is(err, os.ErrPermission):
		return &exitError{ExitNoPerm, errors.New("only root, the user and members of the mail group may deliver to " + r.args.user)}
	case errors.As(err, &refusal) && refusal.Kind == control.Refused:
		return &exitError{ExitNoPerm, err}
	case err != nil:
		return tempFail("handing the message to the daemon: %w", err)
	case reply.Exit != ExitOK:
		s := &status.Error{Code: reply.Code, Enhanced: reply.Enhanced, Text: reply.Text}
		return &exitError{reply.Exit, s}
	}
	r.saved(reply.Folder)
	return nil
}

// HandoverOptions says who may hand messages over, and how they are read.
type HandoverOptions struct {
	// Group is the gid whose members may deliver to everybody (mail); -1 is
	// none.
	Group int
	// SpoolDir takes messages that are too large for memory.
	SpoolDir string
	// Limit bounds a message in bytes; 0 is none.
	Limit int64
}

// Handover returns the daemon's side of the hand-over, for HandoverCall. It
// serves root, the members of the group, the daemon's own user and the target
// user himself; the kernel says who calls.
func (a *Agent) Handover(o HandoverOptions) control.Handler {
	return func(ctx context.Context, call *control.Call) (any, error) {
		var h handover
		if err := call.Decode(&h); err != nil {
			return nil, err
		}
		acct, err := lookupUser(ctx, a.o, h.User)
		if !mayDeliver(call.Peer, o.Group) && (err != nil || acct.Owner.UID != call.Peer.UID) {
			// The same answer whether or not there is such a user.
			return nil, control.Errorf(control.Refused, "uid %d may not deliver to %s", call.Peer.UID, h.User)
		}
		if errors.Is(err, auth.ErrNoUser) {
			return failedHandover(status.NoSuchUser(h.User), h), nil
		}
		if err != nil {
			return failedHandover(err, h), nil
		}
		c, err := message.Spool(call.Body, o.SpoolDir, spoolMemory, o.Limit)
		if errors.Is(err, message.ErrTooBig) {
			return failedHandover(status.Wrap(err, 552, 3, 4, "Message is too big"), h), nil
		}
		if err != nil {
			return failedHandover(err, h), nil
		}
		defer c.Close()
		return a.deliverHandover(ctx, h, acct, c), nil
	}
}

// mayDeliver reports whether a peer may deliver to everybody.
func mayDeliver(p control.Peer, group int) bool {
	return p.UID == 0 || p.UID == os.Geteuid() || (group >= 0 && p.InGroup(group))
}

// deliverHandover saves a message that was handed over.
func (a *Agent) deliverHandover(ctx context.Context, h handover, acct auth.Account, c *message.Content) handoverReply {
	facts, err := contentFacts(c)
	if err != nil {
		return failedHandover(err, h)
	}
	var folder string
	attrs := []any{"proto", "lda", "user", acct.Name, "from", h.Sender}
	err = a.counted(ctx, facts, attrs, func() (string, error) {
		var err error
		folder, err = a.save(ctx, delivery{
			account:   acct,
			env:       message.Envelope{Trace: observe.NewTrace(), ReversePath: h.Sender},
			addresses: addressesOf(h),
			facts:     facts,
			detail:    detailOf(a.o, &arguments{user: h.User, original: h.Original, final: h.Final}),
			folder:    h.Mailbox,
			create:    h.Autocreate,
			subscribe: h.Autosubscribe,
			content:   c,
		})
		return folder, err
	})
	if err != nil {
		return failedHandover(err, h)
	}
	return handoverReply{Folder: folder}
}

// addressesOf are those that the caller names.
func addressesOf(h handover) (list []string) {
	for _, a := range []string{h.Final, h.Original} {
		if a != "" && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// failedHandover is the reply for a message that was not saved.
func failedHandover(err error, h handover) handoverReply {
	s := status.From(err)
	return handoverReply{Exit: exitCode(s, h.FullTempfail), Code: s.Code, Enhanced: s.Enhanced, Text: s.Text}
}
