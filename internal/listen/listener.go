package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options says how a Listener treats its connections. The zero value means
// plain text, no limits and the default timeouts.
type Options struct {
	// Name tells sockets apart in metrics and logs: "mx", "imaps".
	Name string
	// TLS makes Accept return *tls.Conn with a finished handshake; nil is plain
	// text. STARTTLS is the business of the protocol, see Upgrade.
	TLS *tls.Config
	// HandshakeTimeout bounds the whole TLS handshake; 0 means 30 s. A client
	// that stays silent costs a connection for that long and never holds up
	// Accept.
	HandshakeTimeout time.Duration
	// MaxConns is the limit of connections at one time, handshakes included; 0
	// means none.
	MaxConns int
	// MaxPerIP is the same for one IPv4 address or one IPv6 /64; 0 means none.
	// Unix sockets are not counted.
	MaxPerIP int
	// MaxPerNetwork is the same for one IPv4 /24 or one IPv6 /48; 0 means none.
	MaxPerNetwork int
	// RatePerIP and RatePerNetwork bound the connections of a minute in the same
	// two ways, those that are refused not counted; 0 means none.
	RatePerIP, RatePerNetwork int
	// Banned refuses addresses altogether; nil refuses none. It is called for
	// each connection and must be quick.
	Banned func(netip.Addr) bool
	// Allow lists networks that no limit holds for.
	Allow []netip.Prefix
	// Refusal is sent, without TLS, to a client over a limit before its
	// connection is closed; a whole line with CRLF.
	Refusal string
	// RollingDeadlines makes a deadline mean "so long without traffic": each
	// read and write renews it. A time in the past still acts at once.
	RollingDeadlines bool
	// Logger takes refusals and failures; nil discards them.
	Logger *slog.Logger
	// Registerer takes the metrics mailsrvd_listen_*; nil takes none.
	Registerer prometheus.Registerer
}

func (o Options) withDefaults() Options {
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Listener is a net.Listener whose connections are limited and tracked. Its
// methods are safe for concurrent use.
type Listener struct {
	raw     net.Listener
	options Options
	metrics *metrics

	ready  chan net.Conn // finished handshakes; nil without TLS
	done   chan struct{} // closed by Close
	cancel context.CancelFunc
	ctx    context.Context // ends with done, for handshakes
	pump   sync.Once

	mu      sync.Mutex
	closed  bool
	conns   map[*Conn]struct{}
	perIP   map[netip.Prefix]int // and per network
	rates   rates
	counted int
	empty   chan struct{} // not nil while Drain waits: closed with the last connection
	warned  time.Time     // of the last warning about a refusal
}

// New wraps raw, which it closes in Close.
func New(raw net.Listener, o Options) *Listener {
	l := &Listener{
		raw:     raw,
		options: o.withDefaults(),
		metrics: newMetrics(o.Registerer, o.Name),
		done:    make(chan struct{}),
		conns:   make(map[*Conn]struct{}),
		perIP:   make(map[netip.Prefix]int),
		rates:   rates{},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	if o.TLS != nil {
		l.ready = make(chan net.Conn)
	}
	return l
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.raw.Addr() }

// Accept returns the next connection: *tls.Conn with a finished handshake
// where Options.TLS is set, else *Conn. After Close it returns net.ErrClosed.
// It retries what may heal, such as a lack of file descriptors.
func (l *Listener) Accept() (net.Conn, error) {
	if l.options.TLS == nil {
		c, err := l.next()
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	l.pump.Do(func() { go l.handshakes() })
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// next accepts until a connection keeps within the limits.
func (l *Listener) next() (*Conn, error) {
	wait := 5 * time.Millisecond
	for {
		raw, err := l.raw.Accept()
		if err == nil {
			if c := l.admit(raw); c != nil {
				return c, nil
			}
			continue
		}
		if l.isClosed() || errors.Is(err, net.ErrClosed) {
			return nil, net.ErrClosed
		}
		l.options.Logger.Error("accepting a connection failed", "listener", l.options.Name, "err", err, "retry_in", wait)
		select {
		case <-time.After(wait):
		case <-l.done:
			return nil, net.ErrClosed
		}
		wait = min(2*wait, time.Second)
	}
}

// handshakes runs each TLS handshake in a goroutine of its own: none waits for
// another, and the deep stack that a handshake needs is not the server's.
func (l *Listener) handshakes() {
	for {
		c, err := l.next()
		if err != nil {
			l.Close()
			return
		}
		go l.handshake(c)
	}
}

func (l *Listener) handshake(c *Conn) {
	t, err := handshake(l.ctx, c, l.options.TLS, l.options.HandshakeTimeout)
	if err != nil {
		l.metrics.handshakeFailures.Inc()
		l.options.Logger.Debug("TLS handshake failed", "listener", l.options.Name, "remote", c.RemoteAddr().String(), "err", err)
		c.Close()
		return
	}
	select {
	case l.ready <- t:
	case <-l.done:
		c.Close()
	}
}

// Close stops accepting. Connections live on; see Drain.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.done)
	l.cancel()
	return l.raw.Close()
}

func (l *Listener) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}
