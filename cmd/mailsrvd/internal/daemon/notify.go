package daemon

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notify tells systemd; without it nothing happens.
func (d *Daemon) notify(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		d.log.Warn("telling the service manager", "err", err)
	}
}

func (d *Daemon) notifyReady() { d.notify(sd.SdNotifyReady + "\nSTATUS=" + d.summary()) }

func (d *Daemon) notifyStopping() {
	d.notify(sd.SdNotifyStopping + "\nSTATUS=ending running transactions")
}

// notifyReloading has the time that systemd 253 and later want to see
// (sd_notify(3), Type=notify-reload).
func (d *Daemon) notifyReloading() {
	var now unix.Timespec
	state := sd.SdNotifyReloading
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
		state += fmt.Sprintf("\nMONOTONIC_USEC=%d", now.Nano()/1000)
	}
	d.notify(state)
}

// statusEvery is how often the status line is brought up to date when there is
// no watchdog to feed more often.
const statusEvery = 30 * time.Second

// watch answers signals and feeds the watchdog until ctx ends. A second SIGTERM
// or interrupt while the daemon drains ends the process at once.
func (d *Daemon) watch(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	every, err := sd.SdWatchdogEnabled(false)
	watchdog := err == nil && every > 0
	if every = every / 2; !watchdog || every > statusEvery {
		every = statusEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			d.notifyReloading()
			d.Reload(ctx) // logs its error
			d.notifyReady()
		case <-d.renewal.done:
			d.refreshCertificates(time.Now())
		case now := <-tick.C:
			d.refreshCertificates(now)
			state := "STATUS=" + d.summary()
			if watchdog {
				state += "\n" + sd.SdNotifyWatchdog
			}
			d.notify(state)
		}
	}
}

// summary is the line that systemctl status shows.
func (d *Daemon) summary() string {
	s := d.Status()
	if s.Problem != "" {
		return s.Problem
	}
	connections := 0
	for _, l := range s.Listeners {
		connections += l.Connections
	}
	return fmt.Sprintf("%d connections, %d messages in the queue", connections, s.Queue.Items)
}
