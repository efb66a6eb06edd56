package main

import (
	"fmt"
	"runtime"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  mailsrvd version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
			}{version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
			return p.print(a, v, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "mailsrvd %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
			})
		},
	}
	p.flag(c)
	return c
}
