package mtasts

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/smtpd/relay"
)

// Options say where policies come from. Resolver is needed.
type Options struct {
	// Resolver finds the records, and the addresses of the policy hosts.
	Resolver *dns.Resolver
	// Dir keeps policies over a restart; it is made when the first one is
	// written. Empty means memory only.
	Dir string
	// RootCAs verify the policy hosts; nil means the system's.
	RootCAs *x509.CertPool
	// Dial opens a connection to "mta-sts.<domain>:443"; nil asks Resolver.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Logger may be nil.
	Logger *slog.Logger
}

const (
	// refreshAfter is when a policy whose id has not changed is fetched again,
	// so that one in steady use never runs out (RFC 8461 section 3.3).
	refreshAfter = 24 * time.Hour
	// pause follows a fetch that failed, as that section suggests.
	pause = 5 * time.Minute
)

// Resolver finds the policy of a domain. It is safe for concurrent use.
type Resolver struct {
	o      Options
	http   *http.Client
	log    *slog.Logger
	now    func() time.Time
	flight singleflight.Group

	mu      sync.Mutex           // guards what follows
	entries map[string]*entry    // by domain; immutable
	failed  map[string]time.Time // when a fetch last failed
}

// New makes a Resolver. It touches neither disk nor network.
func New(o Options) *Resolver {
	r := &Resolver{o: o, log: o.Logger, now: time.Now, entries: map[string]*entry{}, failed: map[string]time.Time{}}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.http = r.client()
	return r
}

// Get gives the policy that counts for domain now; ok is false if there is none.
// It waits for at most one question and one fetch, both bounded in time.
func (r *Resolver) Get(ctx context.Context, domain string) (p Policy, ok bool) {
	name, err := dns.ToASCII(domain)
	if err != nil { // an address literal, for one
		return Policy{}, false
	}
	done := r.flight.DoChan(name, func() (any, error) {
		// Others may wait for the answer when the first one gives up.
		return r.get(context.WithoutCancel(ctx), name), nil
	})
	select {
	case res := <-done:
		if e, _ := res.Val.(*entry); e != nil {
			return e.Policy, true
		}
	case <-ctx.Done():
	}
	return Policy{}, false
}

func (r *Resolver) get(ctx context.Context, domain string) *entry {
	old := r.known(domain)
	texts, err := r.o.Resolver.TXT(ctx, "_mta-sts."+domain)
	id, published := recordID(texts)
	if err != nil || !published {
		return old // no record does not end a policy (RFC 8461 section 5.1)
	}
	now := r.now()
	if old != nil && old.ID == id && now.Sub(old.Fetched) < min(refreshAfter, old.Policy.MaxAge/2) || r.resting(domain, now) {
		return old
	}
	p, err := r.fetch(ctx, domain)
	if err != nil {
		r.log.Warn("no MTA-STS policy to be had", "domain", domain, "kept", old != nil, "err", err)
		r.rest(domain, now)
		return old
	}
	e := &entry{Version: entryVersion, Domain: domain, ID: id, Fetched: now.UTC(), Policy: p}
	r.remember(e)
	if err := r.save(e); err != nil {
		r.log.Warn("keeping an MTA-STS policy", "domain", domain, "err", err)
	}
	return e
}

// resting reports whether a fetch failed a short while ago.
func (r *Resolver) resting(domain string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.failed[domain]
	return ok && now.Sub(at) < pause
}

func (r *Resolver) rest(domain string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failed) >= maxEntries {
		clear(r.failed)
	}
	r.failed[domain] = now
}

// Policy implements relay.Policy: in mode enforce, a host that the policy lists
// must prove its own name (RFC 8461 section 4.2), and any other is not used for
// now. Mode testing changes nothing but the log.
func (r *Resolver) Policy(ctx context.Context, domain string, h relay.Host) (relay.Requirement, error) {
	p, ok := r.Get(ctx, domain)
	if err := ctx.Err(); err != nil {
		return relay.Requirement{}, fmt.Errorf("looking for the MTA-STS policy of %s: %w", domain, err)
	}
	if !ok || p.Mode == None {
		return relay.Requirement{}, nil
	}
	listed := p.Lists(h.Name)
	switch {
	case p.Mode == Testing:
		if !listed {
			r.log.Info("a mail exchanger is not in the domain's MTA-STS policy, which is for testing", "domain", domain, "remote", h.Name)
		}
		return relay.Requirement{}, nil
	case !listed:
		return relay.Requirement{}, status.Wrap(errNotListed, 451, 7, 5, h.Name+" is not among the mail exchangers in the MTA-STS policy of "+domain)
	}
	return relay.Requirement{Level: relay.Verified, ID: "mta-sts", SecureMX: true}, nil
}

var errNotListed = errors.New("not listed in the MTA-STS policy")
