package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/config"
)

func (a *app) checkConfigCommand() *cobra.Command {
	var o checkOptions
	var p printer
	c := &cobra.Command{
		Use:   "check-config",
		Short: "Check the configuration and everything it names",
		Long: `check-config reads the whole configuration and everything that it names, and
prints every problem at once with file, line and the mend: unknown keys, the
certificates with their names and dates, the back end of [auth], DKIM keys,
aliases, directories, ports, and the users' Maildirs. It changes nothing. Run it
as root or as the daemon's user; others cannot read all files.

Exit status: 0 fine, or warnings only; 1 warnings, with --strict; 2 errors.`,
		Example: "  mailsrvd check-config\n  mailsrvd check-config --dns --strict\n  mailsrvd check-config -c new.toml --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			problems, err := o.run(cmd.Context(), a.configPath)
			if err != nil {
				return &exitError{2, fmt.Errorf("%w: %w", errConfig, err)}
			}
			err = p.print(a, append(config.Problems{}, problems...), func(w *tabwriter.Writer) {
				for _, problem := range problems {
					fmt.Fprintln(a.stdout, problem.String())
				}
				if len(problems) == 0 {
					fmt.Fprintf(a.stdout, "%s: fine\n", a.configPath)
				}
			})
			switch {
			case err != nil:
				return err
			case problems.HasErrors():
				return &exitError{code: 2}
			case o.strict && len(problems) > 0:
				return &exitError{code: 1}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&o.strict, "strict", false, "exit with 1 when there are warnings")
	c.Flags().BoolVar(&o.dns, "dns", false, "also compare the DNS with what the domains need")
	p.flag(c)
	return c
}
