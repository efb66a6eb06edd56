package daemon

import (
	"context"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
)

// redirect sends on what a user's filter redirects, as mail that an alias sends
// elsewhere.
func (d *Daemon) redirect(ctx context.Context, env message.Envelope, c *message.Content) error {
	env, c = d.forwarded(ctx, env, c)
	return d.queue.Enqueue(ctx, env, c)
}

// redirectForUser sends on what a user's own `mailsrvd lda` redirects. It is not
// sealed: that would vouch for results which the user may have written himself.
func (d *Daemon) redirectForUser(ctx context.Context, env message.Envelope, c *message.Content) error {
	env.ReversePath = d.board.live.Load().rewritten(env.ReversePath)
	return d.queue.Enqueue(ctx, env, c)
}

// respond sends an answer of vacation, which is ours.
func (d *Daemon) respond(ctx context.Context, env message.Envelope, c *message.Content) error {
	if env.Trace == "" {
		env.Trace = observe.NewTrace()
	}
	return d.queue.Enqueue(ctx, env, d.signed(ctx, d.board.live.Load(), env, c))
}
