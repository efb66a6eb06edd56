package daemon

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/internal/listen"
)

// Status is what the status command shows.
func (d *Daemon) Status() admin.Status {
	s := admin.Status{
		Version: d.o.Version, PID: os.Getpid(), Started: d.started, Config: d.cfg.File,
		Queue: d.queue.Stats(), Listeners: []admin.Listener{}, Certificates: []admin.Certificate{},
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
	return nil
}
