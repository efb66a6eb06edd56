package smtpd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/inbound"
	"svc.plus/mailsrvd/smtpd/inbound/filter"
)

// Mode is the policy of a Server.
type Mode int

// The modes.
const (
	// MX takes mail from anybody for local recipients and relays nothing.
	MX Mode = iota
	// Submission takes mail from users who logged in, to anywhere (RFC 6409).
	Submission
	// LMTP takes mail from other programs for local recipients and answers for
	// each of them (RFC 2033). Who may connect is the socket's business.
	LMTP
	// Local is Submission on a Unix socket, where the kernel tells who the user
	// is (SO_PEERCRED): for the sendmail command.
	Local
)

// String gives the name used in logs and metrics.
func (m Mode) String() string {
	return [...]string{MX: "mx", Submission: "submission", LMTP: "lmtp", Local: "local"}[m]
}

// submits reports whether the client is one of our users.
func (m Mode) submits() bool { return m == Submission || m == Local }

// Router says where an address leads. Its errors are *status.Error; others
// count as temporary. For an address in no local domain it returns a Route
// with that address alone as Remote. It knows the postmaster of each local
// domain. Safe for concurrent use.
type Router interface {
	Route(ctx context.Context, address string) (message.Route, error)
}

// Deliverer puts a message into local mailboxes. It returns one error per
// element of to: nil when the message is durable there, else a *status.Error
// (others count as temporary). Safe for concurrent use.
type Deliverer interface {
	Deliver(ctx context.Context, env message.Envelope, c *message.Content, to []message.Local) []error
}

// Queue takes over what is not delivered at once: when Enqueue returns nil, the
// message is durable. Safe for concurrent use.
type Queue interface {
	Enqueue(ctx context.Context, env message.Envelope, c *message.Content) error
}

// Authenticator judges logins; *auth.Authenticator is one. Its errors are
// *auth.Error; others count as temporary. Safe for concurrent use.
type Authenticator interface {
	Authenticate(ctx context.Context, c auth.Credentials) (auth.Account, error)
}

// Signer makes DKIM signatures; *dkim.Signer is one. Match tells the domain to
// sign as for an author in the given one; not ok means no key, and the message
// goes unsigned. Sign returns whole lines with CRLF to stand before the message.
// Safe for concurrent use.
type Signer interface {
	Match(domain string) (signAs string, ok bool)
	Sign(ctx context.Context, signAs string, c *message.Content) ([]byte, error)
}

// Allowance bounds what a user may send. May asks whether one more message to so
// many recipients may be sent, Take also counts it. Their errors are
// *status.Error. Safe for concurrent use.
type Allowance interface {
	May(account string, recipients int) error
	Take(account string, recipients int) error
}

// Options are what a Server needs. Hostname, Router, Deliverer and Queue are
// always needed, Domains except for tests of the Router alone, Auth and TLS
// for Submission.
type Options struct {
	Mode Mode
	// Hostname is the name in the greeting and in Received fields.
	Hostname string
	// Domains are the local domains. MX and LMTP refuse recipients in others
	// before they ask the Router: no mistake of an alias makes an open relay.
	Domains []string

	Router    Router
	Deliverer Deliverer
	Queue     Queue

	// Auth judges AUTH PLAIN and LOGIN (Submission).
	Auth Authenticator
	// SenderAllowed says whether the account may use the address as
	// reverse-path and in the From field; nil allows every address. The domain
	// is in lower case.
	SenderAllowed func(account, address string) bool
	// Allowance is asked about each submission, but not root's through Local; nil
	// allows everything.
	Allowance Allowance
	// LocalUser names the account of a uid (Local); an error refuses the
	// connection. root may use any sender.
	LocalUser func(uid int) (account string, err error)
	// AuthservID is our name in Authentication-Results (RFC 8601 section 2.5).
	// Fields with it are taken out of what users submit; "" takes out none. Inbound
	// does so for strangers.
	AuthservID string
	// Signer signs what users submit; nil signs nothing.
	Signer Signer
	// Inbound judges what strangers send (MX); nil judges nothing.
	Inbound *inbound.Inspector
	// GreetDelay is how long a stranger waits for the greeting of MX; who talks
	// before is refused. 0 is no delay.
	GreetDelay time.Duration
	// Filters are asked about the content of what strangers bring (MX), of what
	// users submit, before it is signed, and of what comes by LMTP, each filter as
	// its Spec says; nil asks none.
	Filters *filter.Chain
	// Forwarded makes a message from elsewhere ready for other servers that an
	// address of ours leads to, and returns what is to be sent there (MX, LMTP);
	// nil changes nothing.
	Forwarded func(ctx context.Context, env message.Envelope, c *message.Content) (message.Envelope, *message.Content)
	// Room says whether an account can take a message of size bytes, 0 if that
	// is not known: nil, or a *status.Error, with which RCPT is answered. It is
	// asked only where an address leads to one account and nowhere else; nil
	// asks nobody.
	Room func(ctx context.Context, to message.Local, size int64) error
	// Report tells the sender of a message what became of its recipients when
	// the reply cannot: outcome has one error per recipient of env, nil for a
	// delivery that the sender wanted to know of (NOTIFY=SUCCESS). It is called
	// only when the reverse-path is trusted; nil reports nothing, and failures
	// are logged.
	Report func(ctx context.Context, env message.Envelope, c *message.Content, outcome []error) error

	// TLS is for STARTTLS; nil offers none. A connection that is *tls.Conn
	// already needs it not.
	TLS *tls.Config
	// LineEnds is the policy for bare CR and LF; 0 is the mode's own: MX
	// rejects them, the others repair them.
	LineEnds LineEnds
	// SpoolDir is where messages beyond Limits.Memory wait, in files without a
	// name; "" is the system's directory for temporary files.
	SpoolDir string
	Limits   Limits

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// LineEnds is a policy for line ends that are not CRLF, which some servers take
// for line ends and others do not: what smuggles a second message into the
// first (RFC 5321 section 2.3.8).
type LineEnds int

// The policies.
const (
	// DefaultLineEnds is RejectLineEnds for MX, RepairLineEnds for the others.
	DefaultLineEnds LineEnds = iota
	// RejectLineEnds refuses such a message with 550 5.6.11.
	RejectLineEnds
	// RepairLineEnds turns bare LF and bare CR into CRLF before anybody else
	// sees the message.
	RepairLineEnds
)

// Limits are the bounds of one connection or message. Zero values are replaced
// by the defaults given.
type Limits struct {
	// MessageSize is in bytes, 50 MiB; announced as SIZE (RFC 1870).
	MessageSize int64
	// Memory is how many bytes of a message stay in memory, 256 KiB.
	Memory int64
	// Recipients per message, 100: the least that RFC 5321 section 4.5.3.1.8
	// allows.
	Recipients int
	// AuthFailures until the connection is closed, 3.
	AuthFailures int
	// UnknownDelay is how long MX takes for an answer about a recipient that does
	// not exist, after the fifth of them in a connection; 0 is no delay. Networks
	// of listen.Options.Allow never wait.
	UnknownDelay time.Duration
	// Errors is the number of negative replies until the connection is closed,
	// 20; an accepted message sets it back.
	Errors int
	// Received is the number of Received fields that means a loop, 50 (RFC 5321
	// section 6.3).
	Received int
	// HeaderField and HeaderBlock are in bytes, 64 KiB and 256 KiB: longer ones
	// make DKIM work explode.
	HeaderField, HeaderBlock int
	// Command is the time a client has for one command, 5 min (RFC 5321
	// section 4.5.3.2.7).
	Command time.Duration
	// Block is the longest pause within a message, 3 min (section 4.5.3.2.5).
	Block time.Duration
	// Transfer is the longest time for a whole message, or one chunk of BDAT,
	// 1 h.
	Transfer time.Duration
	// Write is the time a client has to take a reply, 2 min.
	Write time.Duration
	// Delivery is the time for local delivery and queueing, 4 min. A client
	// waits 10 (section 4.5.3.2.6).
	Delivery time.Duration
	// Handshake is the time for TLS, 30 s.
	Handshake time.Duration
	// Hold is for how long a user may have mail held (RFC 4865), 30 days.
	Hold time.Duration
}

func (l Limits) withDefaults() Limits {
	l.MessageSize = cmp.Or(l.MessageSize, 50<<20)
	l.Memory = cmp.Or(l.Memory, 256<<10)
	l.Recipients = cmp.Or(l.Recipients, 100)
	l.AuthFailures = cmp.Or(l.AuthFailures, 3)
	l.Errors = cmp.Or(l.Errors, 20)
	l.Received = cmp.Or(l.Received, 50)
	l.HeaderField = cmp.Or(l.HeaderField, 64<<10)
	l.HeaderBlock = cmp.Or(l.HeaderBlock, 256<<10)
	l.Command = cmp.Or(l.Command, 5*time.Minute)
	l.Block = cmp.Or(l.Block, 3*time.Minute)
	l.Transfer = cmp.Or(l.Transfer, time.Hour)
	l.Write = cmp.Or(l.Write, 2*time.Minute)
	l.Delivery = cmp.Or(l.Delivery, 4*time.Minute)
	l.Handshake = cmp.Or(l.Handshake, 30*time.Second)
	l.Hold = cmp.Or(l.Hold, 30*24*time.Hour)
	return l
}

func (o Options) withDefaults() Options {
	if o.LineEnds == DefaultLineEnds {
		o.LineEnds = RepairLineEnds
		if o.Mode == MX {
			o.LineEnds = RejectLineEnds
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SenderAllowed == nil {
		o.SenderAllowed = func(string, string) bool { return true }
	}
	o.Limits = o.Limits.withDefaults()
	return o
}

// Check returns all that keeps a Server with these options from working.
func (o Options) Check(context.Context) error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("smtp %s: "+format, append([]any{o.Mode}, args...)...))
		}
	}
	need(o.Mode >= MX && o.Mode <= Local, "no such mode")
	_, err := parseDomain(o.Hostname)
	need(err == nil, "hostname %q: %v", o.Hostname, err)
	for _, d := range o.Domains {
		_, err := parseDomain(d)
		need(err == nil, "domain %q: %v", d, err)
	}
	need(o.Router != nil && o.Deliverer != nil && o.Queue != nil, "router, deliverer or queue is missing")
	need(o.Mode == MX || o.Inbound == nil, "only mail from strangers is judged")
	need(o.Mode != Submission || o.Auth != nil, "no authenticator")
	need(o.Mode != Local || o.LocalUser != nil, "no names for local users")
	need(o.Limits.Recipients >= 0 && o.Limits.MessageSize >= 0, "a limit is negative")
	if o.SpoolDir != "" {
		fi, err := os.Stat(o.SpoolDir)
		need(err == nil && fi.IsDir(), "spool directory %s: %v", o.SpoolDir, err)
	}
	return errors.Join(errs...)
}
