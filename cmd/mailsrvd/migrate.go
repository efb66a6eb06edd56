package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/migrate"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/asuser"
)

type migrateOptions struct {
	chasquid, dovecot string
	dryRun, force     bool
	noUsers           bool
}

func (a *app) migrateCommand() *cobra.Command {
	var o migrateOptions
	var p printer
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Make a configuration from chasquid's and Dovecot's",
		Long: `migrate reads the configurations of chasquid and Dovecot and writes one of
mailsrvd's, with its aliases and DKIM keys, in place of --config. Beside it comes
` + migrate.TrialName + `, the same on other ports (10025, 10587, 10465, 10143,
10993), with a state of its own and sending nothing, for a trial while the old
servers run. The old servers and the mail are not touched.

It prints what became of every setting: "kept"; "note", which works in another
way here; and "todo", which has no counterpart, with what to do about it. It also
looks at every user's Maildir, as setup-user --all --check does. docs/migrate.md
leads through the whole move, and back.

--dovecot is a directory with dovecot.conf, read by Dovecot's own doveconf, or a
file with the output of doveconf -nP. Without either option /etc/chasquid and
/etc/dovecot are read, as far as they exist.

Exit status: 0 nothing to do; 1 there are todos; 78 a configuration cannot be
read, or one is there already and --force is not given.`,
		Example: "  mailsrvd migrate --dry-run\n  mailsrvd migrate\n  mailsrvd migrate --chasquid /etc/chasquid --dovecot doveconf.txt -c new/mailsrvd.toml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := o.run(cmd.Context(), a.configPath)
			if err != nil {
				return &exitError{exitConfig, err}
			}
			err = p.print(a, plan.Findings, func(*tabwriter.Writer) { o.report(a, plan) })
			if err == nil && plan.Todos() > 0 {
				err = &exitError{code: exitFailure}
			}
			return err
		},
	}
	c.Flags().StringVar(&o.chasquid, "chasquid", "", "chasquid's configuration `directory`")
	c.Flags().StringVar(&o.dovecot, "dovecot", "", "Dovecot's configuration `directory`, or a file with the output of doveconf -nP")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "write nothing, only report")
	c.Flags().BoolVar(&o.noUsers, "no-users", false, "do not look at this host's users: the configurations are of another one")
	c.Flags().BoolVar(&o.force, "force", false, "replace a configuration that is there")
	p.flag(c)
	return c
}

func (o *migrateOptions) run(ctx context.Context, path string) (*migrate.Plan, error) {
	if o.chasquid == "" && o.dovecot == "" {
		o.chasquid, o.dovecot = existing("/etc/chasquid"), existing("/etc/dovecot")
	}
	if o.chasquid == "" && o.dovecot == "" {
		return nil, errors.New("neither /etc/chasquid nor /etc/dovecot exists; say where they are: --chasquid, --dovecot")
	}
	plan, err := migrate.Read(ctx, o.chasquid, o.dovecot)
	if err != nil {
		return nil, err
	}
	cfg, problems := config.Parse(path, plan.Text(false))
	for _, problem := range problems {
		plan.Todo(problem.Key, problem.Mend, "%s", problem.Text)
	}
	if !o.dryRun {
		if err := plan.Write(path, o.force); errors.Is(err, migrate.ErrExists) {
			return nil, fmt.Errorf("%w; --force replaces it, --config names another, --dry-run only reports", err)
		} else if err != nil {
			return nil, err
		}
	}
	if !o.noUsers && !problems.HasErrors() && cfg.Auth.Backend == "pam" && os.Geteuid() == 0 {
		lookAtUsers(ctx, plan, cfg)
	}
	return plan, nil
}

func existing(dir string) string {
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

// lookAtUsers adds what must be done in Maildirs, and whose filters would not
// run.
func lookAtUsers(ctx context.Context, plan *migrate.Plan, cfg *config.Config) {
	users, err := systemUsers("/etc/passwd", cfg.Mail.MinUID)
	if err != nil {
		plan.Todo("users", "run mailsrvd setup-user --all --check", "%v", err)
		return
	}
	for _, u := range users {
		reports, err := setupOptions{mode: "private", check: true}.run(ctx, cfg, []string{u.Name})
		if err != nil || !reports[0].Fine() || len(reports[0].FullKeywords) > 0 {
			plan.Todo("Maildir of "+u.Name, "mailsrvd setup-user --check "+u.Name+" says what, and the mend", "something needs mending")
		}
		script := filepath.Join(u.Home, ".dovecot.sieve")
		if err := scriptFault(ctx, cfg, u, script); err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			plan.Todo(script, "mailsrvd sieve check "+script+" says all, and the mend", "this filter would not run, and its mail would go to the INBOX: %s", first)
		}
	}
}

// scriptFault is why a user's filter script would not run; nil without a script.
// It is read with his own rights.
func scriptFault(ctx context.Context, cfg *config.Config, u asuser.Owner, path string) error {
	err := asuser.Do(ctx, u, func() error {
		fi, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !fi.Mode().IsRegular() {
			return errors.New("it is no regular file")
		}
		_, err = compileScript(ctx, path, filepath.Join(u.Home, "sieve"), cfg.Sieve.GlobalDir)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, asuser.ErrRefused) {
		return nil
	}
	return err
}

// report prints what matters most last, where a terminal shows it.
func (o *migrateOptions) report(a *app, plan *migrate.Plan) {
	for _, level := range []migrate.Level{migrate.Kept, migrate.Note, migrate.Todo} {
		for _, f := range plan.Findings {
			if f.Level != level {
				continue
			}
			fmt.Fprintf(a.stdout, "%s  %s: %s\n", f.Level, f.Where, f.Text)
			if f.Mend != "" {
				fmt.Fprintf(a.stdout, "      to do: %s\n", f.Mend)
			}
		}
	}
	if o.dryRun {
		fmt.Fprintf(a.stdout, "\n%s\n", strings.TrimRight(plan.Text(false), "\n"))
		return
	}
	trial := filepath.Join(filepath.Dir(a.configPath), migrate.TrialName)
	fmt.Fprintf(a.stdout, `
Written: %s, %s. Next:
  mailsrvd check-config -c %s
  mailsrvd serve -c %s        # a trial beside the old servers
docs/migrate.md has the rest: the switch, and the way back.
`, a.configPath, trial, trial, trial)
}
