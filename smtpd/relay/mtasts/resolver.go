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

	mu      sync.Mutex         // guards what follows
	entries map[string]*entry  // by domain; immutable
	swept   time.Time          // when expired files were last looked for
	failed  map[string]failure // fetches, by domain
}

// New makes a Resolver. It touches neither disk nor network.
func New(o Options) *Resolver {
	r := &Resolver{o: o, log: o.Logger, now: time.Now, entries: map[string]*entry{}, failed: map[string]failure{}}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.http = r.client()
	return r
}

// Get gives the policy that counts for domain now; ok is false if there is none.
// It waits for at most one question and one fetch, both bounded in time.
func (r *Resolver) Get(ctx context.Context, domain string) (p Policy, ok bool) {
	p, err := r.find(ctx, domain)
	return p, err == nil
}

// errNone means that the domain announces no policy.
var errNone = errors.New("no MTA-STS policy")

// find is Get with the reason: errNone, what kept a policy that is announced
// from being fetched, or the end of ctx.
func (r *Resolver) find(ctx context.Context, domain string) (Policy, error) {
	name, err := dns.ToASCII(domain)
	if err != nil { // an address literal, for one
		return Policy{}, errNone
	}
	done := r.flight.DoChan(name, func() (any, error) {
		// Others may wait for the answer when the first one gives up.
		return r.get(context.WithoutCancel(ctx), name)
	})
	select {
	case res := <-done:
		if e, _ := res.Val.(*entry); e != nil {
			return e.Policy, nil
		}
		return Policy{}, res.Err
	case <-ctx.Done():
		return Policy{}, ctx.Err()
	}
}

// get gives the entry to go by; nil comes with the reason.
func (r *Resolver) get(ctx context.Context, domain string) (*entry, error) {
	old := r.known(domain)
	texts, err := r.o.Resolver.TXT(ctx, "_mta-sts."+domain)
	id, published := RecordID(texts)
	if err != nil || !published {
		return old, errNone // no record does not end a policy (RFC 8461 section 5.1)
	}
	now := r.now()
	if old != nil && old.ID == id && now.Sub(old.Fetched) < min(refreshAfter, old.Policy.MaxAge/2) {
		return old, nil
	}
	if err := r.resting(domain, now); err != nil {
		return old, err
	}
	p, err := r.fetch(ctx, domain)
	if err != nil {
		r.log.Warn("no MTA-STS policy to be had", "domain", domain, "kept", old != nil, "err", err)
		r.rest(domain, now, err)
		return old, err
	}
	e := &entry{Version: entryVersion, Domain: domain, ID: id, Fetched: now.UTC(), Policy: p}
	r.remember(e)
	if err := r.save(e); err != nil {
		r.log.Warn("keeping an MTA-STS policy", "domain", domain, "err", err)
	}
	return e, nil
}

// failure is a fetch that failed, at a time.
type failure struct {
	at  time.Time
	err error
}

// resting gives the error of a fetch that failed a short while ago.
func (r *Resolver) resting(domain string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.failed[domain]; ok && now.Sub(f.at) < pause {
		return f.err
	}
	return nil
}

func (r *Resolver) rest(domain string, now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.failed) >= maxEntries {
		clear(r.failed)
	}
	r.failed[domain] = failure{now, err}
}

// Policy implements relay.Policy: in mode enforce, a host that the policy lists
// must prove its own name (RFC 8461 section 4.2), and any other is not used for
// now. In mode testing the same is looked at, and only reported.
func (r *Resolver) Policy(ctx context.Context, domain string, h relay.Host) (relay.Requirement, error) {
	p, err := r.find(ctx, domain)
	if err := ctx.Err(); err != nil {
		return relay.Requirement{}, fmt.Errorf("looking for the MTA-STS policy of %s: %w", domain, err)
	}
	q := relay.Requirement{Published: relay.Published{Type: relay.STS}}
	switch {
	case errors.Is(err, errNone), err == nil && p.Mode == None:
		return relay.Requirement{}, nil
	case err != nil:
		q.Flaw, q.Reason = failureOf(err), err.Error()
		return q, nil
	}
	q.Published.Text, q.Published.MX = p.lines(), p.MX
	if !p.Lists(h.Name) {
		q.Flaw, q.Reason = relay.InvalidTLS, h.Name+" is not listed in the policy"
	}
	switch {
	case p.Mode == Testing:
		q.Report, q.ID = true, "mta-sts testing"
		return q, nil
	case q.Flaw != "":
		return q, status.Wrap(errNotListed, 451, 7, 5, h.Name+" is not among the mail exchangers in the MTA-STS policy of "+domain)
	}
	q.Level, q.ID, q.SecureMX = relay.Verified, "mta-sts", true
	return q, nil
}

var errNotListed = errors.New("not listed in the MTA-STS policy")
