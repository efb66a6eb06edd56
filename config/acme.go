package config

import (
	"cmp"
	"net/url"
	"path/filepath"
)

// ACME is [acme]: certificates that the server gets by itself.
type ACME struct {
	directory string
	// Email is where the certificate authority may write to.
	Email string
	// names are those given; see Names.
	names []string
	// CAFile has the roots that verify a private ACME server.
	CAFile string
}

// The directories that have a short name.
var acmeDirectories = map[string]string{
	"letsencrypt":         "https://acme-v02.api.letsencrypt.org/directory",
	"letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}

func (s *ACME) section() section {
	return section{name: "acme", doc: "A certificate that the server gets and renews by itself by the ACME protocol (RFC 8555), in place of certbot. The names are proved on port 80 (listen.http) or port 443 (listen.https); at least one must be on and reachable from the Internet. The certificate stands in the directory acme below state_dir and is used beside those of [tls], which may be left out; its key stays the same, so that a TLSA record for it stays right.", keys: []key{
		{name: "directory", def: `""`, example: `"letsencrypt"`, value: text(&s.directory, optional(acmeDirectory)),
			doc: "\"letsencrypt\", \"letsencrypt-staging\" (for trials: its certificates are trusted by nobody), or the https address of another server's directory; empty: off. By setting it you agree to the terms of that authority."},
		{name: "email", def: `""`, example: `"admin@svc.plus"`, value: text(&s.Email),
			doc: "Where the authority may write to about the account."},
		{name: "names", def: `""`, example: `["smtp.svc.plus", "autoconfig.svc.plus", "mta-sts.svc.plus"]`, value: lowerAll(texts(&s.names, hostName), &s.names),
			doc: "The names that the certificate is for; each must lead to this server. Empty: hostname alone."},
		{name: "ca_file", def: `""`, value: file(&s.CAFile),
			doc: "PEM file with the roots that verify the ACME server itself; empty: the system's. For an authority of one's own."},
	}}
}

func acmeDirectory(s string) error {
	if _, ok := acmeDirectories[s]; ok {
		return nil
	}
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" {
		return faultf(`write "letsencrypt", or the authority's https address`, "%q is no ACME directory", s)
	}
	return nil
}

// Directory is the URL of the ACME server's directory; empty for off.
func (s *ACME) Directory() string { return cmp.Or(acmeDirectories[s.directory], s.directory) }

// ACMENames are what the certificate is for.
func (c *Config) ACMENames() []string {
	if len(c.ACME.names) == 0 {
		return []string{c.Hostname}
	}
	return c.ACME.names
}

// ACMEDir is the directory of the account and the certificate.
func (s *Server) ACMEDir() string { return filepath.Join(s.StateDir, "acme") }

func (s *ACME) check(c *Config) Problems {
	if s.directory == "" || len(c.Listen.HTTP)+len(c.Listen.HTTPS) > 0 {
		return nil
	}
	return Problems{{Key: "acme.directory", Text: "is set, but nothing listens where the names are proved",
		Mend: `add http = ":80" or https = ":443" to [listen]`}}
}
