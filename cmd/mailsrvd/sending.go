package main

import (
	"cmp"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
)

func (a *app) sendingCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sending",
		Short: "What users have sent, and who has reached a limit",
		Long: `The daemon counts what each user submits, and keeps within the limits of
[submission] (messages_per_hour and others) who has any. A user far above the
others may have lost his password. These commands need a running daemon.

Exit status: 0 done; 1 not.`,
	}
	var p printer
	list := &cobra.Command{
		Use: "list", Short: "List who has sent mail within a day, those who sent most first", Args: cobra.NoArgs,
		Example: "  mailsrvd sending list\n  mailsrvd sending list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			users, err := admin.Sending(cmd.Context(), cfg.Socket("control"))
			if err != nil {
				return err
			}
			return p.print(a, users, func(w *tabwriter.Writer) {
				if len(users) == 0 {
					fmt.Fprintln(w, "Nobody has sent mail within a day.")
					return
				}
				fmt.Fprintln(w, "USER\tMESSAGES: HOUR\tDAY\tRECIPIENTS: HOUR\tDAY\tLIMIT REACHED")
				for _, u := range users {
					fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", u.User, u.MessagesHour, u.MessagesDay, u.RecipientsHour, u.RecipientsDay, cmp.Or(u.Limit, "-"))
				}
			})
		},
	}
	p.flag(list)
	reset := &cobra.Command{
		Use: "reset USER", Short: "Forget what a user has sent, so that he may go on", Args: cobra.ExactArgs(1),
		Example: "  mailsrvd sending reset alice",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			return admin.ResetSending(cmd.Context(), cfg.Socket("control"), args[0])
		},
	}
	c.AddCommand(list, reset)
	return c
}
