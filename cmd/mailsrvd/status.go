package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
)

func (a *app) statusCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the running daemon is doing",
		Long: `status asks the running daemon for its listeners, queue and certificates.

Exit status: 0 it works; 1 something keeps it from its work; 69 none is running.`,
		Example: "  mailsrvd status\n  mailsrvd status --json | jq .queue.items",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			s, err := admin.GetStatus(cmd.Context(), cfg.Socket("control"))
			if err != nil {
				return err
			}
			if err := p.print(a, s, func(w *tabwriter.Writer) { printStatus(w, s, time.Now()) }); err != nil {
				return err
			}
			if s.Problem != "" {
				return &exitError{code: exitFailure}
			}
			return nil
		},
	}
	p.flag(c)
	return c
}

func printStatus(w *tabwriter.Writer, s admin.Status, now time.Time) {
	fmt.Fprintf(w, "mailsrvd\t%s, pid %d, up %s\n", s.Version, s.PID, age(s.Started, now))
	fmt.Fprintf(w, "configuration\t%s", s.Config)
	if !s.Reloaded.IsZero() {
		fmt.Fprintf(w, ", reloaded %s ago", age(s.Reloaded, now))
	}
	fmt.Fprintln(w)
	if s.Problem != "" {
		fmt.Fprintf(w, "PROBLEM\t%s\n", s.Problem)
	}
	for _, l := range s.Listeners {
		fmt.Fprintf(w, "%s\t%s, %d connections\n", l.Name, l.Address, l.Connections)
	}
	fmt.Fprintf(w, "queue\t%d messages, %d being sent, %d destinations of which %d do not answer and %d wait for their rate\n",
		s.Queue.Items, s.Queue.Active, s.Queue.Destinations, s.Queue.Down, s.Queue.Paced)
	for _, k := range s.DKIM {
		if k.Advice != "" {
			fmt.Fprintf(w, "DKIM key\t%s of %s is %s: %s\n", k.Selector, k.Domain, k.State, k.Advice)
		}
	}
	for _, c := range s.Certificates {
		left := fmt.Sprintf("%d days left", int(c.NotAfter.Sub(now).Hours()/24))
		if now.After(c.NotAfter) {
			left = "HAS ENDED"
		}
		fmt.Fprintf(w, "certificate\t%s, until %s, %s\n", strings.Join(c.Names, " "), c.NotAfter.Local().Format(time.DateOnly), left)
	}
}

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Make the running daemon read its configuration again",
		Long: `reload does what SIGHUP does, and says whether it worked: the daemon builds
everything anew from the configuration, and swaps it in only if all is right;
connections live on. Changes of listeners, directories and the back end of
[auth] need a restart.

Exit status: 0 taken over; 1 refused, the old state stays; 69 no daemon.`,
		Example: "  mailsrvd check-config && mailsrvd reload",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if err := admin.Reload(cmd.Context(), cfg.Socket("control")); err != nil {
				return err
			}
			fmt.Fprintln(a.stdout, "reloaded")
			return nil
		},
	}
}
