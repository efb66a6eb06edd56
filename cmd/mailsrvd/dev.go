package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/auth/passwdfile"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/smtpd/queue"
)

type devOptions struct {
	dir      string
	portBase int
}

func (a *app) devCommand() *cobra.Command {
	var o devOptions
	c := &cobra.Command{
		Use:   "dev",
		Short: "Try the server: no root, no PAM, no DNS, nothing leaves",
		Long: `dev makes a directory with a configuration, a self-signed certificate, a DKIM key
and the users alice and bob, runs the server there on 127.0.0.1, and prints
settings and commands to paste. Mail to other domains stays in the queue. What
exists is kept, so that it goes on where it ended.

Ports: 2525 (MX), 2587 and 2465 (submission), 2143 and 2993 (IMAP), 2419
(ManageSieve), 2443 (settings for mail programs), 2925 (metrics), 2980 (status
page); --port-base moves them.`,
		Example: "  mailsrvd dev\n  mailsrvd dev --dir /tmp/trial --port-base 3000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.runDev(cmd.Context(), o)
		},
	}
	c.Flags().StringVar(&o.dir, "dir", "./dev", "`directory` of the trial")
	c.Flags().IntVar(&o.portBase, "port-base", 0, "`port` to which 525, 587, 465, 143, 993 and so on are added (default 2000)")
	return c
}

func (a *app) runDev(ctx context.Context, o devOptions) error {
	if o.portBase < 0 || o.portBase > 64000 {
		return &exitError{exitUsage, fmt.Errorf("--port-base %d: want a number up to 64000", o.portBase)}
	}
	site, err := dev.Make(dev.Options{
		Dir: o.dir, PortBase: o.portBase, HashPassword: passwdfile.HashFast,
		NewDKIMKey: func() ([]byte, error) {
			k, err := dkim.GenerateKey(dkim.RSA)
			if err != nil {
				return nil, err
			}
			return k.MarshalPEM()
		},
	})
	if err != nil {
		return err
	}
	cfg, err := config.Load(site.Config)
	if err != nil {
		return err
	}
	err = a.serve(ctx, cfg, func(d *daemon.Daemon) {
		for _, u := range dev.Users {
			if err := d.Welcome(ctx, u, dev.Welcome(u, time.Now())); err != nil {
				fmt.Fprintf(a.stderr, "mailsrvd: no welcome message for %s: %v\n", u, err)
			}
		}
		fmt.Fprint(a.stdout, site.Instructions(dev.Ports{
			MX: first(cfg.Listen.MX), Submission: first(cfg.Listen.Submission), Submissions: first(cfg.Listen.Submissions),
			IMAP: first(cfg.Listen.IMAP), IMAPS: first(cfg.Listen.IMAPS), ManageSieve: first(cfg.Listen.ManageSieve),
			HTTPS: first(cfg.Listen.HTTPS), Metrics: first(cfg.Listen.Metrics), Status: first(cfg.Listen.Status),
		}, os.Args[0]))
	})
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, control.ErrInUse) || errors.Is(err, queue.ErrLocked) {
		return fmt.Errorf("%w\nIf another mailsrvd dev is running, --dir and --port-base 3000 make a second one", err)
	}
	return err
}

// first is the first of some addresses, "off" if there is none.
func first(addresses []string) string {
	if len(addresses) == 0 {
		return "off"
	}
	return addresses[0]
}
