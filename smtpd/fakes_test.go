package smtpd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

const patience = 20 * time.Second

// house is a Server with everything around it faked: the users alice and bob,
// their passwords "pw-alice" and "pw-bob", and what became of mail.
type house struct {
	*Server
	addr net.Addr
	log  *syncBuffer

	mu        sync.Mutex
	delivered []delivery
	queued    []delivery
	reported  []delivery
	local     map[string]error // per user: what Deliver returns
	enqueue   error
	onDeliver func(ctx context.Context)
}

// delivery is one message that somebody took over.
type delivery struct {
	env     message.Envelope
	to      []string
	text    string
	outcome []error
}

// build makes a house and opens its door; edit changes the options.
func build(t testing.TB, mode Mode, edit func(*Options)) *house {
	t.Helper()
	h := newHouse(t, mode, edit)
	h.open(t, listen.Options{Name: mode.String()})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		h.Shutdown(ctx)
	})
	return h
}

func newHouse(t testing.TB, mode Mode, edit func(*Options)) *house {
	t.Helper()
	h := &house{local: map[string]error{}, log: &syncBuffer{}}
	o := Options{
		Mode:          mode,
		Hostname:      "mx.test",
		Domains:       []string{"here.test", "also.test"},
		Router:        h,
		Deliverer:     h,
		Queue:         h,
		Auth:          h,
		SenderAllowed: func(account, address string) bool { return address == account+"@here.test" },
		LocalUser:     func(int) (string, error) { return "alice", nil },
		Report:        h.report,
		SpoolDir:      t.TempDir(),
		TLS:           serverTLS(t),
		Logger:        slog.New(slog.NewTextHandler(h.log, nil)),
	}
	if mode == LMTP || mode == Local {
		o.TLS = nil
	}
	if edit != nil {
		edit(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = s
	return h
}

// pipes is a listener without a network, for tests with a clock of their own
// (testing/synctest).
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// inBubble runs a test whose time passes only when everybody waits: patience
// costs nothing and no load of the machine changes the result. It gets a
// function that connects to the server.
func inBubble(t *testing.T, mode Mode, edit func(*Options), test func(t *testing.T, h *house, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		h := newHouse(t, mode, func(o *Options) {
			o.TLS = nil
			if edit != nil {
				edit(o)
			}
		})
		served := make(chan error, 1)
		go func() { served <- h.Serve(context.Background(), p) }()
		var clients []net.Conn
		test(t, h, func() net.Conn {
			a, b := net.Pipe()
			p.conns <- a
			clients = append(clients, b)
			return b
		})
		for _, c := range clients {
			c.Close()
		}
		if err := h.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

func (h *house) open(t testing.TB, o listen.Options) {
	t.Helper()
	address := "127.0.0.1:0"
	if h.o.Mode == LMTP || h.o.Mode == Local {
		address = filepath.Join(t.TempDir(), "sock")
	}
	raw, err := listen.Open(context.Background(), address, listen.Unix{Mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	h.addr = raw.Addr()
	l := listen.New(raw, o)
	served := make(chan error, 1)
	go func() { served <- h.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

func (h *house) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial(h.addr.Network(), h.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

// Route implements Router.
func (h *house) Route(_ context.Context, address string) (message.Route, error) {
	user, domain, _ := strings.Cut(address, "@")
	if !h.isLocal(domain) {
		return message.Route{Remote: []string{address}}, nil
	}
	at := func(users ...string) (r message.Route) {
		for _, u := range users {
			r.Local = append(r.Local, message.Local{User: u, Address: address})
		}
		return r
	}
	switch strings.ToLower(user) {
	case "alice", "bob", "carol", "jos\u00e9":
		return at(strings.ToLower(user)), nil
	case "postmaster":
		return at("alice"), nil
	case "list":
		return at("alice", "bob"), nil
	case "forward":
		return message.Route{Remote: []string{"bob@there.test"}}, nil
	case "tickets":
		return message.Route{Local: append(at("alice").Local, message.Local{Program: "/bin/ticket", Address: address})}, nil
	case "both":
		return message.Route{Local: at("bob").Local, Remote: []string{"bob@there.test"}}, nil
	case "null":
		return message.Route{Discard: true}, nil
	case "full":
		return message.Route{}, status.MailboxFull(nil)
	case "broken":
		return message.Route{}, errors.New("open /etc/aliases: permission denied")
	case "panic":
		panic("a bug in the router")
	}
	return message.Route{}, status.NoSuchUser(address)
}

// Deliver implements Deliverer.
func (h *house) Deliver(ctx context.Context, env message.Envelope, c *message.Content, to []message.Local) []error {
	if h.onDeliver != nil {
		h.onDeliver(ctx)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	d := delivery{env: env, text: text(c)}
	for _, l := range to {
		name := l.User + l.Program
		err := h.local[name]
		if err == nil {
			d.to = append(d.to, name)
		}
		errs = append(errs, err)
	}
	if len(d.to) > 0 {
		h.delivered = append(h.delivered, d)
	}
	return errs
}

// Enqueue implements Queue.
func (h *house) Enqueue(_ context.Context, env message.Envelope, c *message.Content) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.enqueue != nil {
		return h.enqueue
	}
	h.queued = append(h.queued, delivery{env: env, to: addresses(env), text: text(c)})
	return nil
}

func (h *house) report(_ context.Context, env message.Envelope, c *message.Content, outcome []error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reported = append(h.reported, delivery{env: env, to: addresses(env), text: text(c), outcome: outcome})
	return nil
}

// Authenticate implements Authenticator.
func (h *house) Authenticate(_ context.Context, c auth.Credentials) (auth.Account, error) {
	switch {
	case c.Login == "broken":
		return auth.Account{}, errors.New("the directory is down")
	case c.Password != "pw-"+c.Login:
		return auth.Account{}, &auth.Error{Kind: auth.Refused}
	}
	return auth.Account{Name: c.Login}, nil
}

// mail returns what was delivered and queued so far.
func (h *house) mail() (delivered, queued, reported []delivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.delivered, h.queued, h.reported
}

func text(c *message.Content) string {
	b, err := io.ReadAll(c.NewReader())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func addresses(env message.Envelope) (list []string) {
	for _, r := range env.Recipients {
		list = append(list, r.Address)
	}
	return list
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var testCertificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	cert, err := testCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}
}

var clientTLS = &tls.Config{ServerName: "mx.test", InsecureSkipVerify: true}

// forgetful is a Deliverer with a bug.
type forgetful struct{}

func (forgetful) Deliver(context.Context, message.Envelope, *message.Content, []message.Local) []error {
	return nil
}
