package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/listen"
)

// Status is what the status command shows.
func (d *Daemon) Status() admin.Status {
	s := admin.Status{
		Version: d.o.Version, PID: os.Getpid(), Started: d.started, Config: d.cfg.File,
		Queue: d.queue.Stats(), DKIM: d.dkimStatus(), Listeners: []admin.Listener{}, Certificates: []admin.Certificate{},
	}
	if at := d.reloaded.Load(); at > 0 {
		s.Reloaded = time.Unix(0, at)
	}
	if err := d.Health(); err != nil {
		s.Problem = err.Error()
	}
	for _, srv := range d.servers {
		for _, l := range srv.listeners {
			info := admin.Listener{Name: srv.name, Address: l.Addr().String()}
			if tracked, ok := l.(*listen.Listener); ok {
				info.Connections = len(tracked.Conns())
			}
			s.Listeners = append(s.Listeners, info)
		}
	}
	if d.certs != nil {
		for _, leaf := range d.certs.Leaves() {
			s.Certificates = append(s.Certificates, admin.Certificate{Names: leaf.DNSNames, NotAfter: leaf.NotAfter})
		}
	}
	return s
}

// lowSpace is how much room the queue's file system must have, in bytes.
const lowSpace = 64 << 20

// Health is nil if the daemon can take responsibility for mail.
func (d *Daemon) Health() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.cfg.QueueDir(), &fs); err != nil {
		return fmt.Errorf("the queue's directory: %w", err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < lowSpace {
		return fmt.Errorf("only %d MiB free for the queue", free>>20)
	}
	if why, _ := d.logins.Load().(string); why != "" {
		return errors.New("logins fail: " + why)
	}
	return nil
}

// checkLogins asks the back end for what makes every login fail, such as a
// shadow file that cannot be read: users would only hear that their password is
// wrong.
func (d *Daemon) checkLogins(ctx context.Context, c *config.Config) {
	var err error
	if p, f := BackendOptions(c, d.o.Groups, d.log, nil); p != nil {
		err = p.Check(ctx)
	} else {
		err = f.Check(ctx)
	}
	why := ""
	if err != nil {
		why = err.Error()
		d.log.Error("nobody can log in", "err", err)
	}
	d.logins.Store(why)
}
