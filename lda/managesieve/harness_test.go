package managesieve

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/listen"
)

// fakeAuth knows some accounts, whose password is "secret".
type fakeAuth struct {
	accounts map[string]auth.Account
	mu       sync.Mutex
	err      error // instead of an answer
	asked    []auth.Credentials
}

func (a *fakeAuth) Authenticate(_ context.Context, c auth.Credentials) (auth.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, c)
	account, known := a.accounts[c.Login]
	switch {
	case a.err != nil:
		return auth.Account{}, a.err
	case !known || c.Password != "secret":
		return auth.Account{}, &auth.Error{Kind: auth.Refused}
	}
	return account, nil
}

// newAccount makes an account with a private home, which the user may reach. As
// root it is uid's, else our own.
func newAccount(t testing.TB, name string, uid int) auth.Account {
	t.Helper()
	dir, err := os.MkdirTemp("", "managesieve")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	home := filepath.Join(dir, name)
	if err := errors.Join(os.Chmod(dir, 0o711), os.Mkdir(home, 0o700)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return auth.Account{Name: name, Owner: asuser.Self(name, home), Self: true}
	}
	if err := os.Chown(home, uid, uid); err != nil {
		t.Fatal(err)
	}
	return auth.Account{Name: name, Owner: asuser.Owner{Name: name, UID: uid, GID: uid, Home: home}}
}

// needRoot skips where identities cannot be changed; CI runs as root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to act as several users")
	}
}

// harness is a server on the loopback, with alice and bob.
type harness struct {
	t          testing.TB
	auth       *fakeAuth
	alice, bob auth.Account
	srv        *Server
	addr       string
	stop       func() error
}

// newHarness starts a server; change may alter its options.
func newHarness(t testing.TB, change func(*Options)) *harness {
	t.Helper()
	h := &harness{t: t, alice: newAccount(t, "alice", 20001), bob: newAccount(t, "bob", 20002)}
	h.auth = &fakeAuth{accounts: map[string]auth.Account{"alice": h.alice, "bob": h.bob}}
	o := Options{Hostname: "test", Auth: h.auth, InsecureAuth: true}
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
	h.stop = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return errors.Join(h.srv.Shutdown(ctx), <-done)
	})
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("the end of the server: %v", err)
		}
	})
	return h
}

// client is a connection; its methods fail the test.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// dial opens a connection and reads the greeting.
func (h *harness) dial() *client {
	h.t.Helper()
	raw, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	c := &client{raw, h.t, bufio.NewReader(raw)}
	h.t.Cleanup(func() { c.Close() })
	if end := c.answer(); !strings.HasPrefix(end[len(end)-1], "OK") {
		h.t.Fatalf("greeting: %q", end)
	}
	return c
}

// login is dial and a login.
func (h *harness) login(user string) *client {
	h.t.Helper()
	c := h.dial()
	if end := c.ask(plain(user)); end != `OK "Logged in."` {
		h.t.Fatalf("login: %s", end)
	}
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// line reads one line with the literals in it, its CRLFs written as CR LF in Go's
// way.
func (c *client) line() (string, error) {
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return all.String() + line, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		all.WriteString(line)
		var n int
		i := strings.LastIndexByte(line, '{')
		if i < 0 || !strings.HasSuffix(line, "}") {
			return all.String(), nil
		}
		if _, err := fmt.Sscanf(line[i:], "{%d}", &n); err != nil {
			return all.String(), nil
		}
		content := make([]byte, n)
		if _, err := io.ReadFull(c.r, content); err != nil {
			return all.String(), err
		}
		all.WriteString("\r\n" + string(content))
	}
}

// answer reads lines up to a reply, which is the last one.
func (c *client) answer() []string {
	c.t.Helper()
	var lines []string
	for {
		line, err := c.line()
		if err != nil {
			c.t.Fatalf("after %q: %q, %v", lines, line, err)
		}
		lines = append(lines, line)
		if word, _, _ := strings.Cut(line, " "); word == "OK" || word == "NO" || word == "BYE" {
			return lines
		}
	}
}

// ask sends a command and returns the answer, its lines joined by "|".
func (c *client) ask(command string) string {
	c.t.Helper()
	c.send(command + "\r\n")
	return strings.Join(c.answer(), "|")
}

// begin sends a part of a command and waits until the server has it: it answers what
// came before once it wants more.
func (c *client) begin(part string) {
	c.t.Helper()
	c.send("NOOP\r\n" + part)
	c.answer()
}

// closed waits for the end of the connection and returns what came before.
func (c *client) closed() string {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(c.r)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("the connection is not closed: %q, %v", b, err)
	}
	return string(b)
}

// literal writes a string as clients do.
func literal(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }

// startTLS upgrades the connection, and returns the capabilities told after it.
func (c *client) startTLS() []string {
	c.t.Helper()
	if end := c.ask("STARTTLS"); !strings.HasPrefix(end, "OK") {
		c.t.Fatalf("STARTTLS: %s", end)
	}
	t := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.r = t, bufio.NewReader(t)
	return c.answer()
}

// testTLS is a configuration with a certificate of its own.
func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// files lists what lies below a home: "path", "path -> target" or "path: content".
func files(t testing.TB, account auth.Account) []string {
	t.Helper()
	var list []string
	home := account.Owner.Home
	err := filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == home {
			return err
		}
		rel, _ := filepath.Rel(home, path)
		switch {
		case d.Type()&os.ModeSymlink != 0:
			to, err := os.Readlink(path)
			list = append(list, rel+" -> "+to)
			return err
		case d.Type().IsRegular():
			b, err := os.ReadFile(path)
			list = append(list, rel+": "+string(b))
			return err
		}
		list = append(list, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// writeAs writes a file of a user below the home, with the directory above it.
func writeAs(t testing.TB, account auth.Account, name, text string) {
	t.Helper()
	path := filepath.Join(account.Owner.Home, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	own(t, account, filepath.Dir(name), name)
}

// own gives paths below the home to the user.
func own(t testing.TB, account auth.Account, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Lchown(filepath.Join(account.Owner.Home, name), account.Owner.UID, account.Owner.GID); err != nil {
			t.Fatal(err)
		}
	}
}

// tracked wraps a listener with limits, as the daemon does.
func tracked(ln net.Listener, o listen.Options) net.Listener { return listen.New(ln, o) }
