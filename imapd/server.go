// Package imapd serves IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051) with
// extensions over the mailboxes of package maildir.
//
// One goroutine serves one connection, from the greeting to the end: it reads
// a command, runs it, writes what the mailbox has to tell, and the tagged
// reply. Commands are in one table (commands.go) that says in which states they
// are allowed and what may be reported while they run; nothing else decides
// about order. Several invariants hold everywhere:
//
//   - The network is never written to, nor read from, under a lock of ours or
//     of a mailbox.
//   - Answers are collected and flushed when the next read would block, or the
//     buffer is full; never line by line.
//   - What a client believes about a mailbox (its sequence numbers) is the
//     session's view, and changes only where the protocol allows it to.
//   - While a connection waits, it holds neither buffers nor a second
//     goroutine; changes wake its blocked read.
//   - A refused command is skipped to its true end, or the connection closed.
package imapd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/maildir"
)

// Authenticator checks a login. Its error is an *auth.Error; *auth.Authenticator
// satisfies it.
type Authenticator interface {
	Authenticate(context.Context, auth.Credentials) (auth.Account, error)
}

// Options says how a Server behaves. Auth and Stores are needed; every other
// zero value is a safe default.
type Options struct {
	// Hostname is in the greeting.
	Hostname string
	// Version is what ID tells (RFC 2971); empty tells none.
	Version string
	// Auth checks logins.
	Auth Authenticator
	// Stores are the mailboxes.
	Stores *maildir.Stores
	// Location is where the mail of an account lies that names no place of its
	// own; empty means "~/Maildir".
	Location string
	// TLS is for STARTTLS; nil means that it is not offered. Connections with
	// implicit TLS come from their listener as *tls.Conn.
	TLS *tls.Config
	// InsecureAuth lets clients log in without TLS: for tests.
	InsecureAuth bool
	// SpoolDir is where large messages are kept while they are received; empty
	// means the system's place for temporary files.
	SpoolDir string
	// Limits bound what a client may cost.
	Limits Limits
	// DisableCapabilities are names that are neither advertised nor served.
	DisableCapabilities []string
	// DisableFor has more of them for single users, by account name: for clients
	// that stumble over something.
	DisableFor map[string][]string
	// Logger gets one line per session and every fault of ours; nil means none.
	Logger *slog.Logger
	// Registerer takes the metrics mailsrvd_imapd_*; nil means none.
	Registerer prometheus.Registerer
}

// Limits bound what a client may cost. The zero value of every field means its
// default.
type Limits struct {
	// AppendSize is the largest message taken by APPEND in bytes; default 50
	// MiB.
	AppendSize int64
	// Line is the longest command line in bytes after login; default 64 KiB.
	Line int
	// Literal is the longest literal in bytes that is no message; those of one
	// command may have four times as much together. Default 64 KiB.
	Literal int
	// BeforeLogin is the longest command line in bytes before login; default 8
	// KiB. Literals may have half of it.
	BeforeLogin int
	// Handshake is how long a TLS handshake may take; default 30 seconds.
	Handshake time.Duration
	// LoginTime is how long a connection may take to log in; default 3 minutes.
	LoginTime time.Duration
	// Idle is how long a client may say nothing after login; default 30
	// minutes, which is also the least that RFC 9051 section 5.4 allows.
	Idle time.Duration
	// Stall is how long a client may stop in the middle of a command, or not
	// take what we write; default 2 minutes.
	Stall time.Duration
	// LoginFailures is how many failed logins end a connection; default 3.
	LoginFailures int
	// BadCommands is how many commands in a row that are not understood end a
	// connection; default 20.
	BadCommands int
	// PerUser is how many connections a user may have; default 100.
	PerUser int
	// SearchKeys is how many keys one search may have; default 1,000.
	SearchKeys int
	// NotifyMailboxes is how many mailboxes beside the selected one a session may
	// follow (RFC 5465); default 200.
	NotifyMailboxes int
	// Depth is how deep parentheses, NOT and OR may nest; default 200.
	Depth int
}

func (l Limits) withDefaults() Limits {
	return Limits{
		AppendSize:    cmp.Or(l.AppendSize, 50<<20),
		Line:          cmp.Or(l.Line, 64<<10),
		Literal:       cmp.Or(l.Literal, 64<<10),
		BeforeLogin:   cmp.Or(l.BeforeLogin, 8<<10),
		Handshake:     cmp.Or(l.Handshake, 30*time.Second),
		LoginTime:     cmp.Or(l.LoginTime, 3*time.Minute),
		Idle:          cmp.Or(l.Idle, 30*time.Minute),
		Stall:         cmp.Or(l.Stall, 2*time.Minute),
		LoginFailures: cmp.Or(l.LoginFailures, 3),
		BadCommands:   cmp.Or(l.BadCommands, 20),
		PerUser:       cmp.Or(l.PerUser, 100),
		SearchKeys:    cmp.Or(l.SearchKeys, 1000),
		Depth:         cmp.Or(l.Depth, 200),

		NotifyMailboxes: cmp.Or(l.NotifyMailboxes, 200),
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
	if o.Stores == nil {
		problem("Stores: there are none")
	}
	if o.Limits.AppendSize < 0 || o.Limits.AppendSize > 1<<32-1 {
		problem("Limits.AppendSize: %d is not between 0 and 4294967295", o.Limits.AppendSize)
	}
	if o.Limits.Line < 0 || o.Limits.Line > 0 && o.Limits.Line < 8<<10 {
		problem("Limits.Line: %d is less than the 8192 that clients rely on", o.Limits.Line)
	}
	if o.Limits.Idle < 0 || o.Limits.Idle > 0 && o.Limits.Idle < 30*time.Minute {
		problem("Limits.Idle: %v is less than the 30m that RFC 9051 demands", o.Limits.Idle)
	}
	for _, name := range o.DisableCapabilities {
		if !canBeDisabled(name) {
			problem("DisableCapabilities: %q is not a capability that can be disabled", name)
		}
	}
	for user, names := range o.DisableFor {
		for _, name := range names {
			if !canBeDisabled(name) {
				problem("DisableFor: %s: %q is not a capability that can be disabled", user, name)
			}
		}
	}
	return errors.Join(problems...)
}

// Server serves any number of listeners. Its methods are safe for concurrent
// use.
type Server struct {
	options Options
	limits  Limits
	log     *slog.Logger
	metrics *metrics
	profile *profile            // of everybody
	users   map[string]*profile // of users of whom less is offered

	unknown    *command // for the metrics of what is no command
	searchKeys map[string]func(*searchParser) predicate
	searching  chan struct{} // slots of goroutines that search

	ctx    context.Context // of all work; ends when Shutdown gives up
	cancel context.CancelCauseFunc

	mu       sync.Mutex // guards what follows
	closing  bool
	ln       map[net.Listener]struct{}
	sessions map[*session]struct{}
	count    map[string]int // sessions by account name
	done     sync.WaitGroup // sessions
}

// errShutdown is the cause of the context that Shutdown ends.
var errShutdown = errors.New("server is shutting down")

// New returns a Server, or all that Options.Check finds wrong.
func New(o Options) (*Server, error) {
	if err := o.Check(context.Background()); err != nil {
		return nil, fmt.Errorf("setting up IMAP: %w", err)
	}
	o.Location = cmp.Or(o.Location, "~/Maildir")
	o.Hostname = cmp.Or(o.Hostname, "localhost")
	srv := &Server{
		options:  o,
		limits:   o.Limits.withDefaults(),
		log:      o.Logger,
		metrics:  newMetrics(o.Registerer),
		ln:       make(map[net.Listener]struct{}),
		sessions: make(map[*session]struct{}),
		count:    make(map[string]int),
		users:    make(map[string]*profile),
	}
	srv.profile = srv.newProfile(nil)
	for user, disabled := range o.DisableFor {
		srv.users[user] = srv.newProfile(disabled)
	}
	srv.unknown = &command{commandRow: commandRow{name: "unknown"}}
	srv.unknown.prepare(srv.metrics)
	srv.searchKeys = searchKeyTable()
	srv.searching = make(chan struct{}, runtime.GOMAXPROCS(0))
	if srv.log == nil {
		srv.log = slog.New(slog.DiscardHandler)
	}
	srv.ctx, srv.cancel = context.WithCancelCause(context.Background())
	return srv, nil
}

// Serve accepts connections from ln until ctx ends, Shutdown is called or ln
// fails, and closes ln. Its connections live on; only Shutdown ends them. It
// returns nil unless ln failed.
func (srv *Server) Serve(ctx context.Context, ln net.Listener) error {
	if !srv.track(ln) {
		ln.Close()
		return nil
	}
	defer srv.untrack(ln)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || srv.isClosing() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("accepting IMAP connections: %w", err)
		}
		srv.start(conn)
	}
}

// start serves conn in the background.
func (srv *Server) start(conn net.Conn) {
	s := newSession(srv, conn)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closing {
		conn.Close()
		return
	}
	srv.sessions[s] = struct{}{}
	srv.done.Add(1)
	srv.metrics.connections.Inc()
	go func() {
		defer srv.done.Done()
		s.serve()
		srv.metrics.connections.Dec()
		srv.mu.Lock()
		delete(srv.sessions, s)
		srv.mu.Unlock()
	}()
}

func (srv *Server) track(ln net.Listener) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closing {
		return false
	}
	srv.ln[ln] = struct{}{}
	return true
}

func (srv *Server) untrack(ln net.Listener) {
	ln.Close()
	srv.mu.Lock()
	delete(srv.ln, ln)
	srv.mu.Unlock()
}

func (srv *Server) isClosing() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.closing
}

// Shutdown stops accepting, tells idle clients goodbye at once and busy ones
// after their command, and waits for them. When ctx ends, the rest are cut off
// and its error is returned.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.mu.Lock()
	srv.closing = true
	for ln := range srv.ln {
		ln.Close()
	}
	for s := range srv.sessions {
		s.wake.fire(wakeShutdown)
	}
	srv.mu.Unlock()

	done := make(chan struct{})
	go func() {
		srv.done.Wait()
		close(done)
	}()
	select {
	case <-done:
		srv.cancel(errShutdown)
		return nil
	case <-ctx.Done():
	}
	srv.cancel(errShutdown)
	srv.mu.Lock()
	n := len(srv.sessions)
	for s := range srv.sessions {
		s.cut()
	}
	srv.mu.Unlock()
	<-done
	return fmt.Errorf("%d IMAP connections cut off: %w", n, context.Cause(ctx))
}

// enter counts a session of a user, unless he has too many.
func (srv *Server) enter(user string) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.count[user] >= srv.limits.PerUser {
		return false
	}
	srv.count[user]++
	return true
}

// leave undoes enter.
func (srv *Server) leave(user string) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.count[user]--; srv.count[user] <= 0 {
		delete(srv.count, user)
	}
}
