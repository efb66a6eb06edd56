package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
)

// publicKey is the key of a DNS record.
type publicKey struct {
	alg Algorithm
	rsa *rsa.PublicKey
	ed  ed25519.PublicKey
}

// parseRecord reads the key of a name that has these texts (RFC 6376 section
// 3.6.1).
func parseRecord(txts []string) (*publicKey, error) {
	switch len(txts) {
	case 0:
		return nil, ErrNoRecord
	case 1:
	default:
		return nil, fmt.Errorf("%w: there are %d of them under one name", ErrRecord, len(txts))
	}
	tags, err := parseTags(txts[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if v, ok := tags.get("v"); ok && (v != "DKIM1" || tags[0].name != "v") {
		return nil, fmt.Errorf("%w: it must begin with v=DKIM1", ErrRecord)
	}
	for name, allowed := range map[string][]string{"h": {"sha256"}, "s": {"*", "email"}} {
		if list, ok := tags.get(name); ok && !slices.ContainsFunc(splitList(list), func(w string) bool { return slices.Contains(allowed, w) }) {
			return nil, fmt.Errorf("%w: %s=%.20s", ErrRecord, name, list)
		}
	}
	p, ok := tags.get("p")
	if ok && p == "" {
		return nil, ErrRevoked
	}
	data, err := base64.StdEncoding.DecodeString(withoutSpace(p))
	if err != nil {
		return nil, fmt.Errorf("%w: p= is not base64", ErrRecord)
	}
	alg, _ := tags.get("k")
	return newPublicKey(Algorithm(alg), data)
}

func newPublicKey(alg Algorithm, data []byte) (*publicKey, error) {
	switch alg {
	case Ed25519:
		if len(data) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: a key of %d bytes", ErrRecord, len(data))
		}
		return &publicKey{alg: Ed25519, ed: data}, nil
	case RSA, "":
		var key any
		var err error
		if key, err = x509.ParsePKIXPublicKey(data); err != nil {
			key, err = x509.ParsePKCS1PublicKey(data)
		}
		k, ok := key.(*rsa.PublicKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("%w: p= is no RSA key", ErrRecord)
		}
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, fmt.Errorf("%w: an RSA key of %d bits", ErrRecord, bits)
		}
		return &publicKey{alg: RSA, rsa: k}, nil
	}
	return nil, fmt.Errorf("%w: k=%.20q", ErrRecord, alg)
}

var errSignature = errors.New("the signature does not match")

// verify checks the signature of a SHA-256 digest.
func (k *publicKey) verify(digest, signature []byte) error {
	if k.alg == Ed25519 {
		if !ed25519.Verify(k.ed, digest, signature) { // RFC 8463 section 3
			return errSignature
		}
		return nil
	}
	if rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, digest, signature) != nil {
		return errSignature
	}
	return nil
}
