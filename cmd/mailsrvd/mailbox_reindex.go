package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
)

func (a *app) mailboxReindexCommand() *cobra.Command {
	var p printer
	var all bool
	c := &cobra.Command{
		Use:   "reindex USER... | --all",
		Short: "Make what the cache lacks of users' mail",
		Long: `reindex has the running daemon read those messages of which its cache does not
know everything yet: sizes, dates, ENVELOPE and so on, and the index of texts for
SEARCH. The daemon does so by itself when a mailbox is used first; this does it
ahead, as after a migration. IMAP is served meanwhile.

To make everything anew, stop the daemon, remove the directory cache below
state_dir, start it, and reindex.

Exit status: 0 done; 1 something failed; 69 no daemon is running.`,
		Example: "  mailsrvd mailbox reindex alice\n  mailsrvd mailbox reindex --all",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if all == (len(args) > 0) {
				return errors.New("name users, or use --all")
			}
			if all {
				if args, err = allUsers(cfg); err != nil {
					return err
				}
			}
			results := []admin.Reindexed{}
			var errs []error
			for _, user := range args {
				b := bar{w: a.progress()}
				done, err := admin.Reindex(cmd.Context(), cfg.Socket("control"), user, b.show)
				b.clear()
				if err != nil {
					errs = append(errs, err)
					continue
				}
				results = append(results, done)
			}
			if err := p.print(a, results, func(w *tabwriter.Writer) {
				for _, r := range results {
					fmt.Fprintf(w, "%s\t%d folders\t%d messages\n", r.User, r.Folders, r.Messages)
				}
			}); err != nil {
				return err
			}
			return errors.Join(errs...)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "all users")
	p.flag(c)
	return c
}

// progress is where a progress bar goes: to standard error if that is a terminal.
func (a *app) progress() io.Writer {
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// bar is one line that is written over and over.
type bar struct {
	w     io.Writer // nil: nothing is shown
	width int       // of what stands there
}

const barWidth = 30

func (b *bar) show(p admin.Progress) {
	if b.w == nil {
		return
	}
	full := barWidth * p.Done / max(p.Total, 1)
	b.write(fmt.Sprintf("%s %s [%s%s] %d of %d", p.User, p.Folder, strings.Repeat("#", full), strings.Repeat("-", barWidth-full), p.Done, p.Total))
}

func (b *bar) write(line string) {
	fmt.Fprintf(b.w, "\r%s%s", line, strings.Repeat(" ", max(b.width-len(line), 0)))
	b.width = len(line)
}

// clear leaves an empty line.
func (b *bar) clear() {
	if b.width > 0 {
		b.write("")
		fmt.Fprint(b.w, "\r")
	}
}
