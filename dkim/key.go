package dkim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"svc.plus/mailsrvd/internal/durable"
)

// Algorithm is a kind of key, named as in the k= tag of the DNS record.
type Algorithm string

// The algorithms of RFC 6376 section 3.3 (with SHA-256 only) and RFC 8463.
const (
	RSA     Algorithm = "rsa"
	Ed25519 Algorithm = "ed25519"
)

const (
	minRSABits     = 1024 // RFC 8301 section 3.2: smaller ones must not be used
	goodRSABits    = 2048
	maxRSABits     = 8192 // what verifiers still take, far beyond use
	maxKeyFileSize = 64 << 10
)

// Key is a private key. It is immutable and safe for concurrent use.
type Key struct {
	signer crypto.Signer
	alg    Algorithm
	bits   int
	open   bool // the file can be read by everybody
}

// Algorithm tells the kind of key.
func (k *Key) Algorithm() Algorithm { return k.alg }

// Bits is the length of an RSA modulus, or 256 for Ed25519.
func (k *Key) Bits() int { return k.bits }

// Warnings returns what works but should be mended, as whole sentences without
// the file's name.
func (k *Key) Warnings() []string {
	var w []string
	if k.alg == RSA && k.bits < goodRSABits {
		w = append(w, fmt.Sprintf("the RSA key has %d bits; make a new one with %d under another selector", k.bits, goodRSABits))
	}
	if k.open {
		w = append(w, "everybody on this host can read the private key; chmod 640 it")
	}
	return w
}

// GenerateKey makes a new key: RSA with 2048 bits, or Ed25519.
func GenerateKey(alg Algorithm) (*Key, error) {
	switch alg {
	case RSA:
		k, err := rsa.GenerateKey(rand.Reader, goodRSABits)
		if err != nil {
			return nil, fmt.Errorf("making an RSA key: %w", err)
		}
		return newKey(k)
	case Ed25519:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("making an Ed25519 key: %w", err)
		}
		return newKey(k)
	}
	return nil, fmt.Errorf("there is no DKIM algorithm %q; there are %q and %q", alg, RSA, Ed25519)
}

func newKey(private any) (*Key, error) {
	switch k := private.(type) {
	case *rsa.PrivateKey:
		bits := k.N.BitLen()
		if bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("the RSA key has %d bits; verifiers take %d to %d", bits, minRSABits, maxRSABits)
		}
		return &Key{signer: k, alg: RSA, bits: bits}, nil
	case ed25519.PrivateKey:
		return &Key{signer: k, alg: Ed25519, bits: 256}, nil
	}
	return nil, fmt.Errorf("a %T cannot sign DKIM; RSA or Ed25519 is needed", private)
}

// LoadKey reads a private key from a PEM file: PKCS #1 or PKCS #8, RSA or
// Ed25519. Where the file belongs to a group of the daemon, call it with that
// group (asuser.Groups).
func LoadKey(path string) (*Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a DKIM key: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFileSize))
	if err != nil {
		return nil, fmt.Errorf("reading a DKIM key: %w", err)
	}
	k, err := ParseKey(data)
	if err != nil {
		return nil, fmt.Errorf("reading the DKIM key %s: %w", path, err)
	}
	if fi, err := f.Stat(); err == nil && fi.Mode().Perm()&0o004 != 0 {
		k.open = true
	}
	return k, nil
}

// ParseKey reads the first private key of a PEM text.
func ParseKey(data []byte) (*Key, error) {
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errEncrypted
			}
			k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("PKCS #1: %w", err)
			}
			return newKey(k)
		case "PRIVATE KEY":
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("PKCS #8: %w", err)
			}
			return newKey(k)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errEncrypted
		}
	}
	if seed, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(data))); err == nil && len(seed) == ed25519.SeedSize {
		return newKey(ed25519.NewKeyFromSeed(seed)) // what dkimpy's dknewkey writes
	}
	return nil, errors.New(`there is no PEM block "PRIVATE KEY" or "RSA PRIVATE KEY"`)
}

var errEncrypted = errors.New("the key is protected by a passphrase, which a daemon cannot type: store it without one, with mode 0640")

// MarshalPEM gives the private key in PKCS #8, as every mail program reads it.
func (k *Key) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return nil, fmt.Errorf("writing a DKIM key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// WriteFile writes the private key with mode 0600, durable when it returns nil.
// It never replaces a file: that is os.ErrExist, since a lost key breaks the
// signatures under way.
func (k *Key) WriteFile(path string) error {
	text, err := k.MarshalPEM()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("writing a DKIM key: %w", err)
	}
	defer root.Close()
	name := filepath.Base(path)
	if _, err := root.Lstat(name); err == nil {
		return fmt.Errorf("writing the DKIM key %s: %w", path, os.ErrExist)
	}
	err = durable.WriteFile(root, name, 0o600, nil, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing the DKIM key %s: %w", path, err)
	}
	return nil
}

// public gives the p= data of the record: for RSA a SubjectPublicKeyInfo (RFC
// 6376 errata 3017), for Ed25519 the bare 32 bytes (RFC 8463 section 4).
func (k *Key) public() []byte {
	if e, ok := k.signer.Public().(ed25519.PublicKey); ok {
		return e
	}
	der, err := x509.MarshalPKIXPublicKey(k.signer.Public())
	if err != nil {
		panic(fmt.Sprintf("dkim: an RSA key that cannot be marshalled: %v", err)) // newKey let no other in
	}
	return der
}
