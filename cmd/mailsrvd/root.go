package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/config"
)

const defaultConfig = "/etc/mailsrvd/mailsrvd.toml"

// errConfig means that the configuration file cannot be read.
var errConfig = errors.New("no usable configuration")

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "mailsrvd",
		Short: "Mail server for one host: SMTP, IMAP, local delivery, queue",
		Long: `mailsrvd is a mail server for one host: SMTP for mail programs and other
servers, local delivery into Maildirs, IMAP, and a queue for outbound mail.

Exit status of all commands: 0 done; 1 failed; 64 wrong arguments; 69 no
daemon is running; 78 the configuration cannot be used. Commands with other
ones say so.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.ValidateRequiredFlags(); err != nil {
				return err
			}
			a.started = cmd.Name()
			return nil
		},
	}
	path := os.Getenv("MAILSRVD_CONFIG")
	if path == "" {
		path = defaultConfig
	}
	root.PersistentFlags().StringVarP(&a.configPath, "config", "c", path, "configuration `file`")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(
		a.serveCommand(),
		a.devCommand(),
		a.ldaCommand(),
		a.probeCommand(),
		a.versionCommand(),
		a.checkConfigCommand(),
		a.dkimCommand(),
		a.dnsCommand(),
		a.queueCommand(),
		a.routeCommand(),
		a.statusCommand(),
		a.reloadCommand(),
		a.sendmailCommand(),
		a.setupUserCommand(),
		a.migrateCommand(),
		a.backupCommand(),
		a.restoreCommand(),
		a.authCommand(),
		a.traceCommand(),
		a.banCommand(),
		a.sendingCommand(),
		a.reportsCommand(),
		a.mailboxCommand(),
		a.sieveCommand(),
		a.docsCommand(),
	)
	return root
}

// config reads the configuration that --config names.
func (a *app) config() (*config.Config, error) {
	c, err := config.Load(a.configPath)
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		return nil, fmt.Errorf("%w: %w", errConfig, err)
	}
	return c, err
}

// printer prints one value as a table or, with --json, as JSON.
type printer struct{ json bool }

func (p *printer) flag(c *cobra.Command) {
	c.Flags().BoolVar(&p.json, "json", false, "print JSON instead of a table")
}

// print writes value as indented JSON, or calls table with a writer that aligns
// columns at tabs.
func (p *printer) print(a *app, value any, table func(w *tabwriter.Writer)) error {
	if p.json {
		if v := reflect.ValueOf(value); v.Kind() == reflect.Slice && v.IsNil() {
			value = []struct{}{} // an empty list is no null
		}
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	table(w)
	return w.Flush()
}
