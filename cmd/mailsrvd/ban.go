package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/auth/ban"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/config"
)

func (a *app) banCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "ban",
		Short: "Who may not connect, and change that",
		Long: `The daemon refuses connections from addresses and networks that are banned. It
bans by itself who guesses passwords ([limits] ban_after), from the ports where
users log in; what is added here holds for all ports. The list survives a restart.
Networks of [limits] trusted are never banned. These commands need a running
daemon.

Exit status: 0 done; 1 not.`,
	}
	c.AddCommand(a.banListCommand(), a.banAddCommand(), a.banRemoveCommand())
	return c
}

func (a *app) banListCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use: "list", Short: "List who is banned, the latest first", Args: cobra.NoArgs,
		Example: "  mailsrvd ban list\n  mailsrvd ban list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			list, err := admin.Bans(cmd.Context(), cfg.Socket("control"))
			if err != nil {
				return err
			}
			return p.print(a, list, func(w *tabwriter.Writer) { printBans(w, list, time.Now()) })
		},
	}
	p.flag(c)
	return c
}

func printBans(w *tabwriter.Writer, list []ban.Entry, now time.Time) {
	if len(list) == 0 {
		fmt.Fprintln(w, "Nobody is banned.")
		return
	}
	fmt.Fprintln(w, "NETWORK\tFROM\tSINCE\tENDS\tREASON")
	for _, e := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Network, e.Scope, e.Since.Local().Format(time.DateTime), banEnd(e, now), e.Reason)
	}
}

func banEnd(e ban.Entry, now time.Time) string {
	if e.Until.IsZero() {
		return "never"
	}
	return "in " + e.Until.Sub(now).Round(time.Second).String()
}

func (a *app) banAddCommand() *cobra.Command {
	var p printer
	var length, reason string
	c := &cobra.Command{
		Use: "add ADDRESS|NETWORK", Short: "Ban an address or a network from all ports", Args: cobra.ExactArgs(1),
		Example: "  mailsrvd ban add 192.0.2.1 --for 1d --reason 'sends viruses'\n  mailsrvd ban add 2001:db8::/48",
		RunE: func(cmd *cobra.Command, args []string) error {
			network, err := ban.ParseNetwork(args[0])
			if err != nil {
				return err
			}
			var d time.Duration
			if length != "" {
				if d, err = config.ParseDuration(length); err != nil || d <= 0 {
					return fmt.Errorf("--for %q: write it as in \"12h\" or \"7d\"", length)
				}
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			e, err := admin.Ban(cmd.Context(), cfg.Socket("control"), network, d, reason)
			if err != nil {
				return err
			}
			return p.print(a, e, func(w *tabwriter.Writer) { printBans(w, []ban.Entry{e}, time.Now()) })
		},
	}
	c.Flags().StringVar(&length, "for", "", "how `long`, as in 12h or 7d; without it, for good")
	c.Flags().StringVar(&reason, "reason", "", "a `text` for the list")
	p.flag(c)
	return c
}

func (a *app) banRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove ADDRESS|NETWORK", Short: "End a ban", Args: cobra.ExactArgs(1),
		Long:    "remove ends the ban of the address or network, written as ban list shows it, and\nforgets its failed logins.",
		Example: "  mailsrvd ban remove 192.0.2.1",
		RunE: func(cmd *cobra.Command, args []string) error {
			network, err := ban.ParseNetwork(args[0])
			if err != nil {
				return err
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			return admin.Unban(cmd.Context(), cfg.Socket("control"), network)
		},
	}
}
