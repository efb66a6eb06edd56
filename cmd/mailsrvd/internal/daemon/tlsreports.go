package daemon

import (
	"context"
	"errors"
	"path/filepath"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/relay/tlsrpt"
)

// tlsReports builds what counts and reports TLS with other servers. It lives
// through reloads, and asks the live generation whether it shall.
func (d *Daemon) tlsReports() *tlsrpt.Collector {
	return tlsrpt.New(tlsrpt.Options{
		Dir: filepath.Join(d.cfg.StateDir, "tls-reports"), Hostname: d.cfg.Hostname, Resolver: d.resolver,
		Settings: func() tlsrpt.Settings {
			c := d.board.live.Load().cfg
			return tlsrpt.Settings{On: c.TLSReports.Send && !c.Relay.Hold, Organization: c.ReportOrganization(), Contact: c.ReportContact()}
		},
		Mail: d.mailReport, Logger: d.log, Registerer: d.registry,
	})
}

// errUnsigned keeps a report back that its recipient would have to ignore (RFC
// 8460 section 3), or could not believe.
var errUnsigned = errors.New("no [[dkim]] key signs for the domain of the contact of [tls_reports] or [dmarc_reports]")

// mailReport signs a report and queues it.
func (d *Daemon) mailReport(ctx context.Context, env message.Envelope, c *message.Content) error {
	domain, err := dkim.FromDomain(c)
	if err != nil {
		return err
	}
	header, err := sign(ctx, d.board.live.Load().signing.Load(), domain, c)
	if err != nil {
		return err
	}
	if len(header) == 0 {
		return errUnsigned
	}
	return d.queue.Enqueue(ctx, env, c.WithPrefix(header))
}
