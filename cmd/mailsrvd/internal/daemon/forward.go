package daemon

import (
	"cmp"
	"context"
	"errors"
	"time"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
)

// sealTime bounds the check of the chain that a message came with.
const sealTime = 15 * time.Second

// forwarded makes mail from elsewhere ready to leave again, where an address of
// ours leads to another server: its sender is rewritten (package srs), and it is sealed (ARC, RFC 8617), so that the next
// host may believe what we have seen. A message that cannot be sealed goes
// without.
func (d *Daemon) forwarded(ctx context.Context, env message.Envelope, c *message.Content) (message.Envelope, *message.Content) {
	g := d.board.live.Load()
	env.ReversePath = g.rewritten(env.ReversePath)
	if !g.cfg.Relay.ARCSeal {
		return env, c
	}
	ctx, cancel := context.WithTimeout(ctx, sealTime)
	defer cancel()
	set, err := d.seal(ctx, g, c)
	switch {
	case errors.Is(err, dkim.ErrChainEnded), errors.Is(err, dkim.ErrNoKey):
		d.log.Debug("forwarded without a seal", "trace", env.Trace, "err", err)
		return env, c
	case err != nil:
		d.log.Warn("forwarded without a seal", "trace", env.Trace, "err", err)
		return env, c
	}
	return env, c.WithPrefix(set)
}

// seal seals for the first of our domains that has a key for it.
func (d *Daemon) seal(ctx context.Context, g *generation, c *message.Content) ([]byte, error) {
	signer := g.signing.Load()
	for _, name := range g.cfg.Domains {
		domain, ok := signer.Match(name)
		if !ok {
			continue
		}
		set, err := signer.Seal(ctx, domain, cmp.Or(g.cfg.Inbound.AuthservID, g.cfg.Hostname), c, d.resolver.TXT)
		if !errors.Is(err, dkim.ErrNoKey) {
			return set, err
		}
	}
	return nil, dkim.ErrNoKey
}
