package daemon

import (
	"os"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// The quota is what the passwd-file says of a user, or else the configuration,
// and both count at RCPT and after a reload.
func TestQuotaComesFromConfigurationAndAccount(t *testing.T) {
	d := newDaemon(t)
	path := d.cfg.Auth.PasswdFile.Path
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	name, _, _ := strings.Cut(line, ":")
	g := d.board.live.Load()
	a, err := g.auth.Lookup(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.quota(a.Owner, ""); got.Limited() {
		t.Errorf("limits without a setting: %+v", got)
	}
	changed := *g
	cfg := *g.cfg
	cfg.Quota.Storage, cfg.Quota.Messages = 5<<20, 77
	changed.cfg = &cfg
	d.board.live.Store(&changed)
	if got := d.quota(a.Owner, ""); got != (maildir.Limits{Storage: 5 << 20, Messages: 77}) {
		t.Errorf("limits of the configuration: %+v", got)
	}
	to := message.Local{User: name}
	if err := d.board.room(ctx, to, 1<<20); err != nil {
		t.Errorf("a message that fits: %v", err)
	}
	if err := d.board.room(ctx, to, 6<<20); err == nil {
		t.Error("a message that does not fit has room")
	}
	fields := append(strings.Split(line, ":"), "", "", "", "", "", "", "")[:7]
	own := strings.Join(fields, ":") + ":userdb_quota_rule=*:storage=1M"
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), line, own, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.auth.Forget() // else a second later
	if _, err := g.auth.Lookup(ctx, name); err != nil {
		t.Fatal(err)
	}
	if got := d.quota(a.Owner, ""); got != (maildir.Limits{Storage: 1 << 20}) {
		t.Errorf("limits of the account: %+v", got)
	}
}
