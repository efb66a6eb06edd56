package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/reports"
	"svc.plus/mailsrvd/internal/asuser"
)

type reportsOptions struct {
	user, folder string
	printer
}

func (a *app) reportsCommand() *cobra.Command {
	var o reportsOptions
	c := &cobra.Command{
		Use:   "reports [FILE|DIR...]",
		Short: "Read the DMARC and TLS reports that others have sent",
		Long: `reports shows what other servers say about mail with your domains' names (DMARC
aggregate reports, RFC 7489) and about TLS with your mail exchangers (TLS reports,
RFC 8460). It reads messages, Maildirs, and files of XML or JSON, packed by gzip or
zip or not; "-" is the standard input. With --user it reads a user's mailbox, with
the user's own rights, so that it runs as root, as the daemon's user or as the user.

Exit status: 0 all could be read; 1 something could not, the rest is shown.`,
		Example: "  mailsrvd reports --user postmaster --folder Reports\n  mailsrvd reports ~/Maildir report.xml.gz\n  mailsrvd reports --user dmarc --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.user == "" && len(args) == 0 {
				return errors.New("name files or directories, or a mailbox by --user")
			}
			return a.runReports(cmd.Context(), o, args)
		},
	}
	c.Flags().StringVar(&o.user, "user", "", "read the mailbox of this `user`")
	c.Flags().StringVar(&o.folder, "folder", "", "this `folder` of it; without it, INBOX")
	o.flag(c)
	return c
}

func (a *app) runReports(ctx context.Context, o reportsOptions, args []string) error {
	all := []reports.Found{}
	var errs []error
	note := func(found []reports.Found, err error) {
		all, errs = append(all, found...), append(errs, err)
	}
	if o.user != "" {
		note(a.mailboxReports(ctx, o))
	}
	for _, arg := range args {
		if arg == "-" {
			note(reports.Read("standard input", a.stdin))
			continue
		}
		note(reportsAt(arg))
	}
	slices.SortStableFunc(all, func(a, b reports.Found) int { return a.Begin().Compare(b.Begin()) })
	err := o.print(a, all, func(w *tabwriter.Writer) { printReports(w, all) })
	return errors.Join(append(errs, err)...)
}

func reportsAt(name string) ([]reports.Found, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if fi, err := os.Stat(full); err != nil {
		return nil, err
	} else if fi.IsDir() {
		return reports.ReadTree(os.DirFS(full), ".")
	}
	return reports.ReadTree(os.DirFS(filepath.Dir(full)), filepath.Base(full))
}

// mailboxReports reads a folder with its owner's rights.
func (a *app) mailboxReports(ctx context.Context, o reportsOptions) (found []reports.Found, err error) {
	c, err := a.config()
	if err != nil {
		return nil, err
	}
	accounts, err := daemon.LocalAuthenticator(c)
	if err != nil {
		return nil, err
	}
	account, err := accounts.Lookup(ctx, o.user)
	if errors.Is(err, auth.ErrNoUser) {
		return nil, fmt.Errorf("%s: no such user", o.user)
	} else if err != nil {
		return nil, err
	}
	dir := "."
	if o.folder != "" && !strings.EqualFold(o.folder, "INBOX") {
		dir = "." + strings.ReplaceAll(o.folder, c.IMAP.Separator, ".")
	}
	err = asuser.Do(ctx, account.Owner, func() error {
		root, err := os.OpenRoot(account.MaildirPath(c.Mail.Location))
		if err != nil {
			return err
		}
		defer root.Close()
		found, err = reports.ReadTree(root.FS(), dir)
		return err
	})
	return found, err
}

// printReports writes a line for each row of each report.
func printReports(w *tabwriter.Writer, all []reports.Found) {
	if len(all) == 0 {
		fmt.Fprintln(w, "There are no reports.")
		return
	}
	head := "DMARC\tREPORTER\tDOMAIN\tFROM\tSOURCE\tMESSAGES\tDISPOSITION\tDKIM\tSPF"
	for _, f := range all {
		if f.DMARC == nil {
			continue
		}
		head = line(w, head)
		for _, r := range f.DMARC.Records {
			e := r.Row.Evaluated
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", day(f.Begin()), cell(f.DMARC.Metadata.Organization), cell(f.DMARC.Published.Domain),
				cell(r.Identifiers.HeaderFrom), cell(r.Row.Source), r.Row.Count, cell(e.Disposition), cell(e.DKIM), cell(e.SPF))
		}
	}
	head = "TLS\tREPORTER\tDOMAIN\tPOLICY\tGOOD SESSIONS\tFAILED\tWHY"
	for _, f := range all {
		if f.TLS == nil {
			continue
		}
		head = line(w, head)
		for _, p := range f.TLS.Policies {
			var why []string
			for _, d := range p.Details {
				why = append(why, fmt.Sprintf("%s (%d)", d.Result, d.Count))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", day(f.Begin()), cell(f.TLS.Organization), cell(p.Policy.Domain), cell(p.Policy.Type),
				p.Summary.Success, p.Summary.Failure, cell(strings.Join(why, ", ")))
		}
	}
}

// line writes the heading of a table before its first row.
func line(w io.Writer, head string) string {
	if head != "" {
		fmt.Fprintln(w, head)
	}
	return ""
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// cell keeps what strangers write from moving the terminal's cursor or the
// table's columns.
func cell(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	if s == "" {
		return "-"
	}
	return s
}
