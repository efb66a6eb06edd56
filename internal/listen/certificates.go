package listen

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// Pair names the PEM files of one certificate chain and its private key.
type Pair struct {
	Certificate, Key string
}

// Errors of certificates; each comes wrapped with the file's name.
var (
	// ErrExpired means that a certificate is not valid at this time.
	ErrExpired = errors.New("certificate is expired or not yet valid")
	// ErrNotCovered means that no certificate is good for a host name.
	ErrNotCovered = errors.New("no certificate covers this name")
	// ErrNoCertificate means that there is no pair at all.
	ErrNoCertificate = errors.New("no certificate is configured")
)

// Certificates are the pairs that a server presents, chosen by the name that
// the client asks for (SNI, RFC 6066 section 3). They can be replaced while
// connections live. Safe for concurrent use.
type Certificates struct {
	read    func(path string) ([]byte, error)
	current atomic.Pointer[certificateSet]
}

// certificateSet is one loaded generation; it does not change.
type certificateSet struct {
	pairs []Pair
	certs []*tls.Certificate // the first is the default
	sum   [sha256.Size]byte  // of all files
}

// LoadCertificates reads the pairs; the first serves clients that name no host
// or an unknown one. read reads a file, for keys that need borrowed rights;
// nil is os.ReadFile. The error joins the problems of all pairs. A certificate
// out of its time is loaded all the same: mail with a warning is better than
// none; Check tells.
func LoadCertificates(read func(path string) ([]byte, error), pairs ...Pair) (*Certificates, error) {
	if read == nil {
		read = os.ReadFile
	}
	c := &Certificates{read: read}
	set, err := c.load(pairs)
	if err != nil {
		return nil, err
	}
	c.current.Store(set)
	return c, nil
}

// Reload reads the given pairs, or the present ones when there are none given,
// and swaps them in as a whole. On any error the present ones stay: also when
// a new certificate is out of its time while all present ones are valid
// (ErrExpired).
func (c *Certificates) Reload(pairs ...Pair) error {
	old := c.current.Load()
	if len(pairs) == 0 {
		pairs = old.pairs
	}
	set, err := c.load(pairs)
	if err != nil {
		return err
	}
	return c.swap(old, set)
}

// Refresh is Reload of the present pairs if their files have changed, and
// reports whether they were swapped. A renewal that is seen half written gives
// an error and is whole at the next call.
func (c *Certificates) Refresh() (bool, error) {
	old := c.current.Load()
	set, err := c.load(old.pairs)
	if err != nil || set.sum == old.sum {
		return false, err
	}
	if err := c.swap(old, set); err != nil {
		return false, err
	}
	return true, nil
}

func (c *Certificates) swap(old, set *certificateSet) error {
	now := time.Now()
	if err := set.checkTime(now); err != nil && old.checkTime(now) == nil {
		return fmt.Errorf("keeping the present certificates: %w", err)
	}
	c.current.Store(set)
	return nil
}

// Check returns all problems at the given time: certificates out of their time
// (ErrExpired) and host names that none covers (ErrNotCovered).
func (c *Certificates) Check(now time.Time, hostnames ...string) error {
	set := c.current.Load()
	errs := []error{set.checkTime(now)}
	for _, h := range hostnames {
		if set.find(h) == nil {
			errs = append(errs, fmt.Errorf("%s: %w", h, ErrNotCovered))
		}
	}
	return errors.Join(errs...)
}

// NotAfter is when the first of the certificates ends.
func (c *Certificates) NotAfter() time.Time {
	var first time.Time
	for _, cert := range c.current.Load().certs {
		if t := cert.Leaf.NotAfter; first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first
}

// Leaves returns the end-entity certificates in the order of their pairs, for
// reports. They must not be changed.
func (c *Certificates) Leaves() []*x509.Certificate {
	var leaves []*x509.Certificate
	for _, cert := range c.current.Load().certs {
		leaves = append(leaves, cert.Leaf)
	}
	return leaves
}

// Chain is what a client that asks for hostname is shown, the server's own
// certificate first.
func (c *Certificates) Chain(hostname string) []*x509.Certificate {
	set := c.current.Load()
	cert := set.find(hostname)
	if cert == nil {
		cert = set.certs[0]
	}
	var chain []*x509.Certificate
	for _, der := range cert.Certificate {
		if parsed, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, parsed)
		}
	}
	return chain
}

// GetCertificate is for tls.Config: the first certificate that covers the
// client's server name and suits its signature algorithms, else the first.
func (c *Certificates) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	set := c.current.Load()
	if hello.ServerName != "" && len(set.certs) > 1 {
		for _, cert := range set.certs {
			if hello.SupportsCertificate(cert) == nil {
				return cert, nil
			}
		}
	}
	return set.certs[0], nil
}

func (c *Certificates) load(pairs []Pair) (*certificateSet, error) {
	if len(pairs) == 0 {
		return nil, ErrNoCertificate
	}
	set := &certificateSet{pairs: pairs}
	sum := sha256.New()
	var errs []error
	for _, p := range pairs {
		cert, err := c.loadPair(p, sum)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		set.certs = append(set.certs, cert)
	}
	sum.Sum(set.sum[:0])
	return set, errors.Join(errs...)
}

// loadPair also writes both files into sum.
func (c *Certificates) loadPair(p Pair, sum io.Writer) (*tls.Certificate, error) {
	chain, err := c.read(p.Certificate)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	key, err := c.read(p.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	sum.Write(chain)
	sum.Write(key)
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", p.Certificate, p.Key, err)
	}
	return &cert, nil
}

func (s *certificateSet) checkTime(now time.Time) error {
	var errs []error
	for i, cert := range s.certs {
		if leaf := cert.Leaf; now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			errs = append(errs, fmt.Errorf("%s (%s to %s): %w", s.pairs[i].Certificate,
				leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly), ErrExpired))
		}
	}
	return errors.Join(errs...)
}

// find returns the first certificate that is good for the host name, or nil.
func (s *certificateSet) find(hostname string) *tls.Certificate {
	for _, cert := range s.certs {
		if cert.Leaf.VerifyHostname(hostname) == nil {
			return cert
		}
	}
	return nil
}
