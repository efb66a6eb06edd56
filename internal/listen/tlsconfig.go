package listen

import "crypto/tls"

// TLSOptions choose between what protocols need.
type TLSOptions struct {
	// MinVersion is tls.VersionTLS12 or later; 0 means TLS 1.2, which RFC 8996
	// leaves as the oldest.
	MinVersion uint16
	// Tickets allows session resumption. IMAP clients reconnect often and gain
	// by it; SMTP clients do not, and some relays stumble over it.
	Tickets bool
}

// ServerConfig builds the TLS configuration of a server over the certificates,
// which may be reloaded later.
func ServerConfig(c *Certificates, o TLSOptions) *tls.Config {
	if o.MinVersion < tls.VersionTLS12 {
		o.MinVersion = tls.VersionTLS12
	}
	return &tls.Config{
		GetCertificate:         c.GetCertificate,
		MinVersion:             o.MinVersion,
		SessionTicketsDisabled: !o.Tickets,
	}
}

// SMTPConfig is ServerConfig without session tickets.
func SMTPConfig(c *Certificates) *tls.Config { return ServerConfig(c, TLSOptions{}) }

// IMAPConfig is ServerConfig with session tickets.
func IMAPConfig(c *Certificates) *tls.Config { return ServerConfig(c, TLSOptions{Tickets: true}) }
