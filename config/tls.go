package config

import (
	"crypto/tls"
	"fmt"
)

// TLS is [tls]: the certificates that all listeners offer.
type TLS struct {
	KeyPair
	// Extra are further pairs, chosen by the server name the client asks for.
	Extra []KeyPair
	// minVersion is "1.2" or "1.3".
	minVersion string
}

// KeyPair is a certificate chain and its private key, both paths of PEM files.
type KeyPair struct{ Certificate, Key string }

func (s *TLS) section() section {
	keys := s.keys()
	keys = append(keys, key{name: "min_version", def: `"1.2"`, value: choice(&s.minVersion, "1.2", "1.3"),
		doc: "The oldest TLS version offered. Some servers that send us mail know no newer one than 1.2."})
	return section{name: "tls", keys: keys,
		doc: "The certificate for STARTTLS and TLS. Changed files are taken over within half a minute, and at once on reload (SIGHUP), which no connection notices: a renewal job needs no hook. A broken new pair leaves the old one in use."}
}

func (p *KeyPair) keys() []key {
	return []key{
		{name: "certificate", example: `"/etc/ssl/svc.plus.pem"`, value: file(&p.Certificate),
			doc: "PEM file with the certificate and the chain below the root, the server's own certificate first."},
		{name: "key", example: `"/etc/ssl/svc.plus.key"`, value: file(&p.Key),
			doc: "PEM file with the private key. It must be readable by the daemon's user (group mailsrvd), and by nobody else."},
	}
}

func (s *TLS) extraSection() section {
	return section{name: "tls.extra", doc: "A further pair, offered to clients that ask for one of its names (SNI).",
		each: func() ([]key, func()) {
			p := &KeyPair{}
			return p.keys(), func() { s.Extra = append(s.Extra, *p) }
		}}
}

// MinVersion is the crypto/tls constant of the oldest version.
func (s *TLS) MinVersion() uint16 {
	if s.minVersion == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

func (s *TLS) check(c *Config) Problems {
	var ps Problems
	if s.Certificate == "" && s.Key == "" && c.ACME.directory == "" && c.Listen.NeedTLS() {
		ps = append(ps, Problem{Key: "tls.certificate", Text: "is missing, and nobody may log in without TLS",
			Mend: `add [tls] with certificate = "..." and key = "...", or [acme] directory = "letsencrypt", or switch off submission and imap in [listen]`})
	}
	half := func(key string, p KeyPair) {
		switch {
		case p.Certificate != "" && p.Key == "":
			ps = append(ps, Problem{Key: key + ".key", Text: "is missing", Mend: "add the private key of the certificate"})
		case p.Certificate == "" && p.Key != "":
			ps = append(ps, Problem{Key: key + ".certificate", Text: "is missing", Mend: "add the certificate of the key"})
		}
	}
	half("tls", s.KeyPair)
	for i, p := range s.Extra {
		name := fmt.Sprintf("tls.extra[%d]", i)
		if p == (KeyPair{}) {
			ps = append(ps, Problem{Key: name, Text: "is empty", Mend: "give it certificate and key, or remove it"})
		}
		half(name, p)
	}
	return ps
}

// Pairs lists all pairs that are set, each with the name of its section, the
// default one first.
func (s *TLS) Pairs() (names []string, pairs []KeyPair) {
	if s.Certificate != "" {
		names, pairs = append(names, "tls"), append(pairs, s.KeyPair)
	}
	for i, p := range s.Extra {
		names, pairs = append(names, fmt.Sprintf("tls.extra[%d]", i)), append(pairs, p)
	}
	return names, pairs
}
