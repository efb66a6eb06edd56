package daemon

import (
	"context"
	"errors"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
)

// Welcome delivers text as a first message to the user, unless there is mail
// already.
func (d *Daemon) Welcome(ctx context.Context, user string, text []byte) error {
	g := d.board.live.Load()
	account, err := g.auth.Lookup(ctx, user)
	if err != nil {
		return err
	}
	store := d.stores.Store(account.Owner, account.MaildirPath(d.cfg.Mail.Location))
	if s, err := store.Status(ctx, "INBOX", false); err == nil && (s.Messages > 0 || s.UIDNext > 1) {
		return nil
	}
	env := message.Envelope{Trace: observe.NewTrace(), Recipients: []message.Recipient{{Address: user + "@" + d.cfg.Domain()}}}
	to := []message.Local{{User: account.Name, Address: env.Recipients[0].Address}}
	return errors.Join(g.agent.Deliver(ctx, env, message.FromBytes(text), to)...)
}
