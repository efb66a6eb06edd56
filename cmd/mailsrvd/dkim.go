package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/keyring"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
)

func (a *app) dkimCommand() *cobra.Command {
	c := &cobra.Command{Use: "dkim", Short: "Make, rotate and show the keys that sign outbound mail"}
	c.AddCommand(a.dkimGenkeyCommand(), a.dkimRotateCommand(), a.dkimShowCommand())
	return c
}

type genkeyOptions struct {
	selector, algorithm, out string
}

func (a *app) dkimGenkeyCommand() *cobra.Command {
	var o genkeyOptions
	c := &cobra.Command{
		Use:   "genkey DOMAIN",
		Short: "Make a DKIM key and print its DNS record",
		Long: `genkey writes a new private key and prints the line for the DNS zone. The file
is the one that the configuration names for DOMAIN and the selector; without
one there, DOMAIN.SELECTOR.key in the directory dkim beside the configuration,
and the lines to add to the configuration are printed, too.

A key that exists is never replaced. Started by root, it makes the file readable
for the group mailsrvd.`,
		Example: "  mailsrvd dkim genkey svc.plus\n  mailsrvd dkim genkey svc.plus --selector ed --algorithm ed25519",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.runGenkey(strings.ToLower(args[0]), o)
		},
	}
	c.Flags().StringVar(&o.selector, "selector", "default", "name of the key in the DNS")
	c.Flags().StringVar(&o.algorithm, "algorithm", "rsa2048", "rsa2048 or ed25519")
	c.Flags().StringVar(&o.out, "out", "", "write the key to this `file`")
	return c
}

func (a *app) runGenkey(domain string, o genkeyOptions) error {
	algorithms := map[string]dkim.Algorithm{"rsa2048": dkim.RSA, "rsa": dkim.RSA, "ed25519": dkim.Ed25519}
	algorithm, known := algorithms[o.algorithm]
	if !known {
		return &exitError{exitUsage, fmt.Errorf("unknown algorithm %q: rsa2048 or ed25519", o.algorithm)}
	}
	path, configured := a.keyPath(domain, o)
	key, err := dkim.GenerateKey(algorithm)
	if err != nil {
		return err
	}
	if err := writeKey(key, path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; a key is never replaced, since mail under way is signed with it: choose another --selector", err)
	} else if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "; the private key is in %s\n", path)
	if !configured {
		fmt.Fprintf(a.stdout, "; add to %s:\n;   [[dkim]]\n;   domain   = %q\n;   selector = %q\n;   key      = %q\n", a.configPath, domain, o.selector, path)
	}
	fmt.Fprintf(a.stdout, "; add to the zone of %s:\n%s\n", domain, dkim.ZoneLine(domain, o.selector, key))
	return nil
}

// keyPath is where the key belongs, and whether the configuration says so. A
// configuration with problems elsewhere is good enough: making keys is part of
// setting it up.
func (a *app) keyPath(domain string, o genkeyOptions) (path string, configured bool) {
	c, _, err := config.Read(a.configPath)
	if err == nil {
		for _, d := range c.DKIM {
			if d.Domain == domain && d.Selector == o.selector && d.Key != "" {
				path = d.Key
			}
		}
	}
	switch {
	case o.out != "":
		out, err := filepath.Abs(o.out)
		if err != nil {
			out = o.out
		}
		return out, out == path
	case path != "":
		return path, true
	}
	return filepath.Join(filepath.Dir(a.configPath), "dkim", domain+"."+o.selector+".key"), false
}

// writeKey writes the key for the daemon alone: its directory and the file
// belong to root and the daemon's group, if we may say so.
func writeKey(key *dkim.Key, path string) error {
	dir := filepath.Dir(path)
	gid := -1
	if g, err := user.LookupGroup("mailsrvd"); err == nil && os.Geteuid() == 0 {
		gid, _ = strconv.Atoi(g.Gid)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
		if err := os.Chown(dir, -1, gid); err != nil {
			return err
		}
	}
	if err := key.WriteFile(path); err != nil {
		return err
	}
	if gid < 0 {
		return nil
	}
	return errors.Join(os.Chown(path, -1, gid), os.Chmod(path, 0o640))
}

// dkimRecord is a key of dkim show.
type dkimRecord struct {
	Domain    string `json:"domain"`
	Selector  string `json:"selector"`
	Algorithm string `json:"algorithm"`
	// State is one of dkim.KeyState.
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	File  string    `json:"file"`
	Name  string    `json:"name"`
	Value string    `json:"value"`
	Zone  string    `json:"zone"`

	advice string
}

func (a *app) dkimShowCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "show [DOMAIN]",
		Short: "Print the DNS records of the DKIM keys, and which of them signs",
		Long: `show prints the record of each key with what it does: waiting (for its record
in the DNS), signing, retiring (its record is needed for mail on its way) or
spent (record and file may be removed). A running daemon looks into the DNS
first.`,
		Example: "  mailsrvd dkim show svc.plus\n  mailsrvd dkim show --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.config()
			if err != nil {
				return err
			}
			domain := ""
			if len(args) > 0 {
				domain = strings.ToLower(args[0])
			}
			if _, err := admin.TurnKeys(cmd.Context(), c.Socket("control")); err != nil {
				return err
			}
			records, err := dkimRecords(c, domain)
			if err != nil {
				return err
			}
			if len(records) == 0 {
				return noKeys(cmp.Or(domain, "any domain"))
			}
			return p.print(a, records, func(w *tabwriter.Writer) { printKeys(w, records) })
		},
	}
	p.flag(c)
	return c
}

func noKeys(domain string) error {
	return fmt.Errorf("no key is configured for %s; mailsrvd dkim genkey makes one", domain)
}

// printKeys prints lines for a zone file.
func printKeys(w io.Writer, records []dkimRecord) {
	for _, r := range records {
		fmt.Fprintf(w, "; %s: %s", r.Name, r.State)
		if !r.Since.IsZero() {
			fmt.Fprintf(w, " since %s", r.Since.Local().Format(time.DateOnly))
		}
		if r.advice != "" {
			fmt.Fprintf(w, "; %s", r.advice)
		}
		fmt.Fprintf(w, "\n%s\n", r.Zone)
	}
}

// dkimRecords lists the keys of domain, or all.
func dkimRecords(c *config.Config, domain string) ([]dkimRecord, error) {
	keys, err := keyring.Load(c)
	if err != nil {
		return nil, err
	}
	var records []dkimRecord
	for _, k := range keys {
		if domain != "" && k.Domain != domain {
			continue
		}
		r := dkimRecord{
			Domain: k.Domain, Selector: k.Selector, Algorithm: string(k.Key.Algorithm()), State: string(k.State), Since: k.Since, Until: k.Until, File: k.Path,
			Name: dkim.RecordName(k.Domain, k.Selector), Value: dkim.Record(k.Key), Zone: dkim.ZoneLine(k.Domain, k.Selector, k.Key), advice: k.Advice(),
		}
		records = append(records, r)
	}
	return records, nil
}
