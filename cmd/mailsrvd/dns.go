package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/zone"
)

func (a *app) dnsCommand() *cobra.Command {
	c := &cobra.Command{Use: "dns", Short: "Print and check the DNS records of the mail domains"}
	c.AddCommand(a.dnsRecordsCommand(), a.dnsCheckCommand())
	return c
}

func (a *app) dnsRecordsCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "records [DOMAIN]",
		Short: "Print the lines to paste into the DNS zone",
		Long: `records prints the records that a mail domain needs, as lines of a zone file: MX,
addresses, SPF, DKIM, DMARC, and the SRV records by which mail programs find the
server. Without DOMAIN it prints those of all domains. It asks no DNS.`,
		Example: "  mailsrvd dns records svc.plus",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			domains, err := zone.Of(cfg, args...)
			if err != nil {
				return err
			}
			var all []zone.Record
			for _, d := range domains {
				all = append(all, d.Records()...)
			}
			return p.print(a, all, func(*tabwriter.Writer) { printRecords(a.stdout, domains) })
		},
	}
	p.flag(c)
	return c
}

func printRecords(w io.Writer, domains []zone.Domain) {
	for _, d := range domains {
		fmt.Fprintf(w, "; --- zone of %s\n", d.Name)
		if len(d.Addresses) == 0 {
			fmt.Fprintf(w, "; this machine has no public address of its own: add A and AAAA for %s by hand\n", d.Hostname)
		}
		for _, r := range d.Records() {
			fmt.Fprintf(w, "; %s\n%s\n", r.About, r)
		}
	}
}

func (a *app) dnsCheckCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "check [DOMAIN]",
		Short: "Compare the DNS with what the mail domains need",
		Long: `check asks the DNS for MX, addresses, reverse names, SPF, DKIM, DMARC and MTA-STS,
and prints what differs from what it should be, with the mend.

Exit status: 0 all is right; 1 something differs.`,
		Example: "  mailsrvd dns check",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			findings, err := zone.CheckAll(cmd.Context(), cfg, args...)
			if err != nil {
				return err
			}
			err = p.print(a, append([]zone.Finding{}, findings...), func(w *tabwriter.Writer) {
				for _, f := range findings {
					fmt.Fprintf(w, "%s: %s\n    mend: %s\n", f.About, f.Text, f.Mend)
				}
				if len(findings) == 0 {
					fmt.Fprintln(w, "The DNS is as it should be.")
				}
			})
			if err == nil && len(findings) > 0 {
				err = &exitError{code: exitFailure}
			}
			return err
		},
	}
	p.flag(c)
	return c
}
