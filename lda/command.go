package lda

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/internal/status"
)

// Env is what the command is given by its process, so that it can run inside
// a test.
type Env struct {
	// UID and GID are the effective ids of the caller.
	UID, GID int
	// Getenv reads the environment: USER, LOGNAME and HOME of a caller that
	// gives no -d.
	Getenv func(name string) string
	// Self finds the identity of UID in the system's user list, for a caller
	// whose environment does not tell; nil means that it cannot be found.
	Self func() (asuser.Owner, error)
	// Configure reads the configuration file path, or the usual one if path is
	// empty; with ignore, none at all (-O).
	Configure func(ctx context.Context, path string, ignore bool) (CommandOptions, error)
	// Become turns the whole process, which is root's, into the owner's; nil
	// means the real thing. It does not come back to root.
	Become func(asuser.Owner) error
	// SpoolDir takes messages that are too large for memory; empty means the
	// system's directory for temporary files.
	SpoolDir string
}

// CommandOptions is what the configuration says.
type CommandOptions struct {
	// Agent delivers; its Aliases are not read, since the caller names a user.
	Agent Options
	// Socket is that of the daemon's hand-over, WayOut that of its RedirectCall;
	// without one, what a filter redirects is kept.
	Socket, WayOut string
	// Respond sends an answer of the filters of account; nil sends none.
	Respond func(ctx context.Context, account string, env message.Envelope, c *message.Content) error
	Settings
}

// Settings are those of Dovecot's settings that a caller may override with -o.
type Settings struct {
	// Autocreate and Autosubscribe make the folder of -m when it is missing
	// (lda_mailbox_autocreate, lda_mailbox_autosubscribe).
	Autocreate    bool `json:"autocreate,omitempty"`
	Autosubscribe bool `json:"autosubscribe,omitempty"`
	// FullTempfail makes a full mailbox a passing failure
	// (quota_full_tempfail).
	FullTempfail bool `json:"full_tempfail,omitempty"`
}

// spoolMemory is how much of a message is kept in memory, as in dovecot-lda.
const spoolMemory = 128 << 10

// Run is `mailsrvd lda`: it reads a message, delivers it to one local user and
// returns the exit code. args are those after the command's name.
//
// Who calls decides how: the user himself and a root process that becomes the
// user deliver directly; everybody else hands the message to the daemon, whose
// socket is open to the members of the mail group. No header field is added.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env Env) int {
	r := &run{ctx: ctx, env: env, stderr: stderr}
	a, err := parseArguments(args)
	if err != nil {
		return r.fail(err)
	}
	if a.help {
		io.WriteString(stdout, usage)
		return ExitOK
	}
	r.args = a
	code := r.fail(r.deliver(stdin))
	for _, w := range a.warnings { // not before the reason that -e writes, if the log is stderr too
		r.log().Warn(w)
	}
	return code
}

// run is one run of the command.
type run struct {
	ctx    context.Context
	env    Env
	args   *arguments
	opts   CommandOptions
	stderr io.Writer

	facts  headerFacts
	sender string
}

// exitError carries an exit code that does not follow from a status.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// tempFail is a failure that may heal.
func tempFail(format string, args ...any) error {
	return &exitError{ExitTempFail, fmt.Errorf(format, args...)}
}

// deliver is the command after its command line is read.
func (r *run) deliver(stdin io.Reader) error {
	var err error
	if r.opts, err = r.env.Configure(r.ctx, r.args.config, r.args.ignoreConfig); err != nil {
		return tempFail("Error reading configuration: %w", err)
	}
	if err := r.override(); err != nil {
		return err
	}
	way, err := r.way()
	if err != nil {
		return err
	}
	c, err := r.message(stdin)
	if err != nil {
		return tempFail("Can't read the message: %w", err)
	}
	defer c.Close()
	return way(c)
}

// log is the configured logger, once there is one.
func (r *run) log() *slog.Logger { return r.opts.Agent.withDefaults().Logger }

// override applies -o. Settings of Dovecot that mean nothing here are passed
// over, as callers have them in their command lines.
func (r *run) override() error {
	for _, s := range r.args.settings {
		var err error
		switch s.name {
		case "mail_location", "mail_path":
			err = r.setLocation(s.value)
		case "recipient_delimiter":
			r.opts.Agent.RecipientDelimiter = s.value
		case "lda_mailbox_autocreate":
			r.opts.Autocreate, err = yes(s.value)
		case "lda_mailbox_autosubscribe":
			r.opts.Autosubscribe, err = yes(s.value)
		case "quota_full_tempfail":
			r.opts.FullTempfail, err = yes(s.value)
		default:
			r.log().Debug("setting has no meaning here", "name", s.name)
		}
		if err != nil {
			return tempFail("Invalid -o parameter %s=%s: %w", s.name, s.value, err)
		}
	}
	return nil
}

// yes reads a boolean as Dovecot writes it.
func yes(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "yes", "y", "1", "true":
		return true, nil
	case "no", "n", "0", "false":
		return false, nil
	}
	return false, errors.New("neither yes nor no")
}

// setLocation takes Dovecot's mail_location.
func (r *run) setLocation(value string) error {
	path := strings.TrimPrefix(value, "maildir:")
	if strings.Contains(path, ":") {
		return errors.New("only maildir:path is known here")
	}
	if !strings.HasPrefix(path, "~/") && !strings.HasPrefix(path, "/") {
		return errors.New("the path must begin with / or ~/")
	}
	r.opts.Agent.Location = path
	return nil
}

// way decides how the message reaches the user, before it is read.
func (r *run) way() (func(*message.Content) error, error) {
	if r.args.user == "" {
		if r.env.UID == 0 {
			return nil, &exitError{ExitUsage, errors.New("destination user parameter (-d user) not given")}
		}
		acct, err := r.self()
		if err != nil {
			return nil, tempFail("Can't find the calling user: %w", err)
		}
		return r.direct(acct), nil
	}
	acct, err := lookupUser(r.ctx, r.opts.Agent, r.args.user)
	switch {
	case r.env.UID == 0:
		return r.asRoot(acct, err)
	case err == nil && !acct.Self && acct.Owner.UID == r.env.UID:
		return r.direct(acct), nil
	}
	// Another user's mail, an account that only the daemon can look up, or one
	// that is kept with the daemon's own identity, whatever that is.
	return r.handOver, nil
}

// self is the account of a caller without -d: as in dovecot-lda, USER and HOME
// of the environment are believed, since all happens with his own rights.
func (r *run) self() (auth.Account, error) {
	name := r.env.Getenv("USER")
	if name == "" {
		name = r.env.Getenv("LOGNAME")
	}
	if home := r.env.Getenv("HOME"); name != "" && strings.HasPrefix(home, "/") {
		return auth.Account{Name: name, Owner: asuser.Owner{Name: name, UID: r.env.UID, GID: r.env.GID, Home: home}}, nil
	}
	if r.env.Self == nil {
		return auth.Account{}, errors.New("neither USER and HOME nor the system tell who calls")
	}
	owner, err := r.env.Self()
	if err != nil {
		return auth.Account{}, err
	}
	return auth.Account{Name: owner.Name, Owner: owner}, nil
}

// asRoot is the way of a root process: it becomes the user first. An account
// that is kept with the daemon's own identity is the daemon's work.
func (r *run) asRoot(acct auth.Account, err error) (func(*message.Content) error, error) {
	switch {
	case errors.Is(err, auth.ErrNoUser):
		return nil, &exitError{ExitNoUser, err}
	case err != nil:
		return nil, tempFail("Can't look up %s: %w", r.args.user, err)
	case acct.Self || acct.Owner.UID == 0 || acct.Owner.GID == 0:
		return r.handOver, nil
	}
	become := r.env.Become
	if become == nil {
		become = becomeUser
	}
	direct := r.direct(acct)
	return func(c *message.Content) error {
		if err := become(acct.Owner); err != nil {
			return tempFail("Can't act as %s: %w", acct.Name, err)
		}
		return direct(c)
	}, nil
}

// message reads the message to its end and takes a From_ line off.
func (r *run) message(stdin io.Reader) (*message.Content, error) {
	if r.args.path != "" {
		f, err := os.Open(r.args.path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	body, sender, err := stripFromLine(stdin)
	if err != nil {
		return nil, err
	}
	r.sender = sender
	if r.args.sender != nil {
		r.sender = *r.args.sender
	}
	c, err := message.Spool(body, r.env.SpoolDir, spoolMemory, 0)
	if err != nil {
		return nil, err
	}
	if r.facts, err = contentFacts(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// direct delivers with the rights of this process.
func (r *run) direct(acct auth.Account) func(*message.Content) error {
	return func(c *message.Content) error {
		o := r.opts.Agent
		o.Aliases, o.Programs = nil, o.Programs.ofUser()
		o.Sieve = r.withWayOut(o.Sieve, acct)
		agent, err := New(o)
		if err != nil {
			return tempFail("%w", err)
		}
		folder, err := agent.save(r.ctx, delivery{
			account:   acct,
			env:       message.Envelope{Trace: observe.NewTrace(), ReversePath: r.sender},
			addresses: addressesOf(handover{Original: r.args.original, Final: r.args.final}),
			facts:     r.facts,
			detail:    detailOf(r.opts.Agent, r.args),
			folder:    r.args.mailbox,
			create:    r.opts.Autocreate,
			subscribe: r.opts.Autosubscribe,
			content:   c,
			failed:    r.folderFailed,
		})
		if err != nil {
			return err
		}
		r.saved(folder)
		return nil
	}
}

// detailOf is the detail of the recipient that the caller names.
func detailOf(o Options, a *arguments) string {
	for _, address := range []string{a.final, a.original, a.user} {
		if address == "" {
			continue
		}
		if local, _, err := splitAddress(address); err == nil {
			_, detail := splitDetail(local, o.RecipientDelimiter)
			return detail
		}
	}
	return ""
}

// lookupUser finds the account of -d: a name or an address, with or without a
// detail.
func lookupUser(ctx context.Context, o Options, user string) (auth.Account, error) {
	if o.Accounts == nil {
		return auth.Account{}, errors.New("no list of accounts is configured")
	}
	acct, err := o.Accounts.Lookup(ctx, user)
	if !errors.Is(err, auth.ErrNoUser) {
		return acct, err
	}
	local, domain, serr := splitAddress(user)
	if serr != nil {
		return acct, err
	}
	if base, detail := splitDetail(local, o.RecipientDelimiter); detail != "" || base != local {
		if domain != "" {
			base += "@" + domain
		}
		return o.Accounts.Lookup(ctx, base)
	}
	return acct, err
}

// saved and folderFailed write dovecot-lda's log lines.
func (r *run) saved(folder string) {
	r.log().Info("msgid="+r.facts.logID()+": "+fate(folder), "proto", "lda", "user", r.user(), "from", r.sender)
}

func (r *run) folderFailed(folder string, err error) {
	r.log().Info("msgid="+r.facts.logID()+": save failed to open mailbox "+folder, "proto", "lda", "user", r.user(), "err", err)
}

func (r *run) user() string {
	if r.args != nil && r.args.user != "" {
		return r.args.user
	}
	return r.env.Getenv("USER")
}

// fail says why and returns the exit code. With -e the first line is what a
// calling MTA may show: Postfix's pipe(8) takes an enhanced status code from
// its start.
func (r *run) fail(err error) int {
	if err == nil {
		return ExitOK
	}
	code := r.code(err)
	var bad *argumentError
	if errors.As(err, &bad) {
		fmt.Fprintf(r.stderr, "lda: Fatal: %v\n", err)
		if bad.usage {
			io.WriteString(r.stderr, usage)
		}
		return code
	}
	if r.args != nil && r.args.reason {
		fmt.Fprintln(r.stderr, reason(err, code))
	} else {
		fmt.Fprintf(r.stderr, "lda(%s): Error: msgid=%s: %s\n", r.user(), r.facts.logID(), printable(err.Error()))
	}
	r.log().Error("msgid="+r.facts.logID()+": save failed", "proto", "lda", "user", r.user(), "from", r.sender, "code", code, "err", err)
	return code
}

// code is the exit code of an error.
func (r *run) code(err error) int {
	if bad, ok := errors.AsType[*argumentError](err); ok {
		return bad.exit
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return exitCode(err, r.opts.FullTempfail)
}

// reason is what -e writes: an enhanced status code whose class fits the exit
// code, and a text.
func reason(err error, code int) string {
	s, ok := errors.AsType[*status.Error](err)
	if !ok {
		s = status.New(451, 3, 0, printable(err.Error()))
	}
	e := s.Enhanced
	switch code {
	case ExitTempFail:
		e[0] = 4
	case ExitNoUser:
		e = status.Enhanced{5, 1, 1}
	default:
		e[0] = 5
	}
	return e.String() + " " + s.Text
}
