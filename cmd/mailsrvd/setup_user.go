package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/setup"
	"svc.plus/mailsrvd/config"
)

type setupOptions struct {
	mode       string
	check, all bool
}

func (a *app) setupUserCommand() *cobra.Command {
	var o setupOptions
	var p printer
	c := &cobra.Command{
		Use:   "setup-user USER... | --all",
		Short: "Prepare a user's Maildir, and find what in it is not the user's",
		Long: `setup-user makes the Maildir of each USER, which the first message would do as
well, and names files in it that do not belong to the user, with the command that
mends them: mail that another server delivered under its own identity cannot be
read by a daemon that works with the user's own rights.

--mode private (the default) makes new directories for the user alone;
--mode shared gives the Maildir to the group of [mail] group, mode 2770, so that
new files inherit the group. --check only looks. --all stands for every person
in /etc/passwd, or every account of the passwd-file.

It also names folders whose UIDs only Dovecot's index knows (after a lost
dovecot-uidlist), since clients would download them again, and folders that have
used up the 26 letters for keywords.

Exit status: 0 fine; 1 something needs mending.`,
		Example: "  mailsrvd setup-user alice\n  mailsrvd setup-user alice --mode shared\n  mailsrvd setup-user --check --all",
		Args: func(_ *cobra.Command, args []string) error {
			if o.all == (len(args) > 0) {
				return errors.New("name users, or use --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if o.all {
				if args, err = allUsers(cfg); err != nil {
					return err
				}
			}
			reports, err := o.run(cmd.Context(), cfg, args)
			if err != nil {
				return err
			}
			fine := true
			err = p.print(a, reports, func(w *tabwriter.Writer) {
				for _, r := range reports {
					printSetup(w, r)
				}
			})
			for _, r := range reports {
				fine = fine && r.Fine()
			}
			if err == nil && !fine {
				err = &exitError{code: exitFailure}
			}
			return err
		},
	}
	c.Flags().StringVar(&o.mode, "mode", "private", "private or shared")
	c.Flags().BoolVar(&o.check, "check", false, "change nothing")
	c.Flags().BoolVar(&o.all, "all", false, "all users")
	p.flag(c)
	return c
}

func (o setupOptions) run(ctx context.Context, cfg *config.Config, users []string) ([]*setup.Report, error) {
	shared, err := o.shared(cfg)
	if err != nil {
		return nil, err
	}
	accounts, err := daemon.LocalAuthenticator(cfg)
	if err != nil {
		return nil, err
	}
	var reports []*setup.Report
	for _, name := range users {
		account, err := accounts.Lookup(ctx, name)
		if errors.Is(err, auth.ErrNoUser) {
			return nil, fmt.Errorf("%s: no such user, or none that may have mail (min_uid = %d)", name, cfg.Mail.MinUID)
		} else if err != nil {
			return nil, err
		}
		dir := account.MaildirPath(cfg.Mail.Location)
		made := false
		if !o.check {
			if made, err = setup.Make(ctx, account.Owner, dir, shared); err != nil {
				return nil, err
			}
		}
		r, err := setup.Check(ctx, account.Owner, dir)
		if err != nil {
			return nil, err
		}
		r.User, r.Made = account.Name, made
		reports = append(reports, r)
	}
	return reports, nil
}

// allUsers are the names of those who have or may get mail.
func allUsers(cfg *config.Config) ([]string, error) {
	if cfg.Auth.Backend == "pam" {
		users, err := systemUsers("/etc/passwd", cfg.Mail.MinUID)
		names := make([]string, len(users))
		for i, u := range users {
			names[i] = u.Name
		}
		return names, err
	}
	_, file := daemon.BackendOptions(cfg, nil, nil, nil)
	return file.Names()
}

func (o setupOptions) shared(cfg *config.Config) (*setup.Shared, error) {
	switch o.mode {
	case "private":
		return nil, nil
	case "shared":
		if os.Geteuid() != 0 {
			return nil, errors.New("only root can give a Maildir to a group")
		}
		g, err := user.LookupGroup(cfg.Mail.Group)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", cfg.Where("mail.group"), err)
		}
		gid, err := strconv.Atoi(g.Gid)
		return &setup.Shared{GID: gid}, err
	}
	return nil, &exitError{exitUsage, fmt.Errorf("unknown mode %q: private or shared", o.mode)}
}

func printSetup(w *tabwriter.Writer, r *setup.Report) {
	switch {
	case r.Missing:
		fmt.Fprintf(w, "%s: %s does not exist yet; the first message makes it\n", r.User, r.Maildir)
	case r.Odd != "":
		fmt.Fprintf(w, "%s: %s %s\n", r.User, r.Maildir, r.Odd)
	default:
		what := "has"
		if r.Made {
			what = "was made, with"
		}
		fmt.Fprintf(w, "%s: %s (mode %s, gid %d) %s %d messages in %d folders\n", r.User, r.Maildir, r.Mode, r.Group, what, r.Messages, r.Folders)
	}
	if r.ForeignCount > 0 {
		fmt.Fprintf(w, "  %d entries are not %s's, such as %s\n", r.ForeignCount, r.User, r.Foreign[0])
	}
	for _, d := range r.Unreadable {
		fmt.Fprintf(w, "  %s cannot be read as %s\n", d, r.User)
	}
	for _, f := range r.EmptyLists {
		fmt.Fprintf(w, "  %s: only Dovecot's index knows the UIDs; mend, before Dovecot stops: doveadm force-resync -u %s %s\n", f, r.User, f)
	}
	for _, f := range r.FullKeywords {
		fmt.Fprintf(w, "  %s: all 26 letters for keywords are taken; further keywords, if there are any, are in Dovecot's index alone and get lost\n", f)
	}
	if m := r.Mend(); m != "" {
		fmt.Fprintf(w, "  mend, as root: %s\n", m)
	}
}
