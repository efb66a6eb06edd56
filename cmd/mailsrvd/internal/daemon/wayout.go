package daemon

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// wayOut is how mail leaves: a relay, or nothing at all.
type wayOut interface {
	// Attempt is that of queue.Transport.
	Attempt(ctx context.Context, env message.Envelope, c *message.Content, rcpts []message.Recipient) []message.Outcome
	Close() error
}

func (d *Daemon) wayOut(c *config.Config, _ prometheus.Registerer) (wayOut, error) {
	if !c.Relay.Hold {
		d.log.Warn("this build cannot send mail to other servers yet; it stays in the queue")
	}
	return held{}, nil
}

// errHeld is what the queue shows for mail that [relay] hold keeps back.
var errHeld = status.New(451, 3, 2, "Outbound mail is held here ([relay] hold)")

// held is the way out of a server with [relay] hold.
type held struct{}

// Attempt implements wayOut.
func (held) Attempt(_ context.Context, _ message.Envelope, _ *message.Content, rcpts []message.Recipient) []message.Outcome {
	out := make([]message.Outcome, len(rcpts))
	for i := range out {
		out[i].Err = errHeld
	}
	return out
}

// Close implements wayOut.
func (held) Close() error { return nil }
