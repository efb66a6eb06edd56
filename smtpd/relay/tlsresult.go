package relay

import (
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
)

// PolicyType says who made a requirement, in the words of TLS reports (RFC 8460
// section 4.4).
type PolicyType string

// The policies that a domain can publish. The zero value means none.
const (
	STS  PolicyType = "sts"  // MTA-STS, RFC 8461
	TLSA PolicyType = "tlsa" // DANE, RFC 7672
)

// Published is the policy of a domain behind a Requirement.
type Published struct {
	Type PolicyType
	// Text is the policy, a line of its file or a TLSA record each; MX are the
	// patterns of mail exchangers in it.
	Text, MX []string
}

// TLSFailure is a result type of RFC 8460 section 4.3; empty for a success.
type TLSFailure string

// The failures that are told apart.
const (
	NoSTARTTLS         TLSFailure = "starttls-not-supported"
	WrongName          TLSFailure = "certificate-host-mismatch"
	ExpiredCertificate TLSFailure = "certificate-expired"
	UntrustedCert      TLSFailure = "certificate-not-trusted"
	InvalidTLS         TLSFailure = "validation-failure"
	InvalidTLSA        TLSFailure = "tlsa-invalid"
	InvalidDNSSEC      TLSFailure = "dnssec-invalid"
	NoSTSPolicy        TLSFailure = "sts-policy-fetch-error"
	InvalidSTSPolicy   TLSFailure = "sts-policy-invalid"
	UntrustedSTSHost   TLSFailure = "sts-webpki-invalid"
)

// TLSResult is what came of TLS in one session with a mail exchanger, or why
// the domain's policy allowed none.
type TLSResult struct {
	// Domain is the destination, Host its mail exchanger.
	Domain, Host string
	// Remote and Local are the addresses of the connection; they are not valid
	// where there was none.
	Remote, Local netip.Addr
	Published     Published
	Failure       TLSFailure
	// Reason says more of a failure, for people.
	Reason string
}

// FailureOf classifies an error of the check of a certificate.
func FailureOf(err error) TLSFailure {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &name):
		return WrongName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return ExpiredCertificate
	case errors.As(err, &invalid), errors.As(err, &unknown):
		return UntrustedCert
	}
	return InvalidTLS
}

// observe counts what came of TLS and tells Options.Observe. A smarthost is of
// our own settings: no report is about it.
func (r *Relay) observe(c candidate, q Requirement, local net.Addr, f TLSFailure, reason string) {
	if c.smart || q.quiet {
		return
	}
	if f == "" && q.Flaw != "" {
		f, reason = q.Flaw, q.Reason
	}
	policy, result := string(q.Published.Type), string(f)
	if policy == "" {
		policy = "none"
	}
	if result == "" {
		result = "success"
	}
	r.tls.WithLabelValues(policy, result).Inc()
	if r.o.Observe == nil {
		return
	}
	t := TLSResult{Domain: c.domain, Host: c.Name, Remote: c.addr, Published: q.Published, Failure: f, Reason: reason}
	if a, ok := local.(*net.TCPAddr); ok {
		t.Local = a.AddrPort().Addr().Unmap()
	}
	r.o.Observe(t)
}

// observeSession is observe for a session that was begun.
func (r *Relay) observeSession(c candidate, q Requirement, s *session, fail *failure) {
	switch {
	case q.plain:
	case fail == nil && !s.secure:
		r.observe(c, q, s.conn.LocalAddr(), NoSTARTTLS, "")
	case fail == nil && s.flaw != nil:
		r.observe(c, q, s.conn.LocalAddr(), FailureOf(s.flaw), tlsReason(s.flaw))
	case fail == nil:
		r.observe(c, q, s.conn.LocalAddr(), "", "")
	case fail.tls != "":
		reason := fail.err.Text
		if fail.err.Cause != nil {
			reason = tlsReason(fail.err.Cause)
		}
		r.observe(c, q, s.conn.LocalAddr(), fail.tls, reason)
	}
}
