package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/observe"
)

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the mail server",
		Long: `serve runs the server until SIGTERM or an interrupt. Then it accepts nothing new,
lets running transactions end for up to 20 seconds, and exits; a second signal
ends it at once. SIGHUP reads the configuration again (see mailsrvd reload).

It never works as root: started by root with the pam back end, it goes on as the
system user of the key "user", with the capabilities to bind low ports and to
take on single users' rights, and no other. Under systemd (Type=notify) it
reports readiness, reloads, status and the watchdog, and takes sockets that
systemd opened; their FileDescriptorName is the key of [listen].

Exit status: 0 after a signal; 1 it could not start, or broke; 78 the
configuration has errors.`,
		Example: "  mailsrvd serve --config /etc/mailsrvd/mailsrvd.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if err := leaveRoot(cfg); err != nil {
				return err
			}
			return a.serve(cmd.Context(), cfg, nil)
		},
	}
}

// leaveRoot turns a daemon that root started into one of the configured user:
// it does not return then, since the program begins anew.
func leaveRoot(c *config.Config) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if !dropsRoot(c) {
		if c.Auth.Backend == "pam" {
			return fmt.Errorf("%s: root never handles users' mail; set user to a system user such as \"mailsrvd\"", c.Where("user"))
		}
		return nil
	}
	t, err := asuser.LookupTarget(c.User)
	if err != nil {
		return fmt.Errorf("%s: %w; systemd-sysusers makes it from deploy/sysusers.d/mailsrvd.conf", c.Where("user"), err)
	}
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{{c.StateDir, 0o750}, {c.RunDir, 0o755}} {
		if err := giveDir(dir.path, dir.mode, t); err != nil {
			return err
		}
	}
	return asuser.Reexec(t)
}

// giveDir makes a directory for the daemon's user. One that exists keeps its
// owner: somebody has decided.
func giveDir(path string, mode os.FileMode, t asuser.Target) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return os.Chown(path, t.UID, t.GID)
}

// historyLines is how much of the log is remembered for trace and the status
// page: some hours of a small server's mail, in about 10 MB.
const historyLines = 20000

// serve runs the daemon in this process. ready is called when it listens.
func (a *app) serve(ctx context.Context, cfg *config.Config, ready func(*daemon.Daemon)) error {
	unix.Umask(0o007)
	level := new(slog.LevelVar)
	level.Set(cfg.Log.Level())
	log, err := observe.NewLogger(a.stderr, cfg.Log.Format, level)
	if err != nil {
		return err
	}
	history := observe.NewHistory(historyLines)
	log = slog.New(history.Handler(log.Handler()))
	groups, err := asuser.DropGroups()
	if err != nil {
		return err
	}
	d, err := daemon.New(ctx, daemon.Options{
		Config: cfg, Groups: groups, Logger: log, Level: level, History: history, Version: version, Ready: func(d *daemon.Daemon) {
			log.Info("ready", "version", version, "config", cfg.File, "uid", os.Geteuid())
			if ready != nil {
				ready(d)
			}
		},
	})
	if err != nil {
		return err
	}
	// The first signal ends ctx; after that, signals end the process.
	defer context.AfterFunc(ctx, a.stopSignals)()
	return d.Run(ctx)
}
