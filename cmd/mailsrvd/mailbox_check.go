package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/maildir"
)

// mailboxFault is a line of mailbox check.
type mailboxFault struct {
	Folder string `json:"folder"`
	UID    uint32 `json:"uid,omitempty"`
	File   string `json:"file,omitempty"`
	Text   string `json:"text"`
}

func (a *app) mailboxCheckCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "check USER",
		Short: "Look at every message of a user, and mend what can be mended",
		Long: `check opens each folder, which repairs what is broken about its files: a uidlist
that cannot be read is moved aside and made anew with the UIDs that can be kept,
two files of one name are told apart, stale locks are removed. Then it looks
whether each message's file is there and as long as its name says. It prints what
it has mended and what it has found.

Exit status: 0 all is well; 1 something was mended or is wrong.`,
		Example: "  mailsrvd mailbox check alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			faults := []mailboxFault{}
			folders, messages := 0, 0
			history := observe.NewHistory(1000)
			log := slog.New(history.Handler(slog.DiscardHandler))
			err := a.withStore(cmd.Context(), args[0], log, func(s *maildir.Store) (err error) {
				folders, messages, faults, err = checkFolders(cmd.Context(), s)
				return err
			})
			if err != nil {
				return err
			}
			for _, r := range history.Last(0, func(r observe.Record) bool { return r.Level >= slog.LevelWarn }) {
				f := mailboxFault{Folder: cmp.Or(r.Get("mailbox"), "INBOX"), Text: strings.TrimSuffix(r.Text+": "+r.Get("err"), ": ")}
				if !slices.Contains(faults, f) {
					faults = append(faults, f)
				}
			}
			printErr := p.print(a, faults, func(w *tabwriter.Writer) {
				for _, f := range faults {
					fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", f.Folder, f.UID, f.File, f.Text)
				}
				fmt.Fprintf(w, "%d folders, %d messages, %d faults\n", folders, messages, len(faults))
			})
			if printErr != nil || len(faults) == 0 {
				return printErr
			}
			return &exitError{code: exitFailure}
		},
	}
	p.flag(c)
	return c
}

// checkFolders goes on where one folder cannot be read.
func checkFolders(ctx context.Context, s *maildir.Store) (folders, messages int, faults []mailboxFault, err error) {
	list, err := s.Folders(ctx)
	if err != nil {
		return 0, 0, nil, err
	}
	for _, f := range list {
		if !f.Exists {
			continue
		}
		folders++
		box, err := s.Open(ctx, f.Name)
		if err != nil {
			faults = append(faults, mailboxFault{Folder: f.Name, Text: err.Error()})
			continue
		}
		messages += len(box.Messages())
		found, err := box.Check(ctx)
		box.Close()
		for _, x := range found {
			faults = append(faults, mailboxFault{f.Name, uint32(x.UID), x.File, x.Text})
		}
		if err != nil {
			faults = append(faults, mailboxFault{Folder: f.Name, Text: err.Error()})
		}
	}
	return folders, messages, faults, nil
}
