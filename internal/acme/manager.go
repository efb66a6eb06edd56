package acme

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

// Options configure a Manager.
type Options struct {
	// Directory is the URL of the server's directory object. Using a server
	// means to agree to its terms of service.
	Directory string
	// Email is where the server may write to; it may be empty.
	Email string
	// Names are what the certificate is for, the first being its main one.
	Names []string
	// Dir keeps the account key and the certificate; it is made with
	// mode 0700.
	Dir string
	// HTTP and TLSALPN say which proofs can be given: whether HTTPHandler is
	// reached on port 80 of each name, and Challenge on port 443.
	HTTP, TLSALPN bool
	// Roots verify the server; nil for the system's.
	Roots *x509.CertPool
	// Renewed is called after a new file was written; nil for nothing.
	Renewed func()
	Logger  *slog.Logger
}

// Manager renews the certificate. It answers the server's questions concurrently
// with its work.
type Manager struct {
	o      Options
	client *acme.Client

	avoid string // the kind of proof that failed last; for Renew alone

	mu     sync.Mutex
	tokens map[string]string           // path of http-01 to its answer
	proofs map[string]*tls.Certificate // name to its certificate for tls-alpn-01
}

// New makes the directory and, until the server has given a real one, a
// self-signed certificate of a week, so that TLS works from the first second.
func New(o Options) (*Manager, error) {
	if len(o.Names) == 0 {
		return nil, errors.New("no name to get a certificate for")
	}
	if !o.HTTP && !o.TLSALPN {
		return nil, errors.New("neither HTTP nor TLS can prove the names")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of certificates: %w", err)
	}
	key, err := loadKey(filepath.Join(o.Dir, "account.pem"))
	if err != nil {
		return nil, fmt.Errorf("the account's key: %w", err)
	}
	m := &Manager{o: o, tokens: map[string]string{}, proofs: map[string]*tls.Certificate{}}
	m.client = &acme.Client{Key: key, DirectoryURL: o.Directory, UserAgent: "mailsrvd"}
	if o.Roots != nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = &tls.Config{RootCAs: o.Roots}
		m.client.HTTPClient = &http.Client{Transport: t}
	}
	if _, err := m.leaf(); err != nil {
		if err := m.placeholder(time.Now()); err != nil {
			return nil, fmt.Errorf("making a first certificate: %w", err)
		}
	}
	return m, nil
}

// File is the path of the PEM file in the directory of a Manager that holds the
// key and the certificate with its chain: one file, so that the two always fit.
func File(dir string) string { return filepath.Join(dir, "certificate.pem") }

// leaf is the certificate that the file holds.
func (m *Manager) leaf() (*x509.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(File(m.o.Dir), File(m.o.Dir))
	if err != nil {
		return nil, err
	}
	return cert.Leaf, nil
}

// due reports why a new certificate is wanted, or "".
func (m *Manager) due(now time.Time) string {
	leaf, err := m.leaf()
	if err != nil {
		return err.Error()
	}
	for _, name := range m.o.Names {
		if leaf.VerifyHostname(name) != nil {
			return "it does not cover " + name
		}
	}
	switch {
	case leaf.Issuer.String() == leaf.Subject.String():
		return "it is self-signed"
	case leaf.NotAfter.Sub(now) < leaf.NotAfter.Sub(leaf.NotBefore)/3:
		return "it ends at " + leaf.NotAfter.Format(time.RFC3339)
	}
	return ""
}

// How long one attempt may take, how often is looked, and how failures space
// the attempts. Let's Encrypt allows five failures an hour for a name.
const (
	attemptTime = 5 * time.Minute
	lookEvery   = 6 * time.Hour
	retryMin    = time.Minute
	retryMax    = 12 * time.Hour
)

// Run renews until ctx ends: when two thirds of the certificate's life are over,
// or the names have changed.
func (m *Manager) Run(ctx context.Context) {
	var wait, backoff time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		why := m.due(time.Now())
		if why == "" {
			wait, backoff = lookEvery, 0
			continue
		}
		m.o.Logger.Info("getting a certificate", "names", m.o.Names, "why", why)
		if err := m.Renew(ctx); err != nil {
			backoff = min(max(backoff*4, retryMin), retryMax)
			wait = backoff + rand.N(backoff/2)
			m.o.Logger.Error("no new certificate", "err", err, "retry", wait.Round(time.Second))
			continue
		}
		wait, backoff = lookEvery, 0
	}
}

// Renew gets a new certificate now and writes the file. Not to be called while
// another Renew or Run is at work.
func (m *Manager) Renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	if err := m.register(ctx); err != nil {
		return fmt.Errorf("registering at %s: %w", m.o.Directory, err)
	}
	order, err := m.client.AuthorizeOrder(ctx, acme.DomainIDs(m.o.Names...))
	if err != nil {
		return fmt.Errorf("ordering a certificate: %w", err)
	}
	for _, url := range order.AuthzURLs {
		if err := m.authorize(ctx, url); err != nil {
			return err
		}
	}
	ready, err := m.client.WaitOrder(ctx, order.URI)
	if err != nil {
		return fmt.Errorf("waiting for the order: %w", err)
	}
	if err := m.finalize(ctx, order.URI, ready); err != nil {
		return err
	}
	m.o.Logger.Info("new certificate written", "names", m.o.Names, "file", File(m.o.Dir))
	if m.o.Renewed != nil {
		m.o.Renewed()
	}
	return nil
}

func (m *Manager) register(ctx context.Context) error {
	a := &acme.Account{}
	if m.o.Email != "" {
		a.Contact = []string{"mailto:" + m.o.Email}
	}
	if _, err := m.client.Register(ctx, a, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return err
	}
	return nil
}

// authorize proves that a name is ours.
func (m *Manager) authorize(ctx context.Context, url string) error {
	z, err := m.client.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("reading an authorization: %w", err)
	}
	name := z.Identifier.Value
	if z.Status == acme.StatusValid { // from an earlier order
		return nil
	}
	c := m.choose(z.Challenges)
	if c == nil {
		return fmt.Errorf("%s: the server offers no proof that we can give", name)
	}
	undo, err := m.prepare(name, c)
	if err != nil {
		return fmt.Errorf("%s: preparing the proof: %w", name, err)
	}
	defer undo()
	if _, err := m.client.Accept(ctx, c); err != nil {
		return fmt.Errorf("%s: asking for the check: %w", name, err)
	}
	if _, err := m.client.WaitAuthorization(ctx, z.URI); err != nil {
		m.avoid = c.Type
		return fmt.Errorf("%s: %s failed (does the name lead here, and is the port open?): %w", name, c.Type, reason(err))
	}
	return nil
}

// choose takes http-01 if it can be had, since proxies leave it alone, but after
// a failure the other proof.
func (m *Manager) choose(offered []*acme.Challenge) *acme.Challenge {
	var best *acme.Challenge
	for _, c := range offered {
		able := c.Type == "http-01" && m.o.HTTP || c.Type == "tls-alpn-01" && m.o.TLSALPN
		if able && (best == nil || best.Type == m.avoid || c.Type == "http-01" && m.avoid != "http-01") {
			best = c
		}
	}
	return best
}

// reason is what the server says of a failed check, without the URLs around it.
func reason(err error) error {
	var z *acme.AuthorizationError
	if errors.As(err, &z) {
		return cmp.Or(errors.Join(z.Errors...), err)
	}
	return err
}
