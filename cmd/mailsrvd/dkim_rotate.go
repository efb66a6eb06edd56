package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/keyring"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
)

func (a *app) dkimRotateCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "rotate DOMAIN",
		Short: "Make the next DKIM key, which takes over by itself",
		Long: `rotate makes a new key for each [[dkim]] of DOMAIN, of the same algorithm and
under a new selector, and prints the line for the DNS zone. The running daemon
asks the DNS every minute; when the record has been there for 15 minutes, so that
all servers of the zone know it, it signs with the new key. Until then the old
one goes on signing. mailsrvd dkim show tells how far it is,
and when the old record may leave the DNS: mail under way is signed with it.

The new file stands beside the old one, its selector at the end of the name; the
configuration stays as it is. While a key waits for its record, rotate makes no
other, and prints its line again.`,
		Example: "  mailsrvd dkim rotate svc.plus\n  mailsrvd dkim show svc.plus",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			return a.runRotate(cmd.Context(), cfg, strings.ToLower(args[0]), p)
		},
	}
	p.flag(c)
	return c
}

func (a *app) runRotate(ctx context.Context, c *config.Config, domain string, p printer) error {
	rings, err := keyring.Open(c)
	if err != nil {
		return err
	}
	turns, err := dkim.LoadTurns(keyring.TurnsFile(c))
	if err != nil {
		return err
	}
	found := false
	for _, r := range rings {
		if r.Domain != domain {
			continue
		}
		found = true
		states := r.States(turns, time.Now(), keyring.Keep(c))
		if states[len(states)-1].State == dkim.Waiting {
			continue
		}
		if err := makeNext(r); err != nil {
			return err
		}
	}
	if !found {
		return noKeys(domain)
	}
	running, err := admin.TurnKeys(ctx, c.Socket("control"))
	if err != nil {
		return err
	}
	records, err := dkimRecords(c, domain)
	if err != nil {
		return err
	}
	return p.print(a, records, func(w *tabwriter.Writer) {
		printKeys(w, records)
		if !running {
			fmt.Fprintln(w, "; no daemon is running; it asks the DNS when it is started")
		}
	})
}

// makeNext writes a ring's next key.
func makeNext(r *dkim.Ring) error {
	selector, algorithm, err := r.NextSelector(time.Now())
	if err != nil {
		return err
	}
	key, err := dkim.GenerateKey(algorithm)
	if err != nil {
		return err
	}
	return writeKey(key, r.PathOf(selector))
}
