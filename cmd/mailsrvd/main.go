// Command mailsrvd is a mail server for one host: submission and MX, local
// delivery into Maildirs, IMAP and an outbound queue in one process, with the
// commands that set it up, check it and look into it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/control"
	"svc.plus/mailsrvd/internal/program"
)

// version is set by the linker (see the Makefile).
var version = "unknown"

// Exit codes that all commands share; lda and sendmail have those of
// sysexits.h beside them.
const (
	exitFailure  = 1  // what the command's help calls failure
	exitUsage    = 64 // wrong arguments
	exitNoDaemon = 69 // the command needs a running daemon
	exitConfig   = 78 // the configuration cannot be used
)

func main() {
	if program.IsHelper() {
		program.Help()
		os.Exit(0)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, stopSignals: stop}
	os.Exit(a.main(ctx, os.Args))
}

// app is what commands get from the process.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// configPath is the value of --config.
	configPath string
	// started is the command whose own code ran: errors before that are errors
	// of usage.
	started string
	// stopSignals gives signals back their own meaning.
	stopSignals func()
}

// exitError is an error with an exit code of its own. Without an error nothing
// more is printed: the command has said all.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// main runs the command line and returns the exit code: the only place that
// turns errors into codes and messages.
func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	refuseUnknown(root)
	root.SetArgs(byName(args))
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var exit *exitError
	if errors.As(err, &exit) && exit.err == nil {
		return exit.code
	}
	if a.started == "" {
		fmt.Fprintf(a.stderr, "mailsrvd: %s\n%s", strings.TrimSpace(err.Error()), usage(cmd))
		return exitUsage
	}
	fmt.Fprintf(a.stderr, "mailsrvd: %s\n", a.message(err))
	if exit != nil {
		return exit.code
	}
	return exitCode(err)
}

// refuseUnknown makes commands that have others below them refuse what is none of
// those; cobra takes "queue remvoe ID" for a question about queue, and succeeds.
func refuseUnknown(c *cobra.Command) {
	for _, sub := range c.Commands() {
		refuseUnknown(sub)
	}
	if c.Runnable() || !c.HasParent() {
		return
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		what := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			what += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return &exitError{exitUsage, fmt.Errorf("%s\nRun %s --help for the commands", what, cmd.CommandPath())}
	}
}

// usage says how the command is called, or which commands there are.
func usage(cmd *cobra.Command) string {
	if cmd.Runnable() {
		return fmt.Sprintf("Usage: %s\nRun %s --help for more.\n", cmd.UseLine(), cmd.CommandPath())
	}
	return fmt.Sprintf("Run %s --help for the commands.\n", cmd.CommandPath())
}

// byName turns the name under which the program was called into a command, for
// the links that other programs expect.
func byName(args []string) []string {
	switch filepath.Base(args[0]) {
	case "sendmail":
		return append([]string{"sendmail"}, args[1:]...)
	case "newaliases":
		return []string{"sendmail", "-bi"}
	case "mailq":
		return []string{"queue", "list"}
	case "dovecot-lda", "deliver":
		return append([]string{"lda"}, args[1:]...)
	}
	return args[1:]
}

func exitCode(err error) int {
	var problems config.Problems
	switch {
	case errors.As(err, &problems), errors.Is(err, errConfig):
		return exitConfig
	case errors.Is(err, control.ErrNoDaemon):
		return exitNoDaemon
	}
	return exitFailure
}

// message adds the next step to errors that have one.
func (a *app) message(err error) string {
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		return "the configuration has problems:\n" + problems.Error()
	case errors.Is(err, control.ErrNoDaemon):
		return err.Error() + "; is mailsrvd serve running, with this configuration?"
	case errors.Is(err, os.ErrPermission) && os.Geteuid() != 0 && a.started != "serve":
		return err.Error() + "; try it as root"
	}
	return err.Error()
}
