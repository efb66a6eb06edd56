package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"svc.plus/mailsrvd/internal/dns"
)

// The values of RFC 6698 section 7 that are in use with SMTP.
const (
	usageTA = 2
	usageEE = 3

	wholeCert = 0
	publicKey = 1

	exact  = 0
	digest = 1 // SHA-256
	long   = 2 // SHA-512
)

// usable reports whether a record can be met at all.
func usable(t dns.TLSA) bool {
	if t.Usage != usageTA && t.Usage != usageEE || t.Selector > publicKey {
		return false
	}
	switch t.MatchingType {
	case exact:
		return len(t.Data) > 0
	case digest:
		return len(t.Data) == sha256.Size
	case long:
		return len(t.Data) == sha512.Size
	}
	return false
}

// matches compares one certificate with a usable record (RFC 6698 section 2.1).
func matches(t dns.TLSA, c *x509.Certificate) bool {
	data := c.Raw
	if t.Selector == publicKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch t.MatchingType {
	case digest:
		sum := sha256.Sum256(data)
		data = sum[:]
	case long:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return bytes.Equal(data, t.Data)
}

// Check reports whether senders that follow DANE would deliver to a host of a
// domain that has these records and shows this chain, its own certificate first.
// Records that none of them can use do not matter.
func Check(records []dns.TLSA, domain, host string, chain []*x509.Certificate) error {
	good := slices.DeleteFunc(slices.Clone(records), func(t dns.TLSA) bool { return !usable(t) })
	if len(good) == 0 {
		return nil
	}
	return authority{records: good, names: names(domain, host, host)}.check(chain)
}

// authority is what a server's certificates are held against.
type authority struct {
	records []dns.TLSA // usable ones
	names   []string
}

// check accepts the chain that a server sent, its own certificate first.
func (a authority) check(chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("the server has no certificate")
	}
	anchors, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, t := range a.records {
		if t.Usage == usageEE {
			// Neither names nor dates count (RFC 7672 section 3.1.1).
			if matches(t, chain[0]) {
				return nil
			}
			continue
		}
		if c := anchor(t); c != nil { // the server need not send it
			anchors.AddCert(c)
			found = true
		}
		for _, c := range chain[1:] {
			if matches(t, c) {
				anchors.AddCert(c)
				found = true
			}
		}
	}
	if !found {
		return errors.New("no certificate of the server matches its TLSA records")
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	var err error
	for _, name := range a.names {
		if _, err = chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: anchors, Intermediates: between}); err == nil {
			return nil
		}
	}
	return fmt.Errorf("verifying the certificate up to the one of the TLSA record: %w", err)
}

// anchor is the certificate that a record holds whole, or nil.
func anchor(t dns.TLSA) *x509.Certificate {
	if t.Selector != wholeCert || t.MatchingType != exact {
		return nil
	}
	c, err := x509.ParseCertificate(t.Data)
	if err != nil {
		return nil
	}
	return c
}
