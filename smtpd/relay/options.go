package relay

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/dns"
)

// Options say how a Relay works. Hostname and Resolver are needed.
type Options struct {
	// Hostname is what we call ourselves in EHLO: a name that resolves.
	Hostname string
	// Resolver finds the hosts.
	Resolver *dns.Resolver
	// Smarthost takes all mail, if its Addr is set.
	Smarthost Smarthost
	// Routes are hosts for single domains, in lower case, in place of Smarthost or
	// the MX records; ".example.org" is for all domains below it.
	Routes map[string]Smarthost
	// Source are our addresses to connect from, at most one of each family; none
	// leaves it to the kernel. Dial has its own.
	Source []netip.Addr
	// Policy says what we demand of TLS with a host of a domain; nil means
	// nothing.
	Policy Policy
	// Published says what the domain itself demands, which some messages go
	// without (message.Envelope.TLSOptional). Of equal ones it wins over Policy.
	Published Policy
	// RootCAs verify certificates; nil means the system's.
	RootCAs *x509.CertPool
	// Port is where mail exchangers listen; 0 means 25.
	Port uint16
	// Network is "tcp" (the default), "tcp4" or "tcp6".
	Network string
	// Self reports whether an address is this host's, so that mail to it would
	// come back; nil means SelfAddrs.
	Self func(netip.Addr) bool
	// Dial opens a connection; nil means a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Timeouts bound each phase; a zero field has its default.
	Timeouts Timeouts
	// MaxRecipients bounds the recipients of a transaction; default 100, which
	// every server must take (RFC 5321 section 4.5.3.1.8).
	MaxRecipients int
	// MaxAddrs bounds the addresses tried in one attempt for a domain; default 6.
	MaxAddrs int
	// IdleTimeout is how long a connection is kept for the next message to its
	// host; default 10 seconds, negative never.
	IdleTimeout time.Duration

	// Observe is told of each new connection to a mail exchanger what came of
	// TLS, for reports (RFC 8460), and of hosts that a policy keeps us from. It
	// may not block; nil for nothing.
	Observe func(TLSResult)

	// Logger and Registerer (metrics mailsrvd_relay_*) may be nil.
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Timeouts bound the phases of a session. The defaults are those of RFC 5321
// section 4.5.3.2, less where experience allows.
type Timeouts struct {
	// Connect is for the TCP connection, default 30 s; TLS for the handshake,
	// default 60 s.
	Connect, TLS time.Duration
	// Greeting is for the first reply, Command for the reply to a command;
	// default 5 min both.
	Greeting, Command time.Duration
	// Data is for the reply to DATA, default 2 min; Block for each 32 KiB of
	// the message, default 3 min; End for the reply to its end, default 10 min.
	Data, Block, End time.Duration
}

// Smarthost is a host that takes all mail.
type Smarthost struct {
	// Addr is "host:port"; port 465 means TLS from the first byte (RFC 8314).
	Addr string
	// User and Password log in, if User is set: only over TLS, and only when
	// the host's certificate is good for its name.
	User, Password string
	// TLS is what is demanded; empty means opportunistic.
	TLS TLSMode
}

// TLSMode is a smarthost's TLS setting.
type TLSMode string

// The TLS settings of a smarthost. TLSRequired also verifies the certificate.
const (
	TLSOpportunistic TLSMode = "opportunistic"
	TLSRequired      TLSMode = "required"
	TLSNone          TLSMode = "none"
)

const (
	smtpPort      = 25
	implicitTLS   = 465
	maxRecipients = 100
	maxAddrs      = 6
)

func (o Options) withDefaults() Options {
	set(&o.Port, smtpPort)
	set(&o.Network, "tcp")
	set(&o.MaxRecipients, maxRecipients)
	set(&o.MaxAddrs, maxAddrs)
	set(&o.IdleTimeout, 10*time.Second)
	set(&o.Smarthost.TLS, TLSOpportunistic)
	t := &o.Timeouts
	set(&t.Connect, 30*time.Second)
	set(&t.TLS, time.Minute)
	set(&t.Greeting, 5*time.Minute)
	set(&t.Command, 5*time.Minute)
	set(&t.Data, 2*time.Minute)
	set(&t.Block, 3*time.Minute)
	set(&t.End, 10*time.Minute)
	if o.Policy == nil {
		o.Policy = Strictest()
	}
	if o.Published == nil {
		o.Published = Strictest()
	}
	if o.Self == nil {
		o.Self = SelfAddrs
	}
	if o.Dial == nil {
		o.Dial = dialFrom(o.Source)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// dialFrom connects from the source address of the target's family, if there is
// one.
func dialFrom(source []netip.Addr) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		if to, err := netip.ParseAddrPort(addr); err == nil {
			for _, from := range source {
				if from.Is4() == to.Addr().Unmap().Is4() {
					d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
				}
			}
		}
		return d.DialContext(ctx, network, addr)
	}
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Check reports everything that New would refuse.
func (o Options) Check(ctx context.Context) error {
	o = o.withDefaults()
	var errs []error
	add := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	_, err := dns.ToASCII(o.Hostname)
	add(err != nil, "relay: hostname %q is no host name", o.Hostname)
	add(o.Resolver == nil, "relay: no resolver")
	add(o.Network != "tcp" && o.Network != "tcp4" && o.Network != "tcp6", "relay: network %q, want tcp, tcp4 or tcp6", o.Network)
	for domain, s := range o.Routes {
		set(&s.TLS, TLSOpportunistic)
		if add(s.Addr == "", "relay: the route of %s names no host", domain); s.Addr != "" {
			errs = append(errs, s.check())
		}
	}
	return errors.Join(append(errs, o.Smarthost.check())...)
}

func (s Smarthost) check() error {
	if s.Addr == "" {
		if s.User != "" || s.Password != "" {
			return errors.New("relay: a user or password, but no smarthost")
		}
		return nil
	}
	var errs []error
	if _, err := s.host(); err != nil {
		errs = append(errs, fmt.Errorf("relay: smarthost %q: %w", s.Addr, err))
	}
	switch s.TLS {
	case TLSOpportunistic, TLSRequired:
	case TLSNone:
		if s.User != "" {
			errs = append(errs, errors.New(`relay: tls = "none" would send the smarthost's password in the clear; use "required"`))
		}
	default:
		errs = append(errs, fmt.Errorf("relay: tls = %q, want opportunistic, required or none", s.TLS))
	}
	if (s.User == "") != (s.Password == "") {
		errs = append(errs, errors.New("relay: the smarthost needs both user and password, or neither"))
	}
	if strings.ContainsRune(s.User+s.Password, 0) {
		errs = append(errs, errors.New("relay: the smarthost's user or password holds a NUL"))
	}
	return errors.Join(errs...)
}

// SelfAddrs reports whether an address is one of this host's interfaces, or one
// that never leaves it.
func SelfAddrs(a netip.Addr) bool {
	a = a.Unmap()
	if a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, i := range addrs {
		if p, err := netip.ParsePrefix(i.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}
