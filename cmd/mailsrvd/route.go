package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/relay"
)

func (a *app) routeCommand() *cobra.Command {
	var p printer
	c := &cobra.Command{
		Use:   "route DOMAIN|ADDRESS",
		Short: "Show where mail for a domain or an address would go, and how it would be secured",
		Long: `route finds the mail exchangers of a domain as a delivery would, asks for the TLS
policies that hold for them (DANE, MTA-STS, [relay] tls), connects to each of
their addresses, starts TLS, checks the certificate, and says goodbye. It sends
no message. Mail for a smarthost is shown so, too.

For an address in one of domains it shows where aliases and accounts lead it: to
users, programs, addresses elsewhere, or nowhere, where an alias throws its mail
away.

Exit status: 0 at least one host would take mail, or the address leads somewhere;
1 none.`,
		Example: "  mailsrvd route example.org\n  mailsrvd route ann@example.org --json\n  mailsrvd route info@svc.plus",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if ours(cfg, args[0]) {
				return a.runRouteLocal(cmd.Context(), cfg, args[0], p)
			}
			return a.runRoute(cmd.Context(), cfg, args[0][strings.LastIndexByte(args[0], '@')+1:], p)
		},
	}
	p.flag(c)
	return c
}

// hopReport is a line of route.
type hopReport struct {
	Remote string           `json:"remote"`
	OK     bool             `json:"ok"`
	DNSSEC bool             `json:"dnssec"`
	Demand string           `json:"demand"`
	Policy string           `json:"policy,omitempty"`
	Text   []string         `json:"policy_text,omitempty"`
	Flaw   relay.TLSFailure `json:"policy_flaw,omitempty"`
	Reason string           `json:"policy_reason,omitempty"`
	TLS    message.TLS      `json:"tls,omitzero"`
	Error  string           `json:"error,omitempty"`
}

// routeTime bounds all connections together.
const routeTime = 2 * time.Minute

func (a *app) runRoute(ctx context.Context, cfg *config.Config, domain string, p printer) error {
	r, err := daemon.Relay(cfg)
	if err != nil {
		return err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(ctx, routeTime)
	defer cancel()
	probes, err := r.Probe(ctx, domain)
	if err != nil {
		return fmt.Errorf("%s: %w", domain, err)
	}
	hops, some := []hopReport{}, false
	for _, b := range probes {
		h := hopReport{Remote: b.Remote, OK: b.Err == nil, DNSSEC: b.SecureMX, Demand: b.Demand.String(), Policy: string(b.Published.Type),
			Text: b.Published.Text, Flaw: b.Flaw, Reason: b.Reason, TLS: b.TLS}
		if b.Err != nil {
			h.Error = b.Err.Error()
		}
		some = some || h.OK
		hops = append(hops, h)
	}
	if err := p.print(a, hops, func(w *tabwriter.Writer) { printHops(w, hops) }); err != nil {
		return err
	}
	if !some {
		return &exitError{code: exitFailure}
	}
	return nil
}

func printHops(w *tabwriter.Writer, hops []hopReport) {
	for _, h := range hops {
		result := h.TLS.String()
		if !h.OK {
			result = "no: " + h.Error
		}
		fmt.Fprintf(w, "%s\t%s\n", h.Remote, result)
		policy := map[string]string{"": "none", "sts": "MTA-STS", "tlsa": "DANE"}[h.Policy]
		if len(h.Text) > 0 {
			policy += ": " + strings.Join(h.Text, "; ")
		}
		fmt.Fprintf(w, "\tpolicy\t%s\n", policy)
		if h.Flaw != "" {
			fmt.Fprintf(w, "\t\t%s: %s\n", h.Flaw, h.Reason)
		}
	}
}
