package auth

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxLogin bounds a login name with its domain, in bytes: the longest address
// of RFC 5321 section 4.5.3.1 has 254.
const maxLogin = 255

// maxPassword bounds a password in bytes, so that nobody makes us hash
// megabytes.
const maxPassword = 1024

// domainSet holds the local domains in the form of canonicalDomain.
type domainSet map[string]struct{}

func newDomainSet(domains []string) domainSet {
	set := make(domainSet, len(domains))
	for _, d := range domains {
		set[canonicalDomain(d)] = struct{}{}
	}
	return set
}

// canonicalDomain makes domains comparable: lower case, A-labels (RFC 5890),
// no final dot. What IDNA refuses is only put in lower case.
func canonicalDomain(d string) string {
	d = strings.TrimSuffix(d, ".")
	if a, err := idna.Lookup.ToASCII(d); err == nil {
		return a
	}
	return strings.ToLower(d)
}

// userName takes the local domain from a login name or address and checks what
// is left. A foreign domain is an error: its mail is not ours. A plus detail
// stays, since it is part of nobody's login name.
func (s domainSet) userName(login string) (string, error) {
	if len(login) > maxLogin {
		return "", errors.New("the name is too long")
	}
	name := login
	if at := strings.LastIndexByte(login, '@'); at >= 0 {
		if _, ok := s[canonicalDomain(login[at+1:])]; !ok {
			return "", errors.New("the domain is not local")
		}
		name = login[:at]
	}
	return name, checkName(name)
}

// checkName refuses names that no system has, or that would be something else
// in a path, a passwd line or a log.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case name == "." || name == ".." || name[0] == '-':
		return errors.New("the name is no user's name")
	case !utf8.ValidString(name):
		return errors.New("the name is not UTF-8")
	}
	for _, r := range name {
		if unicode.IsControl(r) || r == '/' || r == ':' || r == '@' {
			return fmt.Errorf("the name has a %q", r)
		}
	}
	return nil
}

// checkPassword refuses what no back end can compare: C strings end at a NUL.
func checkPassword(password string) error {
	switch {
	case password == "":
		return errors.New("the password is empty")
	case len(password) > maxPassword:
		return errors.New("the password is too long")
	case strings.ContainsRune(password, 0):
		return errors.New("the password has a NUL")
	}
	return nil
}
