package probe

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
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// host is a mail server made of the libraries' own ones: what arrives by SMTP
// is put into the INBOX.
type host struct {
	user     *imapmemserver.User
	smtp     string
	imap     string
	tls      *tls.Config // the client's
	password string
	lose     bool // messages are accepted and thrown away
	spoil    bool // messages are stored with another text
}

func (h *host) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{h: h}, nil }

type session struct {
	h  *host
	in bool
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }
func (s *session) AuthMechanisms() []string {
	return []string{sasl.Plain}
}
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "alice" || password != s.h.password {
			return smtp.ErrAuthFailed
		}
		s.in = true
		return nil
	}), nil
}
func (s *session) Mail(string, *smtp.MailOptions) error {
	if !s.in {
		return smtp.ErrAuthRequired
	}
	return nil
}
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to != "alice@example.org" {
		return &smtp.SMTPError{Code: 550, Message: "no such user"}
	}
	return nil
}
func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil || s.h.lose {
		return err
	}
	if s.h.spoil {
		b = bytes.Replace(b, []byte("arrives: "), []byte("arrives: x\r\n."), 1)
		b = b[:bytes.Index(b, []byte("\r\n."))+2]
	}
	_, err = s.h.user.Append("INBOX", bytes.NewReader(b), &imap.AppendOptions{})
	return err
}

// start makes a host with certificates for 127.0.0.1, with TLS from the first
// byte or STARTTLS.
func start(t *testing.T, implicit bool) *host {
	t.Helper()
	cert, roots := certificate(t)
	server := &tls.Config{Certificates: []tls.Certificate{cert}}
	h := &host{user: imapmemserver.NewUser("alice", "secret"), tls: &tls.Config{RootCAs: roots}, password: "secret"}
	if err := h.user.Create("INBOX", nil); err != nil {
		t.Fatal(err)
	}
	mem := imapmemserver.New()
	mem.AddUser(h.user)
	is := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mem.NewSession(), nil, nil
		},
		Caps:      imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}},
		TLSConfig: server,
	})
	ss := smtp.NewServer(h)
	ss.TLSConfig, ss.Domain = server, "mail.example.org"
	h.imap = listenOn(t, is, server, implicit)
	h.smtp = listenOn(t, ss, server, implicit)
	return h
}

func listenOn(t *testing.T, s interface {
	Serve(net.Listener) error
	Close() error
}, c *tls.Config, implicit bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if implicit {
		l = tls.NewListener(l, c)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return addr
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

func (h *host) options(implicit bool) Options {
	return Options{SMTP: h.smtp, IMAP: h.imap, ImplicitSMTP: implicit, ImplicitIMAP: implicit, TLS: h.tls,
		User: "alice", Password: "secret", Address: "alice@example.org", Timeout: 20 * time.Second}
}

func TestProbeSendsReadsAndDeletes(t *testing.T) {
	for name, implicit := range map[string]bool{"TLS": true, "STARTTLS": false} {
		t.Run(name, func(t *testing.T) {
			h := start(t, implicit)
			o := h.options(implicit)
			var steps []string
			o.Step = func(name string, _ time.Duration) { steps = append(steps, name) }
			if err := Run(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(steps, ", "); got != "connect to IMAP, log in to IMAP, submit a message, find it in the INBOX, read it, delete it" {
				t.Errorf("steps: %s", got)
			}
			s, err := h.user.Status("INBOX", &imap.StatusOptions{NumMessages: true})
			if err != nil || *s.NumMessages != 0 {
				t.Errorf("%d messages are left, %v", *s.NumMessages, err)
			}
		})
	}
}

func TestProbeNamesTheStepThatFailed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*host, *Options)
		want  string
	}{
		{"no IMAP server", func(_ *host, o *Options) { o.IMAP = "127.0.0.1:1" }, "could not connect to IMAP"},
		{"no SMTP server", func(_ *host, o *Options) { o.SMTP = "127.0.0.1:1" }, "could not submit a message"},
		{"wrong password", func(_ *host, o *Options) { o.Password = "x" }, "could not log in to IMAP"},
		{"wrong password for SMTP", func(h *host, _ *Options) { h.password = "other" }, "could not submit a message"},
		{"unknown address", func(_ *host, o *Options) { o.Address = "bob@example.org" }, "no such user"},
		{"certificate of nobody", func(_ *host, o *Options) { o.TLS = &tls.Config{} }, "certificate"},
		{"message is lost", func(h *host, o *Options) { h.lose, o.Timeout = true, 500*time.Millisecond }, "could not find it in the INBOX: not done within 500ms"},
		{"message is not the same", func(h *host, _ *Options) { h.spoil = true }, "could not read it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, true)
			o := h.options(true)
			tt.spoil(h, &o)
			err := Run(context.Background(), o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	h := start(t, true)
	ctx, cancel := context.WithCancelCause(context.Background())
	boom := errors.New("boom")
	cancel(boom)
	if err := Run(ctx, h.options(true)); err == nil || !errors.Is(err, boom) {
		t.Error(err)
	}
}
