package daemon

import (
	"svc.plus/mailsrvd/auth/passwdfile"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/maildir"
)

// quota is maildir.Options.Limits: what the passwd-file says of the account, or
// else [quota] as it was read last.
func (d *Daemon) quota(owner asuser.Owner, _ string) maildir.Limits {
	if d.board == nil { // still being built
		return maildir.Limits{}
	}
	g := d.board.live.Load()
	if b, ok := g.auth.backend.(*passwdfile.Backend); ok {
		if q, ok := b.Quota(owner.Name); ok {
			return maildir.Limits(q)
		}
	}
	return maildir.Limits{Storage: g.cfg.Quota.Storage, Messages: int64(g.cfg.Quota.Messages)}
}
