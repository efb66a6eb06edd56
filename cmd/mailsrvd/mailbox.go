package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/maildir"
)

func (a *app) mailboxCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "mailbox",
		Short: "Look into users' mailboxes",
		Long: `These commands read a user's Maildir with the user's own rights, so they run as
root, as the daemon's user, or as the user. A running server is not disturbed.
reindex alone is work for the daemon.`,
	}
	c.AddCommand(a.mailboxListCommand(), a.mailboxStatusCommand(), a.mailboxCheckCommand(), a.mailboxReindexCommand(),
		a.mailboxExportCommand(), a.mailboxImportCommand())
	return c
}

// folderStatus is a line of mailbox status.
type folderStatus struct {
	Folder      string `json:"folder"`
	SpecialUse  string `json:"special_use,omitempty"`
	Messages    int    `json:"messages"`
	Unseen      int    `json:"unseen"`
	Size        int64  `json:"size"`
	UIDNext     uint32 `json:"uidnext"`
	UIDValidity uint32 `json:"uidvalidity"`
}

func (a *app) mailboxListCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:     "list USER",
		Short:   "List a user's folders",
		Example: "  mailsrvd mailbox list alice",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folders := []maildir.Folder{}
			err := a.withStore(cmd.Context(), args[0], nil, func(s *maildir.Store) (err error) {
				folders, err = s.Folders(cmd.Context())
				return err
			})
			if err != nil {
				return err
			}
			return p.print(a, folders, func(w *tabwriter.Writer) {
				for _, f := range folders {
					if f.Exists {
						fmt.Fprintf(w, "%s\t%s\n", f.Name, f.SpecialUse)
					}
				}
			})
		},
	}
	p.flag(c)
	return c
}

func (a *app) mailboxStatusCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:     "status USER",
		Short:   "Show messages and sizes of a user's folders",
		Example: "  mailsrvd mailbox status alice --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			lines := []folderStatus{}
			err := a.withStore(cmd.Context(), args[0], nil, func(s *maildir.Store) (err error) {
				lines, err = folderStatuses(cmd.Context(), s)
				return err
			})
			if err != nil && len(lines) == 0 {
				return err
			}
			return errors.Join(err, p.print(a, lines, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "FOLDER\tMESSAGES\tUNSEEN\tSIZE\tUIDNEXT\tUIDVALIDITY")
				for _, l := range lines {
					fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%d\t%d\n", l.Folder, l.Messages, l.Unseen, shortSize(l.Size), l.UIDNext, l.UIDValidity)
				}
			}))
		},
	}
	p.flag(c)
	return c
}

// folderStatuses goes on where one folder cannot be read.
func folderStatuses(ctx context.Context, s *maildir.Store) ([]folderStatus, error) {
	folders, err := s.Folders(ctx)
	if err != nil {
		return nil, err
	}
	var lines []folderStatus
	var errs []error
	for _, f := range folders {
		if !f.Exists {
			continue
		}
		st, err := s.Status(ctx, f.Name, true)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Name, err))
			continue
		}
		lines = append(lines, folderStatus{f.Name, f.SpecialUse, int(st.Messages), int(st.Unseen), int64(st.Size), uint32(st.UIDNext), uint32(st.UIDValidity)})
	}
	return lines, errors.Join(errs...)
}

// withStore opens the Maildir of a user for one piece of work. log gets what the
// storage notices; it may be nil.
func (a *app) withStore(ctx context.Context, user string, log *slog.Logger, fn func(*maildir.Store) error) error {
	c, err := a.config()
	if err != nil {
		return err
	}
	accounts, err := daemon.LocalAuthenticator(c)
	if err != nil {
		return err
	}
	account, err := accounts.Lookup(ctx, user)
	if errors.Is(err, auth.ErrNoUser) {
		return fmt.Errorf("%s: no such user", user)
	} else if err != nil {
		return err
	}
	stores := maildir.NewStores(maildir.Options{Separator: c.IMAP.Separator[0], Hostname: c.Hostname, Logger: log, NoInotify: true})
	defer stores.Close()
	return fn(stores.Store(account.Owner, account.MaildirPath(c.Mail.Location)))
}
