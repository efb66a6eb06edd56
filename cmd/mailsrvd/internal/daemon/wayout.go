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
		o, err = relayOptions(c, filepath.Join(c.StateDir, "mta-sts"), d.log)
		return err
	}); err != nil {
		return nil, err
	}
	o.Logger, o.Registerer = d.log, reg
	o.Observe = func(r relay.TLSResult) { d.reports.Observe(r) }
	return relay.New(o)
}

// Relay is for commands: the daemon's way out, which keeps nothing and reports
// to nobody.
func Relay(c *config.Config) (*relay.Relay, error) {
	o, err := relayOptions(c, "", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return relay.New(o)
}

// relayOptions are those that the configuration gives; policies are kept in dir.
// It reads the password.
func relayOptions(c *config.Config, dir string, log *slog.Logger) (relay.Options, error) {
	resolver, err := dns.NewSystem(c.DNS.Resolver)
	if err != nil {
		return relay.Options{}, err
	}
	password, err := c.Relay.Password()
	if err != nil {
		return relay.Options{}, err
	}
	routes := map[string]relay.Smarthost{}
	for _, r := range c.Relay.Route {
		if r.Host == "" { // ours knows it
			continue
		}
		secret, err := r.Password()
		if err != nil {
			return relay.Options{}, err
		}
		for _, domain := range r.Domains {
			routes[domain] = relay.Smarthost{Addr: r.Host, User: r.User, Password: secret, TLS: relay.TLSMode(r.TLS)}
		}
	}
	return relay.Options{
		Routes: routes, Source: c.Relay.Source,
		Hostname: c.Hostname, Resolver: resolver, Policy: ours(c), Published: published(c, resolver, dir, log),
		Smarthost: relay.Smarthost{Addr: c.Relay.Smarthost, User: c.Relay.User, Password: password, TLS: relay.TLSMode(c.Relay.TLS)},
	}, nil
}

// published is what the destinations publish. DANE comes first: MTA-STS must not
// make up for records that do not match (RFC 8461 section 2).
func published(c *config.Config, resolver *dns.Resolver, dir string, log *slog.Logger) relay.Policy {
	var policies []relay.Policy
	if c.Relay.DANE {
		policies = append(policies, dane.Policy(resolver))
	}
	if c.Relay.MTASTS {
		sts := mtasts.New(mtasts.Options{Resolver: resolver, Dir: dir, Logger: log})
		policies = append(policies, sts.Policy)
	}
	return relay.Strictest(policies...)
}

// ours is what [relay] tls says for all mail exchangers, and a route without a host
// for those of its domains.
func ours(c *config.Config) relay.Policy {
	own := map[string]string{}
	for _, r := range c.Relay.Route {
		for _, domain := range r.Domains {
			if r.Host == "" {
				own[domain] = r.TLS
			}
		}
	}
	return func(_ context.Context, domain string, _ relay.Host) (relay.Requirement, error) {
		tls, single := relay.Nearest(own, domain)
		if !single {
			tls = c.Relay.TLS
		}
		if tls == string(relay.TLSRequired) {
			return relay.Requirement{Level: relay.Encrypted, ID: "relay.tls"}, nil
		}
		return relay.Requirement{}, nil
	}
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
