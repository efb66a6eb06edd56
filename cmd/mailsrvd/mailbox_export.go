package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/mbox"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

func (a *app) mailboxExportCommand() *cobra.Command {
	var folder string
	c := &cobra.Command{
		Use:   "export USER",
		Short: "Write a folder's messages to standard output, as an mbox",
		Long: `export writes all messages of a folder in the form that most mail programs read:
mbox (RFC 4155), with ">" before lines that begin with "From " (mboxrd). Flags and
keywords stand in the fields Status, X-Status and X-Keywords, dates of arrival in
the lines between the messages. The folder stays as it is; mail that arrives
meanwhile may be missing.

A copy of the whole Maildir, by any program, holds the same and more.`,
		Example: "  mailsrvd mailbox export alice --folder Archive > archive.mbox",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), args[0], nil, func(s *maildir.Store) error {
				return exportFolder(cmd.Context(), s, folder, a.stdout)
			})
		},
	}
	c.Flags().StringVar(&folder, "folder", "INBOX", "`name` of the folder, as mail programs show it")
	return c
}

// exportFolder writes an mbox. A message that is expunged meanwhile is left out.
func exportFolder(ctx context.Context, s *maildir.Store, folder string, out io.Writer) error {
	box, err := s.Open(ctx, folder)
	if err != nil {
		return err
	}
	defer box.Close()
	messages := box.Messages()
	uids := make([]maildir.UID, len(messages))
	for i, m := range messages {
		uids[i] = m.UID
	}
	times := make(map[maildir.UID]maildir.Times, len(messages))
	err = box.Times(ctx, uids, func(uid maildir.UID, t maildir.Times, _ int64) bool {
		times[uid] = t
		return true
	})
	if err != nil {
		return fmt.Errorf("reading the dates of %s: %w", folder, err)
	}
	w := mbox.NewWriter(out)
	for _, m := range messages {
		if err := exportMessage(ctx, box, m, times[m.UID], w); err != nil && !errors.Is(err, maildir.ErrExpunged) {
			return fmt.Errorf("message %d of %s: %w", m.UID, folder, err)
		}
	}
	return w.Close()
}

func exportMessage(ctx context.Context, box *maildir.Mailbox, m maildir.Message, t maildir.Times, w *mbox.Writer) error {
	file, err := box.OpenMessage(ctx, m.UID)
	if err != nil {
		return err
	}
	defer file.Close()
	b := make([]byte, 64<<10)
	n, err := file.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("reading: %w", err)
	}
	return w.Write(mbox.Message{
		Sender: strings.Trim(message.ParseHeader(b[:n]).Value("Return-Path"), "<>"), Date: t.Internal,
		Seen: m.Flags&maildir.Seen != 0, Answered: m.Flags&maildir.Answered != 0, Flagged: m.Flags&maildir.Flagged != 0,
		Draft: m.Flags&maildir.Draft != 0, Deleted: m.Flags&maildir.Deleted != 0, Keywords: keywordsOf(box.Keywords(), m.Flags),
	}, file)
}

// keywordsOf are the names of the keywords among flags.
func keywordsOf(names []string, flags maildir.Flags) (list []string) {
	for i, name := range names {
		if name != "" && flags&maildir.Keyword(i) != 0 {
			list = append(list, name)
		}
	}
	return list
}
