package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/zone"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
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
			domains, err := zones(cfg, args)
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

// zones are the domains of the configuration, or the one that is named.
func zones(c *config.Config, args []string) ([]zone.Domain, error) {
	names := c.Domains
	if len(args) > 0 {
		name := strings.ToLower(args[0])
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%s is not one of domains (%s)", name, c.Where("domains"))
		}
		names = []string{name}
	}
	addresses := zone.PublicAddresses()
	var out []zone.Domain
	for _, name := range names {
		d := zone.Domain{
			Name: name, Hostname: c.Hostname, Addresses: addresses, Postmaster: "postmaster",
			Submission: port(c.Listen.Submission), Submissions: port(c.Listen.Submissions), IMAP: port(c.Listen.IMAP), IMAPS: port(c.Listen.IMAPS),
		}
		for i, k := range c.DKIM {
			if k.Domain != name {
				continue
			}
			key, err := dkim.LoadKey(k.Key)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Where(fmt.Sprintf("dkim[%d].key", i)), err)
			}
			d.Keys = append(d.Keys, zone.Key{Selector: k.Selector, Key: key})
		}
		out = append(out, d)
	}
	return out, nil
}

// port is that of the first address with one.
func port(addresses []string) int {
	for _, a := range addresses {
		if i := strings.LastIndexByte(a, ':'); i >= 0 {
			if n, err := strconv.Atoi(a[i+1:]); err == nil {
				return n
			}
		}
	}
	return 0
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
			findings, err := checkDNS(cmd.Context(), cfg, args)
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

func checkDNS(ctx context.Context, c *config.Config, args []string) ([]zone.Finding, error) {
	domains, err := zones(c, args)
	if err != nil {
		return nil, err
	}
	r, err := dns.NewSystem(c.DNS.Resolver)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var findings []zone.Finding
	for _, d := range domains {
		findings = append(findings, d.Check(ctx, r, fetch)...)
	}
	return findings, nil
}

// fetch reads an MTA-STS policy: at most 64 KiB, without redirects (RFC 8461
// section 3.3).
func fetch(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the answer is %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return string(b), err
}
