package daemon

import (
	"context"
	"os"
	"reflect"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/config"
)

// What a listener's error may come from.
const (
	errInUse  = syscall.EADDRINUSE
	errAccess = syscall.EACCES
)

// mayChown reports whether we may give our files to the group.
func mayChown(gid int) bool {
	if os.Geteuid() == 0 || os.Getegid() == gid {
		return true
	}
	groups, err := unix.Getgroups()
	if err != nil {
		return false
	}
	for _, g := range groups {
		if g == gid {
			return true
		}
	}
	return false
}

// Reload reads the configuration again and takes it over as a whole: a new
// generation and the certificates. On any error nothing has changed.
func (d *Daemon) Reload(ctx context.Context) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	start := time.Now()
	err := d.reload(ctx)
	if err != nil {
		d.log.Error("reload refused, the old configuration stays", "err", err)
		return err
	}
	d.reloaded.Store(time.Now().UnixNano())
	d.log.Info("reloaded", "dur", time.Since(start))
	return nil
}

func (d *Daemon) reload(ctx context.Context) error {
	var c *config.Config
	err := d.o.Groups.Do(func() (err error) {
		c, err = config.Load(d.cfg.File)
		return err
	})
	if err != nil {
		return err
	}
	old := d.board.live.Load()
	g, err := d.newGeneration(c, old)
	if err != nil {
		return err
	}
	// The last step that can fail; it changes nothing when it does.
	if err := d.reloadCertificates(c); err != nil {
		g.close()
		return err
	}
	d.board.live.Store(g)
	d.wakeKeys()
	if d.o.Level != nil {
		d.o.Level.Set(c.Log.Level())
	}
	g.auth.Forget()
	d.checkLogins(ctx, c)
	if keys := needRestart(d.cfg, c); len(keys) > 0 {
		d.log.Warn("these keys take effect after a restart only", "keys", strings.Join(keys, " "))
	}
	// Attempts under way end with the relay that they began with.
	if err := old.close(); err != nil {
		d.log.Warn("closing idle connections", "err", err)
	}
	return nil
}

// needRestart names the keys and sections that differ and that a reload does
// not take over.
func needRestart(old, c *config.Config) []string {
	var keys []string
	for _, k := range []struct {
		name string
		a, b any
	}{
		{"hostname", old.Hostname, c.Hostname},
		{"domains", old.Domains, c.Domains},
		{"state_dir", old.StateDir, c.StateDir},
		{"run_dir", old.RunDir, c.RunDir},
		{"user", old.User, c.User},
		{"[listen]", old.Listen, c.Listen},
		{"[acme]", old.ACME, c.ACME},
		{"tls.min_version", old.TLS.MinVersion(), c.TLS.MinVersion()},
		{"mail.location", old.Mail.Location, c.Mail.Location},
		{"mail.message_size_limit", old.Mail.MessageSizeLimit, c.Mail.MessageSizeLimit},
		{"[index]", old.Index, c.Index},
		{"dns.resolver", old.DNS.Resolver, c.DNS.Resolver},
		{"[imap]", old.IMAP, c.IMAP},
		{"[queue]", old.Queue, c.Queue},
		{"[inbound]", old.Inbound, c.Inbound},
		{"[inbound.client], [[inbound.dnsbl]] or [inbound.greylist]", old.Client, c.Client},
		{"[limits]", old.Limits, c.Limits},
		{"log.format", old.Log.Format, c.Log.Format},
	} {
		if !reflect.DeepEqual(k.a, k.b) {
			keys = append(keys, k.name)
		}
	}
	return keys
}
