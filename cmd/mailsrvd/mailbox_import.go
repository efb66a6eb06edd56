package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/mbox"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

func (a *app) mailboxImportCommand() *cobra.Command {
	var folder string
	c := &cobra.Command{
		Use:   "import USER FILE...",
		Short: "Add the messages of mbox files to a folder",
		Long: `import reads mbox files, or standard input if FILE is "-", and stores each message
in the folder, which is made if it is not there: with the date of the line between
the messages, and the flags of the fields Status, X-Status and X-Keywords, which are
taken out. A message that is stored is on disk, and running IMAP sessions see it.

If a file cannot be read to its end, what was stored before stays, and is told; to
try again, remove it from the folder first, or the messages are there twice. A
Maildir needs no import: copy its files.`,
		Example: "  mailsrvd mailbox import alice --folder Old archive.mbox",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), args[0], nil, func(s *maildir.Store) error {
				return a.importFiles(cmd.Context(), s, folder, args[1:])
			})
		},
	}
	c.Flags().StringVar(&folder, "folder", "INBOX", "`name` of the folder, as mail programs show it")
	return c
}

func (a *app) importFiles(ctx context.Context, s *maildir.Store, folder string, names []string) error {
	if err := s.Create(ctx, folder); err != nil && !errors.Is(err, maildir.ErrExists) {
		return fmt.Errorf("making the folder %s: %w", folder, err)
	}
	box, err := s.Open(ctx, folder)
	if err != nil {
		return err
	}
	defer box.Close()
	for _, name := range names {
		n, err := a.importFile(ctx, box, name)
		fmt.Fprintf(a.stdout, "%s: %d messages stored in %s\n", name, n, box.Name())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (a *app) importFile(ctx context.Context, box *maildir.Mailbox, name string) (stored int, err error) {
	in := a.stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		defer file.Close()
		in = file
	}
	r := mbox.NewReader(in)
	for ctx.Err() == nil {
		m, err := r.Next()
		if err == io.EOF {
			return stored, nil
		}
		if err == nil {
			err = importMessage(ctx, box, m, r)
		}
		if err != nil {
			return stored, fmt.Errorf("message %d: %w", stored+1, err)
		}
		stored++
	}
	return stored, ctx.Err()
}

func importMessage(ctx context.Context, box *maildir.Mailbox, m mbox.Message, text io.Reader) error {
	content, err := message.Spool(text, "", 1<<20, 0)
	if err != nil {
		return err
	}
	defer content.Close()
	d := maildir.Delivery{Date: m.Date, Keywords: m.Keywords}
	for _, f := range []struct {
		set  bool
		flag maildir.Flags
	}{{m.Seen, maildir.Seen}, {m.Answered, maildir.Answered}, {m.Flagged, maildir.Flagged}, {m.Draft, maildir.Draft}, {m.Deleted, maildir.Deleted}} {
		if f.set {
			d.Flags |= f.flag
		}
	}
	_, err = box.Append(ctx, content, d)
	return err
}
