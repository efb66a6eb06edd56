package acme

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/crypto/acme"

	"svc.plus/mailsrvd/internal/durable"
)

// finalize has the certificate of a ready order made, for the key that we have:
// a TLSA record that names it stays right. uri is the order's own.
func (m *Manager) finalize(ctx context.Context, uri string, order *acme.Order) error {
	key, err := loadKey(File(m.o.Dir))
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: m.o.Names[0]}, DNSNames: m.o.Names,
	}, key)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	chain, _, err := m.client.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		// The library looks for an order that is still at work under the
		// Location of the answer, which not all servers give.
		done, waitErr := m.client.WaitOrder(ctx, uri)
		if waitErr != nil || done.CertURL == "" {
			return fmt.Errorf("finishing the order: %w", err)
		}
		if chain, err = m.client.FetchCert(ctx, done.CertURL, true); err != nil {
			return fmt.Errorf("fetching the certificate: %w", err)
		}
	}
	return m.write(key, chain)
}

// placeholder writes a self-signed certificate of a week.
func (m *Manager) placeholder(now time.Time) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: m.o.Names[0]}, DNSNames: m.o.Names,
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 7),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	return m.write(key, [][]byte{der})
}

// write replaces the file.
func (m *Manager) write(key crypto.Signer, chain [][]byte) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding the key: %w", err)
	}
	all := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, der := range chain {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return writeFile(File(m.o.Dir), all)
}

func writeFile(path string, b []byte) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer root.Close()
	return durable.WriteFile(root, filepath.Base(path), 0o600, nil, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return key, nil
}

// loadKey reads the private key that a file begins with, or makes the file with a
// new one.
func loadKey(path string) (crypto.Signer, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		return key, writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: is no PEM file; remove it to begin anew", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: is no signing key", path)
	}
	return signer, nil
}
