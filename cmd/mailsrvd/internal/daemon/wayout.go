package daemon

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/smtpd/relay"
	"svc.plus/mailsrvd/smtpd/relay/dane"
	"svc.plus/mailsrvd/smtpd/relay/mtasts"
)

// wayOut is how mail leaves: a relay, or nothing at all.
type wayOut interface {
	// Attempt is that of queue.Transport.
	Attempt(ctx context.Context, env message.Envelope, c *message.Content, rcpts []message.Recipient) []message.Outcome
	Close() error
}

// wayOut builds the relay, or what stands in its place while mail is held.
func (d *Daemon) wayOut(c *config.Config, reg prometheus.Registerer) (wayOut, error) {
	if c.Relay.Hold {
		return held{}, nil
	}
	var o relay.Options
	if err := d.o.Groups.Do(func() (err error) {
		o, err = relayOptions(c, d.log)
		return err
	}); err != nil {
		return nil, err
	}
	o.Logger, o.Registerer = d.log, reg
	return relay.New(o)
}

// relayOptions are those that the configuration gives. It reads the password.
func relayOptions(c *config.Config, log *slog.Logger) (relay.Options, error) {
	resolver, err := dns.NewSystem(c.DNS.Resolver)
	if err != nil {
		return relay.Options{}, err
	}
	password, err := c.Relay.Password()
	if err != nil {
		return relay.Options{}, err
	}
	return relay.Options{
		Hostname: c.Hostname, Resolver: resolver, Policy: tlsPolicy(c, resolver, log),
		Smarthost: relay.Smarthost{Addr: c.Relay.Smarthost, User: c.Relay.User, Password: password, TLS: relay.TLSMode(c.Relay.TLS)},
	}, nil
}

// tlsPolicy is what the destinations publish and what [relay] tls says for all
// mail exchangers, whichever is stricter. DANE comes first: MTA-STS must not
// make up for records that do not match (RFC 8461 section 2).
func tlsPolicy(c *config.Config, resolver *dns.Resolver, log *slog.Logger) relay.Policy {
	var policies []relay.Policy
	if c.Relay.DANE {
		policies = append(policies, dane.Policy(resolver))
	}
	if c.Relay.MTASTS {
		sts := mtasts.New(mtasts.Options{Resolver: resolver, Dir: filepath.Join(c.StateDir, "mta-sts"), Logger: log})
		policies = append(policies, sts.Policy)
	}
	if c.Relay.TLS == string(relay.TLSRequired) {
		policies = append(policies, encrypted)
	}
	return relay.Strictest(policies...)
}

// encrypted is the policy of [relay] tls = "required".
func encrypted(context.Context, string, relay.Host) (relay.Requirement, error) {
	return relay.Requirement{Level: relay.Encrypted, ID: "relay.tls"}, nil
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
