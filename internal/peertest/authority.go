package peertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues certificates.
type Authority struct {
	Certificate *x509.Certificate
	t           testing.TB
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one with a key of its own.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t}
	p := a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test authority"}}, time.Hour)
	a.Certificate, a.key = p.Leaf, p.key
	return a
}

// Pair is a certificate with its key.
type Pair struct {
	Leaf  *x509.Certificate
	key   *ecdsa.PrivateKey
	chain []byte // PEM
}

// Issue makes a certificate for names, which expires after valid; that may be
// in the past.
func (a *Authority) Issue(valid time.Duration, names ...string) *Pair {
	a.t.Helper()
	return a.sign(&x509.Certificate{DNSNames: names, Subject: pkix.Name{CommonName: names[0]}}, valid)
}

func (a *Authority) sign(tpl *x509.Certificate, valid time.Duration) *Pair {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tpl.NotBefore, tpl.NotAfter = time.Now().Add(-24*time.Hour), time.Now().Add(valid)
	parent, signer := a.Certificate, a.key
	if parent == nil {
		parent, signer = tpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	p := &Pair{Leaf: leaf, key: key, chain: encode(leaf)}
	if a.Certificate != nil {
		p.chain = append(p.chain, encode(a.Certificate)...)
	}
	return p
}

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// Write puts the authority's certificate into a file.
func (a *Authority) Write(path string) {
	a.t.Helper()
	writeFile(a.t, path, encode(a.Certificate))
}

// Write puts the pair into <name>.pem, with the authority's certificate behind
// it, and <name>.key below dir.
func (p *Pair) Write(t testing.TB, dir, name string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for path, text := range map[string][]byte{cert: p.chain, key: p.keyPEM(t)} {
		writeFile(t, path, text)
	}
	return cert, key
}

func (p *Pair) keyPEM(t testing.TB) []byte {
	t.Helper()
	b, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}

// TLS is the pair for a server of our own.
func (p *Pair) TLS(t testing.TB) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(p.chain, p.keyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
