package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
)

func (a *app) authCommand() *cobra.Command {
	c := &cobra.Command{Use: "auth", Short: "Look into authentication"}
	c.AddCommand(a.authTestCommand())
	return c
}

// authResult is what one attempt to log in came to.
type authResult struct {
	Login   string `json:"login"`
	OK      bool   `json:"ok"`
	Account string `json:"account,omitempty"`
	UID     int    `json:"uid,omitempty"`
	GID     int    `json:"gid,omitempty"`
	Home    string `json:"home,omitempty"`
	Maildir string `json:"maildir,omitempty"`
	// Reason is for the administrator, Reply what a client would see.
	Reason string `json:"reason,omitempty"`
	Reply  string `json:"reply,omitempty"`
}

func (a *app) authTestCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "test USER",
		Short: "Try one login, with the reason if it fails",
		Long: `test asks for USER's password, or reads it as the first line of standard input,
and tries it as the daemon would. With the pam back end it must run as root, or
as the daemon's user: others cannot read the password hashes.

Exit status: 0 the login is good; 1 it is not.`,
		Example: "  mailsrvd auth test support@svc.plus\n  echo \"$PASSWORD\" | mailsrvd auth test support",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.tryLogin(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			err = p.print(a, r, func(w *tabwriter.Writer) {
				if r.OK {
					fmt.Fprintf(w, "%s may log in: account %s, uid %d, gid %d, mail in %s\n", r.Login, r.Account, r.UID, r.GID, r.Maildir)
					return
				}
				fmt.Fprintf(w, "%s may not log in: %s\nA client sees: %s\n", r.Login, r.Reason, r.Reply)
			})
			if err == nil && !r.OK {
				err = &exitError{code: exitFailure}
			}
			return err
		},
	}
	p.flag(c)
	return c
}

func (a *app) tryLogin(ctx context.Context, login string) (*authResult, error) {
	c, err := a.config()
	if err != nil {
		return nil, err
	}
	authenticator, err := daemon.LocalAuthenticator(c)
	if err != nil {
		return nil, err
	}
	password, err := a.password("Password of " + login + ": ")
	if err != nil {
		return nil, err
	}
	account, err := authenticator.Authenticate(ctx, auth.Credentials{Login: login, Password: password, Service: "test", TLS: true})
	if err != nil {
		e := auth.AsError(err)
		return &authResult{Login: login, Reason: e.Error(), Reply: e.Status().Reply()}, nil
	}
	return &authResult{Login: login, OK: true, Account: account.Name, UID: account.Owner.UID, GID: account.Owner.GID,
		Home: account.Owner.Home, Maildir: account.MaildirPath(c.Mail.Location)}, nil
}

// password asks at the terminal, without echo, or reads a line.
func (a *app) password(prompt string) (string, error) {
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(a.stderr, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.stderr)
		return string(b), err
	}
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if line == "" {
		if err == nil || errors.Is(err, io.EOF) {
			err = errors.New("no password: the first line of standard input must be it")
		}
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}
