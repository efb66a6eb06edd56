package acme

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/crypto/acme"
)

// ALPN is the protocol of the handshakes that Challenge answers; the
// tls.Config must list it in NextProtos.
const ALPN = acme.ALPNProto

// prepare makes the answer to a challenge available until undo is called.
func (m *Manager) prepare(name string, c *acme.Challenge) (undo func(), err error) {
	if c.Type == "http-01" {
		answer, err := m.client.HTTP01ChallengeResponse(c.Token)
		if err != nil {
			return nil, err
		}
		return put(m, m.tokens, m.client.HTTP01ChallengePath(c.Token), answer), nil
	}
	cert, err := m.client.TLSALPN01ChallengeCert(c.Token, name)
	if err != nil {
		return nil, err
	}
	return put(m, m.proofs, name, &cert), nil
}

func put[V any](m *Manager, to map[string]V, key string, v V) (undo func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	to[key] = v
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(to, key)
	}
}

// ServeHTTP answers the server's http-01 questions, below
// /.well-known/acme-challenge/ on port 80.
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	answer, ok := m.tokens[r.URL.Path]
	m.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	io.WriteString(w, answer)
}

// Challenge gives the certificate of a tls-alpn-01 handshake on port 443; nil
// if the client wants something else.
func (m *Manager) Challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !slices.Contains(hello.SupportedProtos, ALPN) {
		return nil, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	cert := m.proofs[strings.ToLower(hello.ServerName)]
	if cert == nil {
		return nil, fmt.Errorf("no proof of %q is asked for", hello.ServerName)
	}
	return cert, nil
}
