package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/daemon"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/lda"
	"svc.plus/mailsrvd/maildir"
)

// placeReport is a line of route for an address of ours.
type placeReport struct {
	// Kind is user, program, address or nowhere.
	Kind string `json:"kind"`
	To   string `json:"to,omitempty"`
	// As is whom a program runs as.
	As string `json:"as,omitempty"`
	// Detail is what follows the name after the delimiter.
	Detail string `json:"detail,omitempty"`
}

// ours reports whether an address is of a local domain.
func ours(c *config.Config, address string) bool {
	i := strings.LastIndexByte(address, '@')
	return i >= 0 && slices.ContainsFunc(c.Domains, func(d string) bool { return strings.EqualFold(d, address[i+1:]) })
}

// runRouteLocal shows where aliases and accounts lead an address of ours, as the
// configuration and the alias files say now.
func (a *app) runRouteLocal(ctx context.Context, cfg *config.Config, address string, p printer) error {
	accounts, err := daemon.LocalAuthenticator(cfg)
	if err != nil {
		return err
	}
	o := daemon.LDAOptions(cfg)
	o.Accounts, o.Stores, o.Sieve = accounts, maildir.NewStores(maildir.Options{NoInotify: true}), nil
	defer o.Stores.Close()
	agent, err := lda.New(o)
	if err != nil {
		return err
	}
	route, err := agent.Route(ctx, address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, status.From(err))
	}
	places := placesOf(route, cfg.Aliases.PipeUser)
	return p.print(a, places, func(w *tabwriter.Writer) {
		for _, l := range places {
			more := ""
			switch {
			case l.As != "":
				more = "as " + l.As
			case l.Detail != "":
				more = "with the detail " + l.Detail
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", l.Kind, l.To, more)
		}
	})
}

func placesOf(r message.Route, programUser string) []placeReport {
	list := []placeReport{}
	for _, l := range r.Local {
		if l.Program != "" {
			list = append(list, placeReport{Kind: "program", To: l.Program, As: programUser})
			continue
		}
		list = append(list, placeReport{Kind: "user", To: l.User, Detail: l.Detail})
	}
	for _, to := range r.Remote {
		list = append(list, placeReport{Kind: "address", To: to})
	}
	if r.Discard {
		list = append(list, placeReport{Kind: "nowhere"})
	}
	return list
}
