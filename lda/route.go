package lda

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// maxDepth bounds how many aliases may lead to one another.
const maxDepth = 20

// reserved are the names that are accepted whether or not somebody has them
// (RFC 5321 section 4.5.1, RFC 2142 section 4; mailer-daemon is what people
// answer to, root is where the system's own mail goes). They lead to
// Options.Postmaster in the end.
func reserved(local string) bool {
	switch strings.ToLower(local) {
	case "postmaster", "abuse", "mailer-daemon", "root":
		return true
	}
	return false
}

// domains tells which domains are ours.
type domains struct {
	names map[string]bool
	// host holds the names of this machine, where only reserved names count.
	host map[string]bool
	// first is the domain of addresses without one.
	first string
}

func newDomains(o Options) domains {
	d := domains{names: map[string]bool{}, host: map[string]bool{"localhost": true, "localhost.localdomain": true}}
	for i, name := range o.Domains {
		name = canonicalDomain(name)
		d.names[name] = true
		if i == 0 {
			d.first = name
		}
	}
	if o.Hostname != "" {
		d.host[canonicalDomain(o.Hostname)] = true
	}
	return d
}

// local reports whether a canonical domain is ours; the empty one is, since
// the first domain is meant.
func (d domains) local(domain string) bool { return domain == "" || d.names[domain] }

// Route tells where an address leads: local accounts, programs, remote addresses, or
// nowhere at all (Route.Discard) when an alias throws its mail away. An address
// in a domain that is not ours leads to itself, as the only Remote; whether the
// client may send there is for the caller to say. The domain and the local part
// are taken without regard to case. Errors are *status.Error: 550 5.1.1 for
// nobody, 553 5.1.3 for what is no address, 451 when accounts cannot be looked
// up now or aliases lead in a circle.
func (a *Agent) Route(ctx context.Context, address string) (message.Route, error) {
	local, domain, err := splitAddress(address)
	if err != nil || local == "" {
		return message.Route{}, status.Wrap(err, 553, 1, 3, "Recipient address has invalid syntax")
	}
	x := &expansion{Agent: a, ctx: ctx, table: a.aliases.Load(), address: address}
	switch domain = canonicalDomain(domain); {
	case domain == "":
		domain = a.domains.first
	case a.domains.names[domain]:
	case reserved(local) && a.domains.host[domain]:
		domain = a.domains.first
	default:
		return message.Route{Remote: []string{address}}, nil
	}
	if err := x.name(local, domain, step{}); err != nil {
		return message.Route{}, a.routeError(ctx, address, err)
	}
	return x.route, nil
}

// errNobody means that a name has neither alias nor account.
var errNobody = errors.New("nobody has this name")

// routeError turns what went wrong into a status. Mistakes in aliases are
// ours: the mail waits until they are mended.
func (a *Agent) routeError(ctx context.Context, address string, err error) error {
	if errors.Is(err, errNobody) {
		return status.NoSuchUser(address)
	}
	var s *status.Error
	if !errors.As(err, &s) {
		s = status.Wrap(err, 451, 4, 3, "Address cannot be looked up now, try again later")
	}
	if s.Temporary() {
		a.o.Logger.WarnContext(ctx, "routing an address failed", "to", address, "err", err)
	}
	return s
}

// expansion is the work on one address.
type expansion struct {
	*Agent
	ctx   context.Context
	table *aliasTable
	// address is what is expanded, for Delivered-To and logs.
	address string
	route   message.Route
	// done are the aliases that have been followed: what two paths lead to is
	// delivered once.
	done map[*aliasEntry]bool
	// steps counts the names looked at.
	steps int
}

// step is where an expansion stands: the aliases that led here, and what they
// leave behind.
type step struct {
	chain []*aliasEntry
	// detail is that of the address before the aliases took its name away.
	detail string
	// user says that aliases do not count for this name.
	user bool
	// postmaster says that this name is the postmaster's already.
	postmaster bool
}

// name follows one local name: alias, account, postmaster, catch-all.
// errNobody means that there is none of them.
func (x *expansion) name(local, domain string, at step) error {
	if x.steps++; x.steps > x.o.MaxTargets || len(at.chain) > maxDepth {
		return status.New(451, 4, 3, "Address leads to too many others")
	}
	base, detail := splitDetail(local, x.o.RecipientDelimiter)
	err := x.aliasOrAccount(local, base, detail, domain, at)
	if !errors.Is(err, errNobody) {
		return err
	}
	if reserved(base) && x.o.Postmaster != "" && !at.postmaster {
		return x.toPostmaster(domain, at)
	}
	if e := x.table.catchAll(domain); e != nil && !at.has(e) {
		return x.alias(e, domain, at.with(e, detail))
	}
	return err
}

// aliasOrAccount follows the alias of a name if there is one, else finds its
// account.
func (x *expansion) aliasOrAccount(local, base, detail, domain string, at step) error {
	e := x.table.lookup(local, base, domain)
	if e == nil || at.user || at.endsWith(e) {
		return x.account(local, base, detail, at)
	}
	if strings.EqualFold(e.name, local) {
		detail = ""
	}
	return x.alias(e, domain, at.with(e, detail))
}

// toPostmaster follows Options.Postmaster. Mail to it is never refused: when
// the configuration names nobody, it waits.
func (x *expansion) toPostmaster(domain string, at step) error {
	to, err := parseTarget(x.o.Postmaster)
	if err == nil {
		at.postmaster = true
		err = x.target(to, domain, at)
	}
	if errors.Is(err, errNobody) {
		return status.New(451, 4, 3, "Postmaster cannot be reached now, try again later")
	}
	return err
}

// endsWith reports whether the last alias is e: an alias that names itself
// means the user.
func (s step) endsWith(e *aliasEntry) bool {
	return len(s.chain) > 0 && s.chain[len(s.chain)-1] == e
}

func (s step) has(e *aliasEntry) bool {
	for _, on := range s.chain {
		if on == e {
			return true
		}
	}
	return false
}

// with is the step after alias e. A detail that the alias did not use stays
// with the message.
func (s step) with(e *aliasEntry, detail string) step {
	s.chain = append(s.chain[:len(s.chain):len(s.chain)], e)
	if detail != "" {
		s.detail = detail
	}
	s.user = false
	return s
}

// alias follows all targets of e. Targets that nobody has are logged; errNobody
// only comes back when no target is left. at.chain ends with e.
func (x *expansion) alias(e *aliasEntry, domain string, at step) error {
	if step := (step{chain: at.chain[:len(at.chain)-1]}); step.has(e) {
		return status.New(451, 4, 6, "Address leads in a circle")
	}
	if x.done[e] {
		return nil
	}
	if x.done == nil {
		x.done = map[*aliasEntry]bool{}
	}
	x.done[e] = true
	missing := 0
	targets := x.table.targets(e)
	for _, to := range targets {
		err := x.target(to, domain, at)
		if errors.Is(err, errNobody) {
			missing++
			x.o.Logger.WarnContext(x.ctx, "alias names nobody", "alias", e.String(), "file", fmt.Sprintf("%s:%d", e.file, e.line), "to", to.String())
			continue
		}
		if err != nil {
			return err
		}
	}
	if missing == len(targets) {
		return errNobody
	}
	return nil
}

// target follows one target.
func (x *expansion) target(to target, domain string, at step) error {
	switch to.kind {
	case toNothing:
		x.route.Discard = true
		return nil
	case toUser:
		at.user = true
		return x.name(to.local, domain, at)
	case toProgram:
		return x.program(to.local, at)
	}
	if to.domain == "" {
		return x.name(to.local, domain, at)
	}
	own := canonicalDomain(to.domain)
	switch {
	case x.domains.names[own]:
		return x.name(to.local, own, at)
	case reserved(to.local) && x.domains.host[own]:
		return x.name(to.local, x.domains.first, at)
	}
	return x.remote(joinAddress(to.local, to.domain))
}

// program notes a program once.
func (x *expansion) program(command string, at step) error {
	for _, l := range x.route.Local {
		if l.Program == command {
			return nil
		}
	}
	if err := x.room(); err != nil {
		return err
	}
	x.route.Local = append(x.route.Local, message.Local{Program: command, Address: x.address, Detail: at.detail})
	return nil
}

// room is nil while an address leads to no more than it may.
func (x *expansion) room() error {
	if len(x.route.Remote)+len(x.route.Local) >= x.o.MaxTargets {
		return status.New(451, 4, 3, "Address leads to too many others")
	}
	return nil
}

// remote notes a remote address once.
func (x *expansion) remote(address string) error {
	for _, r := range x.route.Remote {
		if strings.EqualFold(r, address) {
			return nil
		}
	}
	if err := x.room(); err != nil {
		return err
	}
	x.route.Remote = append(x.route.Remote, address)
	return nil
}

// account notes a user once. The whole local part counts before the one
// without a detail, for names that have a delimiter in them.
func (x *expansion) account(local, base, detail string, at step) error {
	acct, err := x.lookup(local)
	if err == nil {
		detail = ""
	}
	if errors.Is(err, errNobody) && base != local {
		acct, err = x.lookup(base)
	}
	if err != nil {
		return err
	}
	if detail == "" {
		detail = at.detail
	}
	for _, l := range x.route.Local {
		if l.User == acct.Name {
			return nil
		}
	}
	x.route.Local = append(x.route.Local, message.Local{User: acct.Name, Address: x.address, Detail: detail})
	return nil
}

// lookup asks for an account; errNobody means that there is none.
func (x *expansion) lookup(name string) (auth.Account, error) {
	acct, err := x.o.Accounts.Lookup(x.ctx, name)
	if errors.Is(err, auth.ErrNoUser) {
		return auth.Account{}, errNobody
	}
	if err != nil {
		return auth.Account{}, status.Wrap(fmt.Errorf("looking up %s: %w", name, err), 451, 4, 3, "User cannot be looked up now, try again later")
	}
	return acct, nil
}

// checkTargets follows every alias and reports those that lead to nobody.
func checkTargets(ctx context.Context, o Options, table *aliasTable) []error {
	a := &Agent{o: o, domains: newDomains(o)}
	var problems []error
	for _, e := range table.entries() {
		domain := e.domain
		if domain == "" {
			domain = a.domains.first
		}
		for _, to := range table.targets(e) {
			x := &expansion{Agent: a, ctx: ctx, table: table}
			err := x.target(to, domain, step{}.with(e, ""))
			if errors.Is(err, errNobody) {
				err = errors.New("there is neither such a user nor such an alias")
			} else if err == nil || errors.As(err, new(*status.Error)) && !status.IsTemporary(err) {
				continue
			}
			problems = append(problems, &Problem{e.file, e.line, fmt.Sprintf("alias %s: %s: %v", e, to, err)})
		}
	}
	return append(problems, checkPostmaster(ctx, a, table)...)
}

// checkPostmaster makes sure that somebody reads what RFC 5321 section 4.5.1
// says must be accepted.
func checkPostmaster(ctx context.Context, a *Agent, table *aliasTable) []error {
	var problems []error
	for _, domain := range a.o.Domains {
		x := &expansion{Agent: a, ctx: ctx, table: table}
		if err := x.name("postmaster", canonicalDomain(domain), step{}); err != nil {
			problems = append(problems, fmt.Errorf("mail for postmaster@%s reaches nobody with Postmaster %q: %w", domain, a.o.Postmaster, err))
		}
	}
	return problems
}
