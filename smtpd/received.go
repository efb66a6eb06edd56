package smtpd

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"
)

// receivedField is the trace field of a message (RFC 5321 section 4.4): whole
// lines with CRLF. Where our own users are at the moment is nobody's business,
// so their addresses and host names are left out.
func (s *Server) receivedField(tx *transaction, now time.Time) string {
	p := tx.peer
	var b strings.Builder
	b.WriteString("Received: ")
	if !s.o.Mode.submits() {
		fmt.Fprintf(&b, "from %s (%s)\r\n\t", traceToken(p.helo), p.addressLiteral())
	}
	fmt.Fprintf(&b, "by %s with %s id %s", s.o.Hostname, s.withProtocol(tx), tx.env.Trace)
	if p.tls != nil {
		fmt.Fprintf(&b, "\r\n\t(%s %s)", tlsVersion(p.tls.Version), tls.CipherSuiteName(p.tls.CipherSuite))
	}
	if len(tx.recipients) == 1 {
		fmt.Fprintf(&b, "\r\n\tfor <%s>", tx.recipients[0].Address)
	}
	fmt.Fprintf(&b, "; %s\r\n", now.Format("Mon, 2 Jan 2006 15:04:05 -0700 (MST)"))
	return b.String()
}

// withProtocol is the keyword of RFC 3848 and RFC 6531 section 4.3.
func (s *Server) withProtocol(tx *transaction) string {
	base, utf8 := "SMTP", "UTF8SMTP"
	switch {
	case s.o.Mode == LMTP:
		base, utf8 = "LMTP", "UTF8LMTP"
	case tx.peer.extended:
		base = "ESMTP"
	}
	if tx.env.SMTPUTF8 {
		base = utf8
	}
	if tx.peer.tls != nil {
		base += "S"
	}
	if s.o.Mode == Submission {
		base += "A"
	}
	return base
}

// addressLiteral is the peer's address as RFC 5321 section 4.1.3 writes it.
func (p peer) addressLiteral() string {
	switch {
	case !p.remote.IsValid():
		return "local"
	case p.remote.Is6():
		return "[IPv6:" + p.remote.WithZone("").String() + "]"
	}
	return "[" + p.remote.String() + "]"
}

// traceToken makes what a client calls itself safe within a field.
func traceToken(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (isAlnum(byte(r)) || strings.ContainsRune(".-_:[]", r)) {
			return r
		}
		return '?'
	}, s)
}

func tlsVersion(v uint16) string { return strings.ReplaceAll(tls.VersionName(v), " ", "") }
