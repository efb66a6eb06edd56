// Package managesieve serves ManageSieve (RFC 5804): with it mail programs put
// filter scripts where deliveries find them, and say which one counts.
//
// One goroutine serves one connection. It reads a whole command (lexer.go), looks
// it up in one table that says when it is allowed and which arguments it has
// (commands.go), runs it, and writes one reply. Files are the store's business
// (store.go), always with the user's own rights, in the places and with the links
// that Pigeonhole, Dovecot's Sieve, uses: either server may follow the other.
//
// Three invariants: a script that is refused leaves everything as it was; one that
// is taken is on disk; and whatever stands in the place of the active script, a
// file of its own included, is never lost.
package managesieve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/lda/sieve"
)

// Authenticator checks a login. Its error is an *auth.Error; *auth.Authenticator
// satisfies it.
type Authenticator interface {
	Authenticate(context.Context, auth.Credentials) (auth.Account, error)
}

// Options says how a Server behaves. Auth is needed; every other zero value is a
// safe default.
type Options struct {
	// Hostname is in the greeting.
	Hostname string
	// Auth checks logins.
	Auth Authenticator
	// Language says what scripts may do; its Include finds the scripts that all
	// users share. It is asked at each command, so that a reload counts at once.
	// nil means the zero sieve.Options.
	Language func() sieve.Options
	// TLS is for STARTTLS; nil means that it is not offered.
	TLS *tls.Config
	// InsecureAuth lets clients log in without TLS: for tests.
	InsecureAuth bool
	// Limits bound what a client may cost.
	Limits Limits
	// Logger gets one line per session, one per change of a script, and every
	// fault of ours; nil means none.
	Logger *slog.Logger
	// Registerer takes the metrics mailsrvd_managesieve_*; nil means none.
	Registerer prometheus.Registerer
}

// Limits bound what a client may cost, beside the size of a script, which is
// sieve.Limits.ScriptSize. The zero value of every field means its default.
type Limits struct {
	// Scripts is how many scripts a user may have; default 500.
	Scripts int
	// Handshake is how long a TLS handshake may take; default 30 seconds.
	Handshake time.Duration
	// LoginTime is how long a connection may take to log in; default 3 minutes.
	LoginTime time.Duration
	// Idle is how long a client may say nothing after login; default 30 minutes, as
	// with IMAP.
	Idle time.Duration
	// Stall is how long a client may stop in the middle of a command, or not take
	// what we write; default 2 minutes.
	Stall time.Duration
	// LoginFailures is how many failed logins end a connection; default 3.
	LoginFailures int
	// BadCommands is how many commands in a row that are not understood end a
	// connection; default 20, five before login.
	BadCommands int
	// PerUser is how many connections a user may have; default 20.
	PerUser int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Scripts:       cmp.Or(l.Scripts, 500),
		Handshake:     cmp.Or(l.Handshake, 30*time.Second),
		LoginTime:     cmp.Or(l.LoginTime, 3*time.Minute),
		Idle:          cmp.Or(l.Idle, 30*time.Minute),
		Stall:         cmp.Or(l.Stall, 2*time.Minute),
		LoginFailures: cmp.Or(l.LoginFailures, 3),
		BadCommands:   cmp.Or(l.BadCommands, 20),
		PerUser:       cmp.Or(l.PerUser, 20),
	}
}

// Check returns all problems of the options at once, each beginning with the
// field's name.
func (o Options) Check(context.Context) error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.Auth == nil {
		problem("Auth: there is none")
	}
	if o.Limits.Scripts < 0 {
		problem("Limits.Scripts: %d is negative", o.Limits.Scripts)
	}
	return errors.Join(problems...)
}

// Refusal is the line for listen.Options.Refusal: what a client over a limit hears
// in place of the greeting.
const Refusal = "BYE (TRYLATER) \"Too many connections, try again later\"\r\n"

// Server serves any number of listeners. Its methods are safe for concurrent use.
type Server struct {
	options  Options
	limits   Limits
	log      *slog.Logger
	metrics  *metrics
	commands map[string]command

	ctx    context.Context // of all work; ends when Shutdown loses patience
	cancel context.CancelFunc

	listeners listen.Group

	mu    sync.Mutex       // guards what follows
	users map[string]*user // those who are logged in, by account name

	done sync.WaitGroup // sessions
}

// user is what the sessions of one user share.
type user struct {
	sessions int // guarded by Server.mu
	// turn is held while files are read or changed, so that no session acts on
	// what another is just changing.
	turn chan struct{}
}

// New returns a Server, or all that Options.Check finds wrong.
func New(o Options) (*Server, error) {
	if err := o.Check(context.Background()); err != nil {
		return nil, fmt.Errorf("setting up ManageSieve: %w", err)
	}
	o.Hostname = cmp.Or(o.Hostname, "localhost")
	if o.Language == nil {
		o.Language = func() sieve.Options { return sieve.Options{} }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	srv := &Server{
		options: o, limits: o.Limits.withDefaults(), log: o.Logger, metrics: newMetrics(o.Registerer),
		commands: commandTable(), users: make(map[string]*user),
	}
	srv.ctx, srv.cancel = context.WithCancel(context.Background())
	return srv, nil
}

// language is what scripts may do now, with all limits set.
func (srv *Server) language() sieve.Options {
	o := srv.options.Language()
	o.Limits = o.Limits.WithDefaults()
	return o
}

// Serve accepts connections from ln until ctx ends, Shutdown is called or ln
// fails, and closes ln. Its connections live on; Shutdown ends them. It returns nil
// unless ln failed. If ln is no *listen.Listener, it is wrapped into one without
// limits.
func (srv *Server) Serve(ctx context.Context, ln net.Listener) error {
	tracked, ok := ln.(*listen.Listener)
	if !ok {
		tracked = listen.New(ln, listen.Options{Name: "managesieve", Logger: srv.log})
	}
	defer tracked.Close()
	if !srv.listeners.Add(tracked) {
		return nil
	}
	defer context.AfterFunc(ctx, func() { tracked.Close() })()
	for {
		conn, err := tracked.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting ManageSieve connections: %w", err)
		}
		// Shutdown waits for the connection, which is closed after this, before it
		// waits for the session.
		srv.done.Go(func() { newSession(srv, conn).serve() })
	}
}

// Shutdown stops accepting, says goodbye to idle clients at once and to busy ones
// after their command, and waits for them. When ctx ends first, the rest are cut
// off, and the error says how many there were.
func (srv *Server) Shutdown(ctx context.Context) error {
	stop := context.AfterFunc(ctx, srv.cancel)
	defer stop()
	err := srv.listeners.Drain(ctx)
	srv.done.Wait()
	srv.cancel()
	if err != nil {
		return fmt.Errorf("shutting down ManageSieve: %w", err)
	}
	return nil
}

// enter counts a session of a user; it returns nil if he has too many.
func (srv *Server) enter(name string) *user {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	u := srv.users[name]
	if u == nil {
		u = &user{turn: make(chan struct{}, 1)}
		srv.users[name] = u
	}
	if u.sessions >= srv.limits.PerUser {
		return nil
	}
	u.sessions++
	return u
}

// leave undoes enter.
func (srv *Server) leave(name string) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	u := srv.users[name]
	if u.sessions--; u.sessions == 0 {
		delete(srv.users, name)
	}
}
