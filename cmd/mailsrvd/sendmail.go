package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/sendmail"
	"svc.plus/mailsrvd/config"
)

func (a *app) sendmailCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sendmail [-t] [-i] [-f sender] [-F name] [-N notify] [-C file] [recipient...]",
		Short: "Submit a message from standard input, as /usr/sbin/sendmail does",
		Long: `sendmail reads a message from standard input and submits it through the
daemon's socket; the kernel tells the daemon who the user is, so no password is
needed. /usr/sbin/sendmail may be a link to mailsrvd.

  -t         take recipients from To, Cc and Bcc too; Bcc is removed
  -i, -oi    a line with only a dot does not end the message
  -f sender  the reverse-path (-r is the same); <> for none
  -F name    the full name in a From field that is added
  -N words   delivery notices: never, or some of success, failure, delay
  -R part    full or hdrs: what a failure notice brings back
  -V id      an identifier that notices carry
  -bs        speak SMTP on standard input and output
  -bp        list the queue (as mailq does)
  -bi        do nothing (as newaliases)
  -q         try again to send what waits in the queue
  -C file    the configuration file

Other options of the original are taken and mean nothing.

Exit status: 0 accepted, on disk or in the mailbox; 64 wrong arguments; 65 the
message cannot be read; 67 a recipient was refused, the others have it; 69 the
message was refused; 75 try again later; 77 the sender is not yours.`,
		Example:            "  mailsrvd sendmail -t <message\n  echo hello | mailsrvd sendmail -i -f alice@svc.plus root",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "--help") {
				return cmd.Help()
			}
			return a.runSendmail(cmd, args)
		},
	}
}

func (a *app) runSendmail(cmd *cobra.Command, args []string) error {
	o, err := sendmail.Parse(args)
	if err != nil {
		return &exitError{sendmail.ExitUsage, fmt.Errorf("sendmail: %w", err)}
	}
	if o.Config != "" {
		a.configPath = o.Config
	}
	s, err := a.sender()
	if err != nil {
		return &exitError{sendmail.ExitTempFail, err}
	}
	switch o.Mode {
	case sendmail.Nothing:
		return nil
	case sendmail.List:
		return a.runQueueList(cmd.Context(), queueOptions{})
	case sendmail.Flush:
		return a.runQueueChange(cmd.Context(), "retry", queueOptions{all: true})
	case sendmail.SMTP:
		err = s.Relay(cmd.Context())
	default:
		err = s.Submit(cmd.Context(), o)
	}
	var failure *sendmail.Error
	if errors.As(err, &failure) {
		return &exitError{failure.Code, err}
	}
	return err
}

// sender finds out who calls. A user who may not read the configuration sends
// through the usual socket.
func (a *app) sender() (sendmail.Sender, error) {
	s := sendmail.Sender{Socket: "/run/mailsrvd/sendmail.sock", Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr}
	u, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		return s, fmt.Errorf("who are you? %w", err)
	}
	s.User = u.Username
	s.Name, _, _ = strings.Cut(u.Name, ",") // of the gecos field
	c, problems, err := config.Read(a.configPath)
	if err == nil && !problems.HasErrors() {
		s.Socket, s.Domain = c.Socket("sendmail"), c.Domain()
		return s, nil
	}
	if err != nil && !errors.Is(err, os.ErrPermission) && a.configPath != defaultConfig {
		return s, fmt.Errorf("%w: %w", errConfig, err)
	}
	s.Domain, err = os.Hostname()
	return s, err
}
