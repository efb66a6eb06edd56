package imapd

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// fakeAuth knows alice and bob, whose password is "secret", and keeps their mail
// below a directory of the test.
type fakeAuth struct {
	dir string
	mu  sync.Mutex
	err error         // instead of an answer
	tls bool          // of the last login
	now chan struct{} // if not nil, logins wait for it
}

func (a *fakeAuth) Authenticate(_ context.Context, c auth.Credentials) (auth.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now != nil {
		<-a.now
	}
	a.tls = c.TLS
	switch {
	case a.err != nil:
		return auth.Account{}, a.err
	case c.Password != "secret" || c.Login != "alice" && c.Login != "bob":
		return auth.Account{}, &auth.Error{Kind: auth.Refused}
	}
	return auth.Account{Name: c.Login, Owner: asuser.Self(c.Login, a.dir+"/"+c.Login), Self: true}, nil
}

// harness is a server on the loopback with the clients of one test.
type harness struct {
	t      testing.TB
	auth   *fakeAuth
	stores *maildir.Stores
	srv    *Server
	addr   string
	conns  map[string]*testConn
	vars   map[string]string // what talk has captured
}

// newHarness starts a server; change may alter its options.
func newHarness(t testing.TB, change func(*Options)) *harness {
	t.Helper()
	return newHarnessOn(t, maildir.Options{}, change)
}

// newHarnessOn is newHarness with a storage of one's own making.
func newHarnessOn(t testing.TB, storage maildir.Options, change func(*Options)) *harness {
	t.Helper()
	storage.Separator, storage.Hostname = '/', "test"
	dir := t.TempDir()
	h := &harness{t: t, auth: &fakeAuth{dir: dir}, conns: make(map[string]*testConn), vars: make(map[string]string)}
	h.stores = maildir.NewStores(storage)
	o := Options{Hostname: "test", Auth: h.auth, Stores: h.stores, InsecureAuth: true, SpoolDir: dir}
	if change != nil {
		change(&o)
	}
	var err error
	if h.srv, err = New(o); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	done := make(chan error, 1)
	go func() { done <- h.srv.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		for _, c := range h.conns {
			c.Close()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := h.stores.Close(); err != nil {
			t.Errorf("closing the stores: %v", err)
		}
	})
	return h
}

// testConn is a client.
type testConn struct {
	net.Conn
	r *bufio.Reader
}

// dial opens a connection by this name.
func (h *harness) dial(name string) *testConn {
	h.t.Helper()
	raw, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &testConn{raw, bufio.NewReader(raw)}
	h.conns[name] = c
	return c
}

// line reads one line without its line end.
func (c *testConn) line(t testing.TB) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := c.r.ReadString('\n')
	if err != nil {
		t.Fatalf("reading: %v (after %q)", err, line)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
}

// login opens connections with these names, logs in as alice and selects INBOX.
func (h *harness) login(names ...string) {
	h.t.Helper()
	for _, name := range names {
		h.dial(name)
		h.talk(strings.ReplaceAll(`
			S1: * OK ...
			C1: in LOGIN alice secret
			S1: in OK ...
			C1: in SELECT INBOX
			S1: ~in OK [READ-WRITE] SELECT completed.
		`, "1:", name+":"))
	}
}

// talk holds a conversation. A line "C: text" is sent by the client of the
// connection "", "C2: text" by that of "2", with CRLF; runs of them go out as
// one. "S: text" is the next line of the server, where "..." stands for
// anything; "S: ~text" skips lines until one matches; "S: EOF" is the end of
// the connection. "<<name>>" captures a word, and stands for it from then on.
// Escapes \r, \n, \0 and \xNN work in both.
func (h *harness) talk(script string) {
	h.t.Helper()
	pending := make(map[string]string)
	flush := func() {
		for name, text := range pending {
			if _, err := h.conn(name).Write([]byte(text)); err != nil {
				h.t.Fatalf("writing: %v", err)
			}
			delete(pending, name)
		}
	}
	for _, line := range strings.Split(script, "\n") {
		line = strings.TrimLeft(line, "\t ")
		if line == "" || line[0] == '#' {
			continue
		}
		who, text, ok := strings.Cut(line, ":")
		if !ok || who == "" || who[0] != 'C' && who[0] != 'S' {
			h.t.Fatalf("not a line of a conversation: %q", line)
		}
		text = unescape(strings.TrimPrefix(text, " "))
		if who[0] == 'C' {
			pending[who[1:]] += h.fill(text) + "\r\n"
			continue
		}
		flush()
		h.expect(who[1:], text)
	}
	flush()
}

var escapes = regexp.MustCompile(`\\r|\\n|\\0|\\x[0-9a-f]{2}`)

func unescape(s string) string {
	return escapes.ReplaceAllStringFunc(s, func(e string) string {
		switch e {
		case `\r`:
			return "\r"
		case `\n`:
			return "\n"
		case `\0`:
			return "\x00"
		}
		n, _ := strconv.ParseUint(e[2:], 16, 8)
		return string([]byte{byte(n)})
	})
}

func (h *harness) conn(name string) *testConn {
	h.t.Helper()
	if c := h.conns[name]; c != nil {
		return c
	}
	return h.dial(name)
}

// expect reads what the server says and compares.
func (h *harness) expect(name, want string) {
	h.t.Helper()
	c := h.conn(name)
	if want == "EOF" {
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if line, err := c.r.ReadString('\n'); err == nil {
			h.t.Fatalf("got %q, want the end of the connection", line)
		}
		return
	}
	want, skip := strings.CutPrefix(want, "~")
	for {
		got := c.line(h.t)
		if h.like(want, got) {
			return
		}
		if !skip {
			h.t.Fatalf("connection %q:\n got %s\nwant %s", name, got, h.fill(want))
		}
	}
}

var captures = regexp.MustCompile(`<<(\w+)>>`)

// fill replaces what was captured.
func (h *harness) fill(text string) string {
	return captures.ReplaceAllStringFunc(text, func(v string) string {
		if value, ok := h.vars[v[2:len(v)-2]]; ok {
			return value
		}
		return v
	})
}

// like reports whether got is want, and captures.
func (h *harness) like(want, got string) bool {
	want = h.fill(want)
	if !strings.Contains(want, "...") && !strings.Contains(want, "<<") {
		return want == got
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), `\.\.\.`, ".*")
	pattern = captures.ReplaceAllString(pattern, `(?P<$1>[^ \])]+)`)
	re := regexp.MustCompile("^" + pattern + "$")
	match := re.FindStringSubmatch(got)
	for i, name := range re.SubexpNames() {
		if match != nil && name != "" {
			h.vars[name] = match[i]
		}
	}
	return match != nil
}

// deliver puts a message with LF or CRLF line ends into a mailbox of alice.
func (h *harness) deliver(mailbox, text string) {
	h.t.Helper()
	h.deliverAt(mailbox, text, time.Time{})
}

// deliverAt is deliver with an internal date; zero is now.
func (h *harness) deliverAt(mailbox, text string, date time.Time) {
	h.t.Helper()
	c := message.FromBytes([]byte(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")))
	if _, err := h.store().Deliver(context.Background(), mailbox, c, maildir.Delivery{Date: date}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) store() *maildir.Store {
	s := h.stores.Store(asuser.Self("alice", h.auth.dir+"/alice"), "~/Maildir")
	if err := s.Prepare(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// mail is a small message with a subject.
func mail(subject string) string {
	return "From: Joe <joe@example.org>\nTo: alice@example.org\nDate: Mon, 7 Feb 1994 21:52:25 -0800\nSubject: " +
		subject + "\n\nHello " + subject + ".\n"
}

// testTLS is a configuration with a certificate made for the run.
var testTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})

// startTLS puts TLS on a client's connection.
func (h *harness) startTLS(name string) {
	h.t.Helper()
	c := h.conn(name)
	t := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	t.SetDeadline(time.Now().Add(10 * time.Second))
	if err := t.Handshake(); err != nil {
		h.t.Fatal(err)
	}
	t.SetDeadline(time.Time{})
	h.conns[name] = &testConn{t, bufio.NewReader(t)}
}

var errTest = errors.New("test failure")

// removeMessages removes the first n message files of a Maildir in the order of
// their names.
func removeMessages(t testing.TB, dir string, n int) {
	t.Helper()
	files, err := filepath.Glob(dir + "/cur/*")
	if err != nil || len(files) < n {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files[:n] {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
}
