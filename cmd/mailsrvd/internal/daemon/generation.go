package daemon

import (
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/senders"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/srs"
	"svc.plus/mailsrvd/lda"
)

// generation is what one reading of the configuration gives and the next
// replaces. Its parts are safe for concurrent
// use.
type generation struct {
	cfg     *config.Config
	auth    *authentication
	agent   *lda.Agent
	signing *atomic.Pointer[signing] // replaced when a key takes its turn
	senders senders.Policy
	out     wayOut
	srs     *srs.Rewriter // nil without [relay] srs
	rates   rates
	// registry has the metrics of agent and relay: counters begin anew with
	// each generation, which Prometheus takes for a restart.
	registry *prometheus.Registry
}

// authentication is an Authenticator with its metrics. It is carried over to
// the next generation when nothing of it changes, so that a reload does not
// forget who has been guessing.
type authentication struct {
	*auth.Authenticator
	backend  auth.Backend
	registry *prometheus.Registry
}

// newGeneration builds everything from c, or returns all that is wrong. old may
// be nil.
func (d *Daemon) newGeneration(c *config.Config, old *generation) (*generation, error) {
	g := &generation{cfg: c, rates: newRates(c), signing: new(atomic.Pointer[signing]), registry: prometheus.NewRegistry()}
	var errs []error
	note := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Where(key), err))
		}
	}
	var err error
	g.auth, err = d.authentication(c, old)
	note("auth.backend", err)
	if err == nil {
		err = d.o.Groups.Do(func() (err error) { // alias files may be the group's
			g.agent, err = lda.New(d.ldaOptions(c, g))
			return err
		})
		note("aliases.file", err)
	}
	d.turning.Lock()
	keys, _, err := d.newSigning(c)
	d.turning.Unlock()
	g.signing.Store(keys)
	note("dkim", err)
	g.srs, err = newRewriter(c)
	note("relay.srs", err)
	g.out, err = d.wayOut(c, g.registry)
	note("relay.smarthost", err)
	err = d.o.Groups.Do(func() (err error) {
		g.senders.File, err = senders.Load(c.Submission.SendersFile)
		return err
	})
	note("submission.senders_file", err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	g.senders.Domains, g.senders.Delimiter, g.senders.Route = c.Domains, c.Mail.RecipientDelimiter, g.agent.Route
	return g, nil
}

// authentication builds the Authenticator, or keeps the old one when its part
// of the configuration is the same.
func (d *Daemon) authentication(c *config.Config, old *generation) (*authentication, error) {
	if old != nil && reflect.DeepEqual(c.Auth, old.cfg.Auth) && reflect.DeepEqual(c.Domains, old.cfg.Domains) &&
		c.Mail.MinUID == old.cfg.Mail.MinUID && reflect.DeepEqual(c.Limits.Trusted, old.cfg.Limits.Trusted) {
		return old.auth, nil
	}
	reg := prometheus.NewRegistry()
	backend, err := newBackend(c, d.o.Groups, d.log, reg)
	if err != nil {
		return nil, err
	}
	a, err := newAuthenticator(c, backend, d.o.FailureDelay, d.bans.Failed, d.log, reg)
	if err != nil {
		return nil, err
	}
	return &authentication{a, backend, reg}, nil
}

func (d *Daemon) ldaOptions(c *config.Config, g *generation) lda.Options {
	o := LDAOptions(c)
	o.Accounts, o.Stores = g.auth, d.stores
	o.Logger, o.Registerer = d.log, g.registry
	if o.Sieve != nil {
		o.Sieve.Redirect, o.Sieve.Respond = d.redirect, d.respond
	}
	return o
}

// LDAOptions are those that the configuration gives; Accounts, Stores, Logger,
// Registerer and the ways out of Sieve are the caller's.
func LDAOptions(c *config.Config) lda.Options {
	o := lda.Options{
		Location: c.Mail.Location, Domains: c.Domains, Hostname: c.Hostname, Postmaster: c.Postmaster,
		AllowInclude: c.Aliases.AllowInclude, RecipientDelimiter: c.Mail.RecipientDelimiter, DetailFolder: c.LDA.DetailFolder, QuotaWarning: c.Quota.Warning,
	}
	if c.Sieve.Enabled || c.LDA.Forward {
		o.Sieve = filterScripts(c)
	}
	if a := c.Aliases; len(a.PipePrograms) > 0 {
		o.Programs = &lda.Programs{Allowed: a.PipePrograms, User: a.PipeUser, Time: a.PipeTimeout, Forward: c.LDA.ForwardPipes}
	}
	for _, a := range c.Aliases.Domain {
		o.Aliases = append(o.Aliases, lda.AliasFile{Path: a.File, Domain: a.Domain})
	}
	if c.Aliases.File != "" {
		o.Aliases = append(o.Aliases, lda.AliasFile{Path: c.Aliases.File, Optional: !c.Given("aliases.file")})
	}
	return o
}

// close frees the connections that the way out keeps.
func (g *generation) close() error {
	return g.out.Close()
}
