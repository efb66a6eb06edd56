// Package pebble runs Let's Encrypt's small ACME server for tests.
package pebble

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/dns"
)

// pebbleModule is Let's Encrypt's small ACME server for tests. It is built
// apart from this module, whose dependencies it must not become.
const pebbleModule = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// Server is an ACME server on loopback.
type Server struct {
	// Directory is the URL of its directory; CAFile verifies it.
	Directory, CAFile string
	// HTTPPort and TLSPort are where it asks for http-01 and tls-alpn-01.
	HTTPPort, TLSPort string
}

// Start runs a server until the test ends, which finds the zone's names. Without
// a Go module proxy to get it from, the test is skipped.
func Start(t *testing.T, zone string) Server {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "install", pebbleModule)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("no ACME server to test against: go install %s: %v\n%s", pebbleModule, err, out)
	}
	names, err := dns.NewFake(zone)
	if err != nil {
		t.Fatal(err)
	}
	nameserver, err := names.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Server{CAFile: filepath.Join(dir, "server.pem"), HTTPPort: freePort(t), TLSPort: freePort(t)}
	listen := "127.0.0.1:" + freePort(t)
	s.Directory = "https://" + listen + "/dir"
	serverPair(t, s.CAFile)
	conf, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "certificate": s.CAFile, "privateKey": s.CAFile,
		"httpPort": json.Number(s.HTTPPort), "tlsPort": json.Number(s.TLSPort), "retryAfter": map[string]int{"authz": 1, "order": 1},
	}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), conf, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), filepath.Join(dir, "pebble"), "-config", filepath.Join(dir, "config.json"), "-dnsserver", nameserver)
	server.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
		if b, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the ACME server says:\n%s", b)
		}
	})
	for range 100 {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			c.Close()
			return s
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the ACME server does not listen")
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// serverPair makes the certificate of the ACME server itself, and its key.
func serverPair(t *testing.T, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
