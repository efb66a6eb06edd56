package daemon

import (
	"path/filepath"

	"svc.plus/mailsrvd/smtpd/inbound/dmarcrpt"
)

// dmarcReports builds what counts and reports what DMARC makes of mail. It lives
// through reloads, and asks the live generation whether it shall.
func (d *Daemon) dmarcReports() *dmarcrpt.Collector {
	return dmarcrpt.New(dmarcrpt.Options{
		Dir: filepath.Join(d.cfg.StateDir, "dmarc-reports"), Hostname: d.cfg.Hostname, Resolver: d.resolver,
		Settings: func() dmarcrpt.Settings {
			c := d.board.live.Load().cfg
			return dmarcrpt.Settings{On: c.DMARC.Send && !c.Relay.Hold, Organization: c.DMARCOrganization(), Contact: c.DMARCContact()}
		},
		Mail: d.mailReport, Logger: d.log, Registerer: d.registry,
	})
}
