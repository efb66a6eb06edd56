package daemon

import (
	"context"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/imapd"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// Problem is what a room says about its part of the configuration.
type Problem struct {
	// Key is to blame.
	Key string
	Err error
}

// Check asks the rooms that have more to say than the configuration's own
// rules. It changes nothing.
func Check(ctx context.Context, c *config.Config) []Problem {
	var ps []Problem
	note := func(key string, err error) {
		if err != nil {
			ps = append(ps, Problem{key, err})
		}
	}
	if !c.Relay.Hold {
		o, err := relayOptions(c, "", nil)
		if err == nil {
			note("relay.smarthost", o.Check(ctx))
		} else if c.Relay.PasswordFile == "" {
			note("dns.resolver", err)
		}
	}
	note("inbound.filter", filterOptions(c).Check(ctx))
	note("imap.disable", imapCheck(ctx, c))
	q := queueOptions(c)
	q.Transport = idle{}
	note("state_dir", q.Check(ctx))
	return ps
}

// imapCheck looks at what the configuration gives to IMAP.
func imapCheck(ctx context.Context, c *config.Config) error {
	return imapd.Options{
		Auth: nobody{}, Stores: new(maildir.Stores), Limits: imapLimits(c),
		DisableCapabilities: c.IMAP.Disable, DisableFor: c.IMAP.DisableFor(),
	}.Check(ctx)
}

// nobody is an Authenticator that is never asked.
type nobody struct{}

// Authenticate implements imapd.Authenticator.
func (nobody) Authenticate(context.Context, auth.Credentials) (auth.Account, error) {
	return auth.Account{}, auth.ErrNoUser
}

// idle is a Transport that is never asked.
type idle struct{}

// Attempt implements queue.Transport.
func (idle) Attempt(_ context.Context, _ message.Envelope, _ *message.Content, rcpts []message.Recipient) []message.Outcome {
	return make([]message.Outcome, len(rcpts))
}
