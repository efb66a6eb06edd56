package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/zone"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/listen"
)

func (a *app) dnsCommand() *cobra.Command {
	c := &cobra.Command{Use: "dns", Short: "Print and check the DNS records of the mail domains"}
	c.AddCommand(a.dnsRecordsCommand(), a.dnsCheckCommand())
	return c
}

func (a *app) dnsRecordsCommand() *cobra.Command {
	var p printer
	var format string
	var tlsa bool
	c := &cobra.Command{
		Use:   "records [DOMAIN]",
		Short: "Print the lines to paste into the DNS zone",
		Long: `records prints the records that a mail domain needs: MX, addresses, SPF, DKIM,
DMARC, MTA-STS where [mta_sts] is set, the SRV records by which mail programs find
the server, and the names under which they ask for settings. Without DOMAIN it
prints those of all domains. It asks no DNS.

Formats: bind (lines of a zone file, which most providers import), cloudflare
(the body of its batch call), route53 (a change batch), terraform-cloudflare,
terraform-route53.`,
		Example: "  mailsrvd dns records svc.plus\n  mailsrvd dns records --format route53 > batch.json",
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
			if tlsa {
				// Once is enough: the domains share the host.
				chain, err := served(cfg)
				if err != nil {
					return err
				}
				domains[0].Certificate = chain[0]
			}
			var all []zone.Record
			for _, d := range domains {
				all = append(all, d.Records()...)
			}
			if p.json {
				return p.print(a, all, nil)
			}
			if format == "bind" && len(domains[0].Addresses) == 0 {
				fmt.Fprintf(a.stdout, "; this machine has no public address of its own: add A and AAAA for %s by hand\n", cfg.Hostname)
			}
			return zone.Write(a.stdout, format, all)
		},
	}
	c.Flags().StringVar(&format, "format", zone.Formats[0], "`form` of the output: "+strings.Join(zone.Formats, ", "))
	c.Flags().BoolVar(&tlsa, "tlsa", false, "add a TLSA record for the certificate's key; only for zones signed by DNSSEC")
	p.flag(c)
	return c
}

// served is the chain that the MX listener shows to a client that asks for
// hostname.
func served(c *config.Config) ([]*x509.Certificate, error) {
	certs, err := listen.LoadCertificates(nil, daemon.CertificatePairs(c)...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Where("tls.certificate"), err)
	}
	return certs.Chain(c.Hostname), nil
}

// checkZones compares the DNS with what the domains need. A certificate that
// cannot be read is for check-config to tell.
func checkZones(ctx context.Context, c *config.Config, names ...string) ([]zone.Finding, error) {
	domains, err := zone.Of(c, names...)
	if err != nil {
		return nil, err
	}
	for i := range domains {
		domains[i].Served, _ = served(c)
	}
	return zone.CheckAll(ctx, c.DNS.Resolver, domains)
}

func (a *app) dnsCheckCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "check [DOMAIN]",
		Short: "Compare the DNS with what the mail domains need",
		Long: `check asks the DNS for MX, addresses, reverse names, SPF, DKIM, DMARC, MTA-STS,
TLSA and the names for mail programs, and prints what differs from what it should
be, what that means for delivery, and the mend. SRV records may be missing: people
can type the settings in.

Exit status: 0 all is right; 1 something differs.`,
		Example: "  mailsrvd dns check",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			findings, err := checkZones(cmd.Context(), cfg, args...)
			if err != nil {
				return err
			}
			err = p.print(a, append([]zone.Finding{}, findings...), func(w *tabwriter.Writer) {
				for _, f := range findings {
					fmt.Fprintf(w, "%s: %s\n    means: %s\n    mend: %s\n", f.About, f.Text, f.Means, f.Mend)
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
