package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Level is how much TLS a delivery needs. Higher is stricter.
type Level int

// The levels of TLS.
const (
	// Opportunistic takes TLS where it is offered and checks nothing.
	Opportunistic Level = iota
	// Encrypted does not deliver without TLS, and checks nothing.
	Encrypted
	// Verified does not deliver without TLS to a host that has proved its name.
	Verified
)

func (l Level) String() string {
	return [...]string{"opportunistic", "encrypted", "verified"}[l]
}

// Host is a mail exchanger as a Policy sees it.
type Host struct {
	// Name is the host's, as A-labels; an address literal has its text here.
	Name string
	// SecureMX says that DNSSEC vouches for the MX record that named it, or for
	// there being none, so that the domain itself is the host.
	SecureMX bool
}

// Policy says what delivery to a host of a domain demands of TLS (MTA-STS, RFC
// 8461; DANE, RFC 7672; or the administrator). An error means that this host is
// not to be used at the moment, such as one that the domain's MTA-STS policy
// does not list; it is a *status.Error, else temporary. The Requirement beside it
// then says whose policy it was and what is wrong (Published, Flaw).
type Policy func(ctx context.Context, domain string, host Host) (Requirement, error)

// Strictest makes one Policy of several. They are asked in turn, until one wants
// the host verified or finds it unusable: what comes first wins over what comes
// later, as DANE does over MTA-STS (RFC 8461 section 2).
func Strictest(policies ...Policy) Policy {
	return func(ctx context.Context, domain string, host Host) (Requirement, error) {
		var all Requirement
		for _, p := range policies {
			q, err := p(ctx, domain, host)
			if err != nil {
				return q, err
			}
			if all = all.stricter(q); q.Level == Verified {
				break
			}
		}
		return all, nil
	}
}

// Requirement is a Policy's answer. The zero value is opportunistic TLS.
type Requirement struct {
	Level Level
	// Names are the certificate names that will do; none means the host's own.
	Names []string
	// ServerName is what the server is asked for (SNI, RFC 6066 section 3); empty
	// means the host's name.
	ServerName string
	// Verify takes the place of the check against the root certificates, for
	// DANE.
	Verify func(tls.ConnectionState) error
	// ID tells requirements apart: connections are shared between messages
	// whose requirements for a host have the same ID and Level.
	ID string
	// Report asks for the check of a Verified host all the same, where Level is
	// less: what it finds goes to Options.Observe and changes nothing, as mode
	// testing of MTA-STS wants it.
	Report bool
	// Published is the policy that this comes from. Flaw says that it is in fact
	// unusable, or not met by the choice of the host, with a Reason for people.
	Published Published
	Flaw      TLSFailure
	Reason    string
	// SecureMX says that the choice of the host was authenticated, by DNSSEC or
	// by MTA-STS, as REQUIRETLS wants it (RFC 8689 section 4.2.1).
	SecureMX bool

	plain bool // no TLS, even if it is offered
	quiet bool // no report: it would be on the delivery of a report
}

// stricter is q with what more demands beyond it.
func (q Requirement) stricter(more Requirement) Requirement {
	if q.Published.Type == "" && more.Published.Type != "" {
		q, more = more, q
	}
	switch {
	case more.Level <= q.Level:
		return q
	case more.Published.Type != "" || q.Published.Type == "":
		return more
	}
	q.Level = more.Level
	q.ID += " " + more.ID
	return q
}

// verified names what the certificate was good for, where a check that is only
// for a report found flaw.
func (q Requirement) verified(flaw error) string {
	switch {
	case flaw != nil || q.Level < Verified && !q.Report:
		return "none"
	case q.Published.Type == TLSA:
		return "dane"
	case q.Published.Type == STS:
		return "sts"
	}
	return "pkix"
}

// verify checks a handshake, if the requirement has anything to check.
func (q Requirement) verify(cs tls.ConnectionState, host string, roots *x509.CertPool) error {
	if q.Level < Verified && !q.Report {
		return nil
	}
	if q.Verify != nil {
		return q.Verify(cs)
	}
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	names := q.Names
	if len(names) == 0 {
		names = []string{host}
	}
	pool := x509.NewCertPool()
	for _, c := range cs.PeerCertificates[1:] {
		pool.AddCert(c)
	}
	var err error
	for _, name := range names {
		if _, err = cs.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: pool}); err == nil {
			return nil
		}
	}
	return fmt.Errorf("verifying the certificate: %w", err)
}
