package main

import (
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/internal/observe"
)

func (a *app) traceCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "trace ID",
		Short: "Follow one message, or one session, through the log",
		Long: `trace shows every line of the log about one message, from its acceptance to the
file or the other server's answer. ID is the trace that the server's 250 answer
named and that stands in our Received field, a queue id, a Message-ID, or the
trace of a session.

The running daemon remembers its latest 20,000 lines. When it knows nothing, the
journal of the unit mailsrvd is searched, if there is one. Each field of a line is
there as well: journalctl MAILSRVD_TRACE=ID finds the same lines.

Exit status: 0 something was found; 1 nothing was.`,
		Example: "  mailsrvd trace 1k9x3t5mq7w2za\n  mailsrvd trace '<20261125.1@svc.plus>'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			found, err := admin.Trace(cmd.Context(), cfg.Socket("control"), args[0])
			if err != nil && !errors.Is(err, control.ErrNoDaemon) {
				return err
			}
			if len(found) == 0 {
				if found, err = journalLines(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			if len(found) == 0 {
				return fmt.Errorf("nothing is known of %s; if the log is kept in files, search them for it", args[0])
			}
			return p.print(a, found, func(w *tabwriter.Writer) { printLines(w, found) })
		},
	}
	p.flag(c)
	return c
}

// printLines writes one line for each record, empty fields left out.
func printLines(w *tabwriter.Writer, rs []observe.Record) {
	for _, r := range rs {
		mark := ""
		if r.Level >= slog.LevelWarn {
			mark = r.Level.String() + ": "
		}
		fmt.Fprintf(w, "%s\t%s%s", r.Time.Local().Format(time.DateTime+".000"), mark, r.Text)
		for _, f := range r.Fields {
			if f.Value != "" {
				fmt.Fprintf(w, "  %s=%s", f.Key, f.Value)
			}
		}
		fmt.Fprintln(w)
	}
}
