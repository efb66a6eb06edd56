package config

import (
	"net"
	"net/mail"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// notEmpty refuses the empty text.
func notEmpty(s string) error {
	if strings.TrimSpace(s) == "" {
		return faultf("give a value or remove the line", "is empty")
	}
	return nil
}

// domainName accepts what DNS and IDNA accept (RFC 5891), without a trailing
// dot.
func domainName(s string) error {
	const mend = `write it as in "example.org"`
	if s == "" {
		return faultf(mend, "is empty")
	}
	if strings.HasSuffix(s, ".") {
		return faultf("remove the dot at the end", "%q ends in a dot", s)
	}
	if a, err := idna.Lookup.ToASCII(s); err != nil || len(a) > 253 || strings.ContainsAny(s, "/@: ") {
		return faultf(mend, "%q is not a domain name", s)
	}
	return nil
}

// shortName accepts what can be a part of a key in logs and metrics.
func shortName(s string) error {
	if s == "" || len(s) > 32 || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) {
		return faultf("use up to 32 letters, digits, - and _", "%q is no short name", s)
	}
	return nil
}

// mailAddress accepts a plain address.
func mailAddress(s string) error {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s {
		return faultf(`write it as in "postmaster@example.org"`, "%q is not a mail address", s)
	}
	return nil
}

// hostName is a domain name that other hosts can look up.
func hostName(s string) error {
	if err := domainName(s); err != nil {
		return err
	}
	if !strings.Contains(s, ".") && s != "localhost" {
		return faultf(`write the full name, as in "mail.example.org"`, "%q has no domain; other servers refuse such a greeting", s)
	}
	return nil
}

// hostPort accepts "host:port" and, with an empty host, ":port".
func hostPort(s string) error {
	const mend = `write it as in "127.0.0.1:2525", ":25" or "[::1]:25"`
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return faultf(mend, "%q is not an address with a port", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return faultf(mend, "%q: the port must be a number up to 65535", s)
	}
	return nil
}

// remoteHostPort is hostPort with a host.
func remoteHostPort(s string) error {
	if err := hostPort(s); err != nil {
		return err
	}
	if strings.HasPrefix(s, ":") {
		return faultf(`write it as in "relay.example.org:587"`, "%q has no host", s)
	}
	return nil
}

// optional lets the empty text pass and everything else through c.
func optional(c check) check {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return c(s)
	}
}
