package daemon

import (
	"context"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/message"
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
		o, err := relayOptions(c, nil)
		if err == nil {
			note("relay.smarthost", o.Check(ctx))
		} else if c.Relay.PasswordFile == "" {
			note("dns.resolver", err)
		}
	}
	q := queueOptions(c)
	q.Transport = idle{}
	note("state_dir", q.Check(ctx))
	return ps
}

// idle is a Transport that is never asked.
type idle struct{}

// Attempt implements queue.Transport.
func (idle) Attempt(_ context.Context, _ message.Envelope, _ *message.Content, rcpts []message.Recipient) []message.Outcome {
	return make([]message.Outcome, len(rcpts))
}
