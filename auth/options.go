package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options says how accounts are found and guessing is slowed down. The zero
// value of every field but Backend is a safe default.
type Options struct {
	// Backend judges passwords; it is needed.
	Backend Backend
	// Domains are the local domains: "user@domain" means "user" for each of
	// them, and an error for all others.
	Domains []string
	// MinUID is the smallest uid that may have mail; 0 means 1000. uid 0 is
	// refused always. Accounts with Self set are exempt.
	MinUID int
	// AllowNets are networks whose clients are never slowed down or limited:
	// one's own web mail, monitoring.
	AllowNets []netip.Prefix
	// FailureDelay is the time after which a failure is answered, whatever the
	// reason, so that time tells nothing about it; 0 means 2 s, less than 0
	// none.
	FailureDelay time.Duration
	// MaxDelay is the longest time that an attempt waits after many failures;
	// 0 means 15 s, less than 0 none.
	MaxDelay time.Duration
	// MaxPerNetwork bounds the attempts of one IPv4 address or IPv6 /64 that
	// are under way at one time; 0 means 16.
	MaxPerNetwork int
	// MaxWait is how long an attempt waits for its turn; 0 means 10 s.
	MaxWait time.Duration
	// CacheTTL is how long a good password is remembered; 0 means 2 minutes,
	// less than 0 not at all. A changed password or a locked account takes
	// effect after this time at the latest.
	CacheTTL time.Duration
	// VerifyTimeout bounds one answer of the back end; 0 means 30 s.
	VerifyTimeout time.Duration
	// Failed is told of each wrong password from a network from which its user has
	// not logged in before, and which is not in AllowNets; nil for nobody. guess is
	// the same for the same name and password.
	Failed func(remote netip.Addr, guess uint64)
	// Logger gets one line per failed attempt; nil means none.
	Logger *slog.Logger
	// Registerer takes the metrics mailsrvd_auth_*; nil means none.
	Registerer prometheus.Registerer
}

// withDefaults fills the fields that are zero; less than zero becomes zero.
func (o Options) withDefaults() Options {
	o.MinUID = cmp.Or(o.MinUID, 1000)
	o.FailureDelay = max(cmp.Or(o.FailureDelay, 2*time.Second), 0)
	o.MaxDelay = max(cmp.Or(o.MaxDelay, 15*time.Second), 0)
	o.MaxPerNetwork = cmp.Or(o.MaxPerNetwork, 16)
	o.MaxWait = cmp.Or(o.MaxWait, 10*time.Second)
	o.CacheTTL = max(cmp.Or(o.CacheTTL, 2*time.Minute), 0)
	o.VerifyTimeout = cmp.Or(o.VerifyTimeout, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Check returns all problems of the options at once, each beginning with the
// field's name. The back ends have a Check of their own.
func (o Options) Check(context.Context) error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.Backend == nil {
		problem("Backend: there is none")
	}
	for _, d := range o.Domains {
		if !plausibleDomain(d) {
			problem("Domains: %q is no domain name", d)
		}
	}
	if o.MinUID < 0 {
		problem("MinUID: %d is less than 0", o.MinUID)
	}
	if o.MaxPerNetwork < 0 {
		problem("MaxPerNetwork: %d is less than 0", o.MaxPerNetwork)
	}
	if o.CacheTTL > time.Hour {
		problem("CacheTTL: %v is too long; a locked account would stay open for so long", o.CacheTTL)
	}
	if o.FailureDelay > 30*time.Second || o.MaxDelay > 2*time.Minute {
		problem("FailureDelay, MaxDelay: clients give up before %v", max(o.FailureDelay, o.MaxDelay))
	}
	for _, p := range o.AllowNets {
		if !p.IsValid() {
			problem("AllowNets: an invalid network")
		}
	}
	return errors.Join(problems...)
}

func plausibleDomain(d string) bool {
	d = canonicalDomain(d)
	return d != "" && len(d) <= 253 && !strings.HasPrefix(d, ".") && !strings.Contains(d, "..") &&
		!strings.ContainsFunc(d, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
		})
}
