package config

import (
	"strings"
	"time"
)

// MTASTS is [mta_sts]: the policy of our own domains (RFC 8461).
type MTASTS struct {
	// Mode is "off", "testing", "enforce" or "none".
	Mode   string
	MaxAge time.Duration
	// MX are names, or patterns of them; none means the hostname.
	MX []string
}

func (s *MTASTS) section() section {
	return section{name: "mta_sts", doc: "The policy by which other servers are told to deliver to our domains over verified TLS only (MTA-STS, RFC 8461). listen.https serves it for each of domains at mta-sts.<domain>, with a certificate for that name; mailsrvd dns records prints the records that announce it. How mail of ours follows the policies of others is set by relay.mta_sts.", keys: []key{
		{name: "mode", def: `"off"`, example: `"testing"`, value: choice(&s.Mode, "off", "testing", "enforce", "none"),
			doc: "\"testing\": others report what would fail ([tls_reports] of theirs) and deliver all the same: begin with it. \"enforce\": they deliver to the listed hosts only, and only if the certificate is right. \"none\": there was a policy and is none any more; leave it so for max_age before you switch it \"off\" and remove the records. \"off\": nothing is served."},
		{name: "max_age", def: `"14d"`, value: duration(&s.MaxAge, time.Hour, 365*24*time.Hour),
			doc: "How long others keep the policy, also when they cannot reach us to ask for a new one. Weeks are usual."},
		{name: "mx", def: `""`, example: `["smtp.svc.plus", "*.backup.example"]`, value: lowerAll(texts(&s.MX, mxPattern), &s.MX),
			doc: "The mail exchangers of our domains: host names, or patterns whose first part is \"*\"; empty: hostname."},
	}}
}

func mxPattern(s string) error {
	return hostName(strings.TrimPrefix(s, "*."))
}

// STSHosts are the mail exchangers of the policy.
func (c *Config) STSHosts() []string {
	if len(c.MTASTS.MX) == 0 {
		return []string{strings.ToLower(c.Hostname)}
	}
	return c.MTASTS.MX
}
