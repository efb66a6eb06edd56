package acme

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/acme/pebble"
)

// answer serves the proofs of the present manager on the ports where the server
// asks.
func answer(t *testing.T, p pebble.Server, m *atomic.Pointer[Manager]) {
	t.Helper()
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.Load().ServeHTTP(w, r) }))
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	for _, s := range []struct {
		*httptest.Server
		port string
	}{{web, p.HTTPPort}, {secure, p.TLSPort}} {
		l, err := net.Listen("tcp", "127.0.0.1:"+s.port)
		if err != nil {
			t.Fatal(err)
		}
		s.Listener.Close()
		s.Listener = l
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
		t.Cleanup(s.Close)
	}
	web.Start()
	secure.TLS = &tls.Config{NextProtos: []string{"http/1.1", ALPN}, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if cert, err := m.Load().Challenge(h); cert != nil || err != nil {
			return cert, err
		}
		return nil, fmt.Errorf("only proofs here")
	}}
	secure.StartTLS()
}

func TestCertificateFromARealServer(t *testing.T) {
	p := pebble.Start(t, "mail.example.test. A 127.0.0.1\nautoconfig.example.test. A 127.0.0.1\n")
	b, err := os.ReadFile(p.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b)
	for _, tt := range []struct {
		name string
		o    Options
		err  string
	}{
		{"http-01", Options{HTTP: true, Names: []string{"mail.example.test", "autoconfig.example.test"}}, ""},
		{"tls-alpn-01", Options{TLSALPN: true, Names: []string{"mail.example.test"}}, ""},
		{"a name that leads nowhere", Options{HTTP: true, TLSALPN: true, Names: []string{"nowhere.example.test"}}, "nowhere.example.test: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.o
			renewed := 0
			o.Directory, o.Roots, o.Email, o.Dir, o.Logger = p.Directory, roots, "admin@example.test", filepath.Join(t.TempDir(), "acme"), slog.New(slog.DiscardHandler)
			o.Renewed = func() { renewed++ }
			m, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			var present atomic.Pointer[Manager]
			present.Store(m)
			answer(t, p, &present)
			if why := m.due(time.Now()); why != "it is self-signed" {
				t.Fatalf("before: %q", why)
			}
			err = m.Renew(t.Context())
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || renewed != 0 {
					t.Errorf("err = %v, renewed %d", err, renewed)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := m.leaf()
			if err != nil || !strings.Contains(leaf.Issuer.CommonName, "Pebble") || len(leaf.DNSNames) != len(o.Names) || renewed != 1 {
				t.Fatalf("%v, %v, renewed %d", leaf, err, renewed)
			}
			if why := m.due(time.Now()); why != "" {
				t.Errorf("after: %q", why)
			}
			if why := m.due(leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 4)); !strings.Contains(why, "ends at") {
				t.Errorf("in the last third: %q", why)
			}
			// The next process has the same account, and nothing to do.
			again, err := New(o)
			if err != nil || again.due(time.Now()) != "" {
				t.Fatalf("%v", err)
			}
			present.Store(again)
			if err := again.Renew(t.Context()); err != nil {
				t.Errorf("with the account there already: %v", err)
			}
			if next, err := again.leaf(); err != nil || next.SerialNumber.Cmp(leaf.SerialNumber) == 0 || !bytes.Equal(next.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo) {
				t.Errorf("not a new certificate for the same key: %v", err)
			}
		})
	}
}
