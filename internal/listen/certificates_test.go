package listen

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type testPair struct {
	pair Pair
	pool *x509.CertPool
	der  []byte
}

// newPair makes a self-signed pair of files that is valid for names now.
func newPair(t testing.TB, names ...string) testPair {
	return newPairAt(t, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour), names...)
}

func newPairAt(t testing.TB, from, to time.Time, names ...string) testPair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := testPair{pair: Pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}, pool: x509.NewCertPool(), der: der}
	cert, _ := x509.ParseCertificate(der)
	p.pool.AddCert(cert)
	writePEM(t, p.pair.Certificate, "CERTIFICATE", der)
	writePEM(t, p.pair.Key, "PRIVATE KEY", keyDER)
	return p
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// served is the certificate that a client gets who asks for the name.
func served(t *testing.T, c *Certificates, name string) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go tls.Server(a, SMTPConfig(c)).Handshake()
	client := tls.Client(b, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client.ConnectionState().PeerCertificates[0].Raw
}

func TestServerNameChoosesTheCertificate(t *testing.T) {
	first, second := newPair(t, "one.example", "*.sub.example"), newPair(t, "two.example")
	c, err := LoadCertificates(nil, first.pair, second.pair)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]testPair{
		"one.example":   first,
		"two.example":   second,
		"TWO.example":   second,
		"a.sub.example": first,
		"unknown.test":  first,
		"":              first,
	} {
		if got := served(t, c, name); string(got) != string(want.der) {
			t.Errorf("%q got the wrong certificate", name)
		}
	}
}

func TestReloadSwapsAndKeepsOldOnError(t *testing.T) {
	old, next := newPair(t, "localhost"), newPair(t, "localhost")
	expired := newPairAt(t, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour), "localhost")
	c, err := LoadCertificates(nil, old.pair)
	if err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name   string
		change func()
		err    string
		want   testPair
	}{
		{"half a renewal: the key does not fit", func() { copyFile(t, old.pair.Certificate, next.pair.Certificate) }, "private key does not match", old},
		{"the whole renewal", func() { copyFile(t, old.pair.Key, next.pair.Key) }, "", next},
		{"an expired one", func() {
			copyFile(t, old.pair.Certificate, expired.pair.Certificate)
			copyFile(t, old.pair.Key, expired.pair.Key)
		}, "expired", next},
		{"no PEM", func() { os.WriteFile(old.pair.Certificate, []byte("nothing"), 0o600) }, old.pair.Certificate, next},
		{"no file", func() { os.Remove(old.pair.Key) }, "no such file", next},
	}
	for _, s := range steps {
		s.change()
		err := c.Reload()
		if (err == nil) != (s.err == "") || (err != nil && !strings.Contains(err.Error(), s.err)) {
			t.Errorf("%s: Reload = %v, want %q", s.name, err, s.err)
		}
		if got := served(t, c, "localhost"); string(got) != string(s.want.der) {
			t.Errorf("%s: wrong certificate is served", s.name)
		}
	}
	if err := c.Reload(next.pair, newPair(t, "more.example").pair); err != nil || len(c.Leaves()) != 2 {
		t.Errorf("other pairs: %v, %d leaves", err, len(c.Leaves()))
	}
}

func TestRefreshSwapsWholeRenewalsOnly(t *testing.T) {
	old, next := newPair(t, "localhost"), newPair(t, "localhost")
	c, err := LoadCertificates(nil, old.pair)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := c.Refresh(); changed || err != nil {
		t.Errorf("nothing changed: %v, %v", changed, err)
	}
	copyFile(t, old.pair.Certificate, next.pair.Certificate)
	if changed, err := c.Refresh(); changed || err == nil {
		t.Errorf("half a renewal: %v, %v", changed, err)
	}
	copyFile(t, old.pair.Key, next.pair.Key)
	if changed, err := c.Refresh(); !changed || err != nil {
		t.Errorf("a whole renewal: %v, %v", changed, err)
	}
	if got := served(t, c, "localhost"); string(got) != string(next.der) {
		t.Error("the old certificate is served")
	}
	expired := newPairAt(t, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour), "localhost")
	copyFile(t, old.pair.Certificate, expired.pair.Certificate)
	copyFile(t, old.pair.Key, expired.pair.Key)
	if changed, err := c.Refresh(); changed || !errors.Is(err, ErrExpired) {
		t.Errorf("an expired one: %v, %v", changed, err)
	}
}

func TestLoadReportsAllPairs(t *testing.T) {
	_, err := LoadCertificates(nil, Pair{"/nonexistent/a", "/nonexistent/b"}, newPair(t, "x").pair, Pair{"/nonexistent/c", "/nonexistent/d"})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/a") || !strings.Contains(err.Error(), "/nonexistent/c") {
		t.Errorf("err = %v", err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	if _, err := LoadCertificates(nil); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("no pair: %v", err)
	}
}

func TestLoadReadsWithBorrowedRights(t *testing.T) {
	p := newPair(t, "x")
	var read []string
	_, err := LoadCertificates(func(path string) ([]byte, error) { read = append(read, path); return os.ReadFile(path) }, p.pair)
	if err != nil || len(read) != 2 || read[0] != p.pair.Certificate || read[1] != p.pair.Key {
		t.Errorf("read %v, %v", read, err)
	}
}

func TestCheckTellsNamesAndTimes(t *testing.T) {
	p := newPair(t, "mail.example")
	c, err := LoadCertificates(nil, p.pair)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(time.Now(), "mail.example"); err != nil {
		t.Errorf("Check = %v", err)
	}
	err = c.Check(time.Now().Add(48*time.Hour), "mail.example", "imap.example")
	if !errors.Is(err, ErrExpired) || !errors.Is(err, ErrNotCovered) || !strings.Contains(err.Error(), "imap.example") {
		t.Errorf("Check = %v", err)
	}
	if !c.NotAfter().Equal(c.Leaves()[0].NotAfter) {
		t.Errorf("NotAfter = %v", c.NotAfter())
	}
}

func TestConfigRefusesOldTLS(t *testing.T) {
	c, _ := LoadCertificates(nil, newPair(t, "x").pair)
	smtp, imap := SMTPConfig(c), IMAPConfig(c)
	if smtp.MinVersion != tls.VersionTLS12 || imap.MinVersion != tls.VersionTLS12 {
		t.Error("TLS below 1.2 is possible")
	}
	if !smtp.SessionTicketsDisabled || imap.SessionTicketsDisabled {
		t.Error("session tickets: off for SMTP, on for IMAP")
	}
	if got := ServerConfig(c, TLSOptions{MinVersion: tls.VersionTLS10}).MinVersion; got != tls.VersionTLS12 {
		t.Errorf("MinVersion = %x", got)
	}
}
