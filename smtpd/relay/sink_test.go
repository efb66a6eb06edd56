package relay

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

// sink is a mail server that does as it is told.
type sink struct {
	t    *testing.T
	ln   net.Listener
	caps []string
	tls  *tls.Config // with STARTTLS offered
	// implicit says that TLS begins with the first byte.
	implicit bool
	// on may take a line in the place of the sink: it returns true then.
	on func(c *sinkConn, line string) bool
	// hello may take the greeting's place.
	hello func(c *sinkConn) bool

	mu    sync.Mutex
	conns int
	lines []string
	mail  []sunk
	wg    sync.WaitGroup
}

// sunk is a message that arrived.
type sunk struct {
	from   string
	to     []string
	text   string
	secure bool
}

type sinkConn struct {
	*sink
	conn   net.Conn
	br     *bufio.Reader
	secure bool
	cur    sunk
}

func newSink(t *testing.T, caps ...string) *sink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{t: t, ln: ln, caps: caps}
	s.wg.Go(s.accept)
	t.Cleanup(func() { ln.Close(); s.wg.Wait() })
	return s
}

func (s *sink) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns++
		s.mu.Unlock()
		s.t.Cleanup(func() { conn.Close() })
		s.wg.Go(func() {
			defer conn.Close()
			c := &sinkConn{sink: s, conn: conn, br: bufio.NewReader(conn)}
			if s.implicit {
				c.upgrade()
			}
			c.serve()
		})
	}
}

func (c *sinkConn) say(format string, args ...any) { fmt.Fprintf(c.conn, format+"\r\n", args...) }

func (c *sinkConn) upgrade() {
	c.conn = tls.Server(c.conn, c.tls)
	c.br, c.secure = bufio.NewReader(c.conn), true
}

// stall waits until the other side hangs up.
func (c *sinkConn) stall() { io.Copy(io.Discard, c.br) }

func (c *sinkConn) serve() {
	if c.hello != nil {
		if c.hello(c) {
			return
		}
	} else {
		c.say("220 sink ready")
	}
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		c.mu.Lock()
		c.lines = append(c.lines, line)
		on := c.on
		c.mu.Unlock()
		if on != nil && on(c, line) {
			continue
		}
		if !c.verb(line) {
			return
		}
	}
}

func (c *sinkConn) verb(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		caps := append([]string{"sink"}, c.caps...)
		if c.tls != nil && !c.secure {
			caps = append(caps, "starttls")
		}
		for i, k := range caps {
			sep := "-"
			if i == len(caps)-1 {
				sep = " "
			}
			c.say("250%s%s", sep, k)
		}
	case "STARTTLS":
		c.say("220 go ahead")
		c.upgrade()
	case "MAIL":
		c.cur = sunk{from: rest, secure: c.secure}
		c.say("250 2.1.0 ok")
	case "RCPT":
		c.cur.to = append(c.cur.to, rest)
		c.say("250 2.1.5 ok")
	case "DATA":
		if len(c.cur.to) == 0 {
			c.say("554 no recipients")
			return true
		}
		c.say("354 go on")
		c.text()
	case "BDAT":
		size, _ := strconv.Atoi(strings.Fields(rest)[0])
		b := make([]byte, size)
		if _, err := io.ReadFull(c.br, b); err != nil {
			return false
		}
		c.take(string(b))
	case "QUIT":
		c.say("221 bye")
		return false
	case "AUTH":
		c.say("235 2.7.0 welcome")
	default:
		c.say("250 ok")
	}
	return true
}

// text reads the text of DATA, byte by byte as the standard has it.
func (c *sinkConn) text() {
	text, ok := c.readText()
	if ok {
		c.take(text)
	}
}

func (c *sinkConn) readText() (string, bool) {
	var b strings.Builder
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return "", false
		}
		if line == ".\r\n" {
			return b.String(), true
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (c *sinkConn) take(text string) {
	c.cur.text = text
	c.mu.Lock()
	c.mail = append(c.mail, c.cur)
	n := len(c.mail)
	c.mu.Unlock()
	c.cur = sunk{secure: c.secure}
	c.say("250 2.0.0 taken as %d", n)
}

func (s *sink) got() []sunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mail)
}

// heard gives the lines with this verb.
func (s *sink) heard(verb string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, l := range s.lines {
		if strings.HasPrefix(l, verb) {
			out = append(out, l)
		}
	}
	return out
}

func (s *sink) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

const relayZone = `
a.example       MX 10 mx1.a.example
a.example       MX 20 mx2.a.example
mx1.a.example   A  192.0.2.1
mx2.a.example   A  192.0.2.2
b.example       A  192.0.2.1
smart.example   A  192.0.2.1
`

// world joins a Relay to sinks under addresses of their own.
type world struct {
	*Relay
	dns *dns.Fake
	mu  sync.Mutex
	at  map[string]*sink // by IP address
	// dialed lists the addresses in order.
	dialed []string
}

func newWorld(t *testing.T, at map[string]*sink, change ...func(*Options)) *world {
	t.Helper()
	fake, err := dns.NewFake(relayZone)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{dns: fake, at: at}
	o := Options{
		Hostname: "mail.example.org", Resolver: fake.Resolver(), Dial: w.dial,
		Self:   func(netip.Addr) bool { return false },
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&o)
	}
	if w.Relay, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	w.mu.Lock()
	w.dialed = append(w.dialed, addr)
	s := w.at[host]
	w.mu.Unlock()
	if s == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("no route to " + addr)}
	}
	return new(net.Dialer).DialContext(ctx, "tcp", s.ln.Addr().String())
}

func quick(o *Options) {
	d := 200 * time.Millisecond
	o.Timeouts = Timeouts{Connect: 5 * time.Second, TLS: 5 * time.Second, Greeting: d, Command: d, Data: d, Block: d, End: d}
}

const mailText = "From: a@example.org\r\nSubject: x\r\n\r\n.dot\r\n..\r\nlast line\r\n"

func from(address string, to ...string) message.Envelope {
	env := message.Envelope{Trace: "t1", ReversePath: address}
	for _, a := range to {
		env.Recipients = append(env.Recipients, message.Recipient{Address: a})
	}
	return env
}

func (w *world) sendEnv(ctx context.Context, env message.Envelope, text string) []message.Outcome {
	return w.Attempt(ctx, env, message.FromBytes([]byte(text)), env.Recipients)
}

func (w *world) send(t *testing.T, to ...string) []message.Outcome {
	return w.sendEnv(t.Context(), from("alice@example.org", to...), mailText)
}

// authority is a certificate authority for tests.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.key, a.cert, _ = a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test authority"}})
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(tpl *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tpl.NotBefore, tpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert, der
}

func (a *authority) server(names ...string) *tls.Config {
	key, _, der := a.issue(&x509.Certificate{DNSNames: names, Subject: pkix.Name{CommonName: names[0]}})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
