package inbound

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/dns"
)

// DNSList is a list of addresses in the DNS (RFC 5782).
type DNSList struct {
	Zone string
	// Score is what a listed address gets; below 0 for lists of good ones.
	Score int
	// Codes are scores for single answers of the list, in place of Score; with
	// any given, other answers count nothing.
	Codes map[netip.Addr]int
}

// Errors of CheckList.
var (
	ErrListSilent  = errors.New("does not list its test entry, 127.0.0.2")
	ErrListRefuses = errors.New("refuses questions from this resolver")
	ErrListAll     = errors.New("lists 127.0.0.1, and so perhaps everybody")
)

// CheckList looks whether a list works, by the entries that RFC 5782 section 5
// wants it to have: nil, one of the errors above, or that of the resolver.
func CheckList(ctx context.Context, r *dns.Resolver, zone string) error {
	bad, err := r.Listed(ctx, netip.MustParseAddr("127.0.0.1"), zone)
	if temporary(err) {
		return err
	}
	test, err := r.Listed(ctx, netip.MustParseAddr("127.0.0.2"), zone)
	if temporary(err) {
		return err
	}
	refused := func(codes []netip.Addr) bool { return slices.ContainsFunc(codes, listErrors.Contains) }
	switch {
	case refused(bad) || refused(test):
		return ErrListRefuses
	case len(bad) > 0:
		return ErrListAll
	case len(test) == 0:
		return ErrListSilent
	}
	return nil
}

// listsTime is how long all lists may take together.
const listsTime = 5 * time.Second

// listing is what the lists say.
type listing struct {
	Verdict
	score int
}

// Lists are bad ones when they answer so: a code in 127.255.255.0/24 means that
// the question itself was refused (an open resolver, too many questions), and
// one outside of 127.0.0.0/8 that the zone has been given up.
var (
	listCodes  = netip.MustParsePrefix("127.0.0.0/8")
	listErrors = netip.MustParsePrefix("127.255.255.0/24")
)

// lists asks all lists at once. Those that do not answer in time count nothing.
func (i *Inspector) lists(ctx context.Context, m Mail) listing {
	ctx, cancel := context.WithTimeout(ctx, listsTime)
	defer cancel()
	lists := i.o.Client.Lists
	answers := make([]func() []netip.Addr, len(lists))
	for n, l := range lists {
		answers[n] = beside(i, ctx, m, func(ctx context.Context, m Mail) []netip.Addr {
			codes, err := i.o.Resolver.Listed(ctx, m.Remote, l.Zone)
			if temporary(err) {
				return []netip.Addr{{}}
			}
			return codes
		}, []netip.Addr{{}})
	}
	r := listing{Verdict: Verdict{Check: "dnsbl", Result: none, local: true}}
	var on []string
	for n, l := range lists {
		score, listed, failed := l.judge(answers[n]())
		if failed {
			i.metrics.lists.WithLabelValues(l.Zone, "failed").Inc()
			if r.Result == none {
				r.Result = tempError
			}
		}
		if listed {
			i.metrics.lists.WithLabelValues(l.Zone, "listed").Inc()
			r.score += score
			r.Result = "listed"
			on = append(on, fmt.Sprintf("%s=%d", l.Zone, score))
		}
	}
	r.Comment = strings.Join(on, " ")
	return r
}

// judge reads the answers of one list: the highest score counts, or the lowest
// of a list of good addresses.
func (l DNSList) judge(codes []netip.Addr) (score int, listed, failed bool) {
	for _, code := range codes {
		if !listCodes.Contains(code) || listErrors.Contains(code) {
			failed = true
			continue
		}
		s := l.Score
		if len(l.Codes) > 0 {
			var known bool
			if s, known = l.Codes[code]; !known {
				continue
			}
		}
		if !listed || s > 0 && s > score || s < 0 && s < score {
			score = s
		}
		listed = true
	}
	return score, listed, failed
}
