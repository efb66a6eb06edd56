package dev

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/config"
)

func options(dir string) Options {
	return Options{
		Dir:          dir,
		NewDKIMKey:   func() ([]byte, error) { return []byte("key\n"), nil },
		HashPassword: func(p string) (string, error) { return "{PLAIN}" + p, nil },
	}
}

// shortDir is a directory whose name leaves room for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dev")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestSiteIsAValidConfiguration(t *testing.T) {
	dir := filepath.Join(shortDir(t), "x", "dev")
	s, err := Make(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.MX[0] != "127.0.0.1:2525" || c.Listen.IMAPS[0] != "127.0.0.1:2993" || !c.Relay.Hold || c.User != "" || c.StateDir != filepath.Join(dir, "state") {
		t.Errorf("%+v", c)
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for _, name := range []string{Hostname, "localhost", "127.0.0.1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err != nil || fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v, %v", path, fi.Mode(), err)
		}
		return nil
	})
}

func TestSecondStartKeepsEverything(t *testing.T) {
	dir := shortDir(t)
	first, err := Make(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	names := []string{"mailsrvd.toml", "passwd", "passwords", "cert.pem", "key.pem", "aliases"}
	before := map[string]string{}
	for _, n := range names {
		before[n] = read(n)
	}
	second, err := Make(options(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if read(n) != before[n] {
			t.Errorf("%s changed", n)
		}
	}
	if len(first.Passwords) != 2 || first.Passwords["bob"] != second.Passwords["bob"] || len(second.Passwords["bob"]) != 12 {
		t.Errorf("%v, then %v", first.Passwords, second.Passwords)
	}
	if !strings.Contains(before["passwd"], "bob:{PLAIN}"+first.Passwords["bob"]+"::::"+dir+"/home/bob::\n") {
		t.Errorf("passwd: %s", before["passwd"])
	}

	o := options(dir)
	o.PortBase = 30000
	if _, err := Make(o); err != nil || !strings.Contains(read("mailsrvd.toml"), "127.0.0.1:30525") {
		t.Errorf("another port base: %v\n%s", err, read("mailsrvd.toml"))
	}
}

func TestFailedStepLeavesNoHalfFile(t *testing.T) {
	o := options(shortDir(t))
	o.HashPassword = func(string) (string, error) { return "", errors.New("boom") }
	if _, err := Make(o); err == nil {
		t.Fatal("no error")
	}
	if s, err := Make(options(o.Dir)); err != nil || s.Passwords["alice"] == "" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestLongDirectoryIsRefused(t *testing.T) {
	_, err := Make(options(filepath.Join(shortDir(t), strings.Repeat("x", 100))))
	if err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Error(err)
	}
}

func TestInstructionsHavePasswordsAndPorts(t *testing.T) {
	s := &Site{Dir: "/d", Config: "/d/mailsrvd.toml", Passwords: map[string]string{"alice": "pa", "bob": "pb"}}
	got := s.Instructions(Ports{MX: "h:1", Submission: "h:2", Submissions: "h:3", IMAP: "h:4", IMAPS: "h:5", ManageSieve: "h:6"}, "bin/mailsrvd")
	for _, want := range []string{"swaks --server h:2 --tls", "--auth-password pa", "bob:pb", "h:1", "h:3", "h:4", "-connect h:5", "ManageSieve h:6", "bin/mailsrvd queue list --config /d/mailsrvd.toml"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestWelcomeIsAMessage(t *testing.T) {
	b := Welcome("bob", time.Unix(1e9, 0))
	m, err := mail.ReadMessage(strings.NewReader(string(b)))
	if err != nil || m.Header.Get("To") != "bob@example.test" {
		t.Fatalf("%v %v", m, err)
	}
	if strings.Count(string(b), "\n") != strings.Count(string(b), "\r\n") {
		t.Error("a line end is not CRLF")
	}
}
