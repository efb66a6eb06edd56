package lda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/maildir"
)

// Accounts finds an account by its user name. It returns auth.ErrNoUser when
// there is none; any other error may heal. *auth.Authenticator is one.
type Accounts interface {
	Lookup(ctx context.Context, name string) (auth.Account, error)
}

// Options says how addresses lead to Maildirs.
type Options struct {
	// Accounts finds the accounts; it is needed.
	Accounts Accounts
	// Stores opens their Maildirs; it is needed.
	Stores *maildir.Stores
	// Location is where the mail of an account without a place of its own
	// lies; empty means "~/Maildir".
	Location string
	// Domains are the local domains. The first one is the domain of addresses
	// that have none.
	Domains []string
	// Hostname is this host's name: those four names are accepted at it although
	// it is no local domain.
	Hostname string
	// Postmaster gets the mail for postmaster, abuse, mailer-daemon and root
	// that no alias sends elsewhere: a user name or an address.
	Postmaster string
	// Aliases are read in this order.
	Aliases []AliasFile
	// AllowInclude lets aliases include other files (:include:/path).
	AllowInclude bool
	// Programs are those that aliases may pipe mail into (|/path); nil is none.
	Programs *Programs
	// RecipientDelimiter holds the characters that end a user name in a local
	// part and begin its detail (RFC 5233), usually "+"; empty means no details.
	RecipientDelimiter string
	// DetailFolder delivers into the folder named like the detail, where the
	// user has one.
	DetailFolder bool
	// QuotaWarning is the share of the quota, in percent, at which a user is warned
	// by a message; 0 is never.
	QuotaWarning int
	// Sieve are the filters; nil is none.
	Sieve *Sieve
	// MaxTargets bounds what one address leads to; 0 means 1000.
	MaxTargets int
	// Concurrency bounds the accounts that one message is delivered to at one
	// time; 0 means 8.
	Concurrency int
	// Logger gets one line per delivery; nil means none.
	Logger *slog.Logger
	// Registerer takes the metrics mailsrvd_lda_*; nil means none.
	Registerer prometheus.Registerer
}

// withDefaults fills the fields that are zero.
func (o Options) withDefaults() Options {
	if o.Location == "" {
		o.Location = "~/Maildir"
	}
	if o.MaxTargets <= 0 {
		o.MaxTargets = 1000
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 8
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Check returns all problems at once: of the options, each naming the field,
// and of the alias files, each a *Problem. It asks for the
// accounts that aliases name.
func (o Options) Check(ctx context.Context) error {
	o = o.withDefaults()
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.Accounts == nil {
		problem("Accounts: there is none")
	}
	if len(o.Domains) == 0 {
		problem("Domains: there is none; no mail is local")
	}
	for _, d := range o.Domains {
		if err := checkDomain(d); err != nil {
			problem("Domains: %q: %w", d, err)
		}
	}
	for _, f := range o.Aliases {
		if f.Domain != "" && !newDomains(o).local(canonicalDomain(f.Domain)) {
			problem("Aliases: %s is for %s, which is not among the local domains", f.Path, f.Domain)
		}
	}
	if _, err := newFilters(o.Sieve); err != nil {
		problems = append(problems, fmt.Errorf("Sieve: %w", err))
	}
	for _, err := range o.Programs.check() {
		problem("Programs: %w", err)
	}
	table := loadAliases(ctx, o)
	for _, p := range table.problems {
		problems = append(problems, p)
	}
	if o.Accounts != nil && len(o.Domains) > 0 {
		problems = append(problems, checkTargets(ctx, o, table)...)
	}
	return errors.Join(problems...)
}

// Agent routes addresses and delivers messages to local accounts. It is safe
// for concurrent use.
type Agent struct {
	o       Options
	domains domains
	filters *filters // nil without Sieve
	runner  *runner  // nil without Programs
	aliases atomic.Pointer[aliasTable]
	metrics metrics
}

// New returns an Agent with its aliases loaded. A problem in an alias file is
// an error: mail for a wrong alias would go astray.
func New(o Options) (*Agent, error) {
	o = o.withDefaults()
	if o.Accounts == nil || o.Stores == nil {
		return nil, errors.New("lda: Accounts and Stores are needed")
	}
	a := &Agent{o: o, domains: newDomains(o)}
	if err := a.Reload(context.Background()); err != nil {
		return nil, err
	}
	var err error
	if a.filters, err = newFilters(o.Sieve); err != nil {
		return nil, err
	}
	if a.runner, err = newRunner(o.Programs); err != nil {
		return nil, err
	}
	if a.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload reads the alias files again and takes the new aliases all at once.
// If there is any problem it returns all of them joined, each a *Problem, and
// goes on with the aliases it had.
func (a *Agent) Reload(ctx context.Context) error {
	table := loadAliases(ctx, a.o)
	if len(table.problems) > 0 {
		problems := make([]error, len(table.problems))
		for i, p := range table.problems {
			problems[i] = p
		}
		return fmt.Errorf("loading the aliases: %w", errors.Join(problems...))
	}
	a.aliases.Store(table)
	return nil
}

// store returns the Maildir of an account.
func (a *Agent) store(acct auth.Account) *maildir.Store {
	return a.o.Stores.Store(acct.Owner, acct.MaildirPath(a.o.Location))
}
