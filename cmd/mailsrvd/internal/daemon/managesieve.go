package daemon

import (
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/lda"
	"svc.plus/mailsrvd/lda/managesieve"
	"svc.plus/mailsrvd/lda/sieve"
)

// buildManageSieve makes the server by which users change their filter scripts.
func (d *Daemon) buildManageSieve() error {
	l := d.cfg.Limits
	o := managesieve.Options{
		Hostname: d.cfg.Hostname, Auth: d.board, Language: d.board.language, Logger: d.log, Registerer: d.registry,
		Limits: managesieve.Limits{Handshake: l.Handshake, LoginFailures: l.AuthFailures, PerUser: l.ConnectionsPerUser},
	}
	if d.certs != nil {
		o.TLS = d.imapTLS()
	}
	s, err := managesieve.New(o)
	if err != nil {
		return err
	}
	d.servers = append(d.servers, &server{name: "managesieve", serve: s.Serve, shutdown: s.Shutdown})
	return nil
}

// language is what users' scripts may do, for managesieve: the same as at delivery.
func (s *switchboard) language() sieve.Options {
	return filterScripts(s.live.Load().cfg).Language()
}

// filterScripts is [sieve] for lda, without the ways out.
func filterScripts(c *config.Config) *lda.Sieve {
	s := c.Sieve
	o := &lda.Sieve{NoScripts: !s.Enabled, Forward: c.LDA.Forward, Before: s.Before, After: s.After, Default: s.Default, GlobalDir: s.GlobalDir, Redirects: s.Redirects}
	if s.Redirects == 0 {
		o.Redirects = -1
	}
	return o
}
