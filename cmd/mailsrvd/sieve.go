package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/lda/sieve"
)

func (a *app) sieveCommand() *cobra.Command {
	c := &cobra.Command{Use: "sieve", Short: "Check and try filter scripts"}
	c.AddCommand(a.sieveCheckCommand(), a.sieveTestCommand())
	return c
}

func (a *app) sieveCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check SCRIPT...",
		Short: "Look for mistakes in filter scripts",
		Long: `check reads scripts as a delivery would and prints every mistake with its place
and the mend. Scripts that they include lie beside them, as NAME.sieve.

Exit status: 0 no mistakes, perhaps warnings; 1 mistakes.`,
		Example: "  mailsrvd sieve check ~/sieve/main.sieve",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			wrong := false
			for _, path := range args {
				script, err := compileScript(cmd.Context(), path, filepath.Dir(path), "")
				var problems sieve.Problems
				switch {
				case errors.As(err, &problems):
					wrong = true
				case err != nil:
					return err
				default:
					problems = script.Warnings()
				}
				for _, p := range problems {
					fmt.Fprintln(a.stdout, p)
				}
			}
			if wrong {
				return &exitError{code: exitFailure}
			}
			return nil
		},
	}
}

// compileScript reads a script, which includes others from dir, and those for all
// users from global, "" for the same directory.
func compileScript(ctx context.Context, path, dir, global string) (*sieve.Script, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	o := sieve.Options{}
	o.Include = func(_ context.Context, from sieve.Location, name string) ([]byte, error) {
		in := dir
		if from == sieve.Global && global != "" {
			in = global
		}
		return os.ReadFile(filepath.Join(in, name+".sieve"))
	}
	return sieve.Compile(ctx, path, source, o)
}

// sieveOutcome is what sieve test prints as JSON.
type sieveOutcome struct {
	Steps   []sieve.Step `json:"steps"`
	Actions []string     `json:"actions"`
	// Silent says why vacation sends nothing, Error why the script was stopped.
	Silent string `json:"silent,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (a *app) sieveTestCommand() *cobra.Command {
	var p printer
	var env sieve.Env
	c := &cobra.Command{
		Use:   "test SCRIPT MESSAGE",
		Short: "Show what a filter script would do with a message, step by step",
		Long: `test runs a script on a message (a file, or - for standard input) and prints each
command and test with its outcome, then what would be done. Nothing is stored or
sent. All mailboxes exist, and nothing is remembered of earlier messages.

Exit status: 0 the script came to its end; 1 it has mistakes, or was stopped.`,
		Example: "  mailsrvd sieve test ~/.dovecot.sieve message.eml --from boss@example.net",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			script, err := compileScript(cmd.Context(), args[0], filepath.Dir(args[0]), "")
			if err != nil {
				return err
			}
			in := a.stdin
			if args[1] != "-" {
				file, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			}
			text, err := io.ReadAll(in)
			if err != nil {
				return err
			}
			content := message.FromBytes(text)
			out := sieveOutcome{Steps: []sieve.Step{}, Actions: []string{}}
			env.Trace = func(s sieve.Step) { out.Steps = append(out.Steps, s) }
			env.MailboxExists = func(context.Context, string) (bool, error) { return true, nil }
			result, err := script.Run(cmd.Context(), sieve.NewMessage(content, content.Size()), env)
			for _, action := range result.Actions {
				out.Actions = append(out.Actions, action.String())
			}
			out.Silent = result.Silent
			if err != nil {
				out.Error = err.Error()
			}
			printErr := p.print(a, out, func(w *tabwriter.Writer) {
				for _, s := range out.Steps {
					fmt.Fprintln(w, s)
				}
				fmt.Fprintln(w)
				for _, action := range out.Actions {
					fmt.Fprintln(w, action)
				}
				if out.Silent != "" {
					fmt.Fprintln(w, "no vacation answer: "+out.Silent)
				}
			})
			return errors.Join(err, printErr)
		},
	}
	c.Flags().StringVar(&env.From, "from", "", "the reverse-path; empty for the null one")
	c.Flags().StringVar(&env.To, "to", "", "the `address` that the message was sent to")
	c.Flags().StringVar(&env.Owner, "owner", "", "the user's own `address`, for vacation")
	p.flag(c)
	return c
}
