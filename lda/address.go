package lda

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// canonicalDomain makes domains comparable: lower case, A-labels (RFC 5890),
// no final dot. What IDNA refuses is only put in lower case.
func canonicalDomain(d string) string {
	d = strings.TrimSuffix(d, ".")
	if a, err := idna.Lookup.ToASCII(d); err == nil {
		return a
	}
	return strings.ToLower(d)
}

// maxAddress bounds an address in bytes: RFC 5321 section 4.5.3.1 allows 254,
// and local UTF-8 forms may be longer than what they stand for.
const maxAddress = 512

// splitAddress splits "local@domain" or a bare "local" at the last "@". The
// local part may be a quoted-string (RFC 5321 section 4.1.2), which is
// returned without quotes. Neither part is checked further than that it can be
// written in one line of a header, nor need it be there.
func splitAddress(s string) (local, domain string, err error) {
	if len(s) > maxAddress {
		return "", "", errors.New("the address is too long")
	}
	if !utf8.ValidString(s) {
		return "", "", errors.New("the address is not UTF-8")
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return "", "", errors.New("the address has a control character")
	}
	local = s
	if at := strings.LastIndexByte(s, '@'); at >= 0 && !openQuote(s[:at]) {
		local, domain = s[:at], s[at+1:]
		if err := checkDomain(domain); err != nil {
			return "", "", err
		}
	}
	if whole, ok := unquote(local); ok {
		return whole, domain, nil
	}
	if strings.ContainsAny(local, "\" \t,<>()\\;@") {
		return "", "", errors.New("the name needs quotes, or a comma is missing between two of them")
	}
	return local, domain, nil
}

// openQuote reports whether s ends inside a quoted-string.
func openQuote(s string) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		}
	}
	return quoted
}

// checkDomain refuses what no domain or address literal looks like.
func checkDomain(d string) error {
	if d == "" {
		return errors.New("there is nothing after the @")
	}
	if strings.HasPrefix(d, "[") && strings.HasSuffix(d, "]") {
		return nil
	}
	if strings.HasPrefix(d, ".") || strings.Contains(d, "..") || strings.ContainsAny(d, "\" \t,<>()\\;:[]/@") {
		return errors.New("what follows the @ is no domain")
	}
	return nil
}

// unquote returns the content of s if s is one quoted-string.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		switch s[i] {
		case '"':
			return "", false
		case '\\':
			if i++; i == len(s)-1 {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), true
}

// joinAddress puts an address together; the local part gets quotes when it is
// no dot-string.
func joinAddress(local, domain string) string {
	if strings.ContainsAny(local, "\" \t,<>()\\;:@[]") || local == "" || strings.HasPrefix(local, ".") ||
		strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	if domain == "" {
		return local
	}
	return local + "@" + domain
}

// splitDetail takes the detail off a local part (RFC 5233): "alice+news" is
// alice and news. delimiters are single characters, of which the first that
// occurs after the first character counts; without one the detail is empty.
func splitDetail(local, delimiters string) (name, detail string) {
	if local == "" || delimiters == "" {
		return local, ""
	}
	if i := strings.IndexAny(local[1:], delimiters); i >= 0 {
		return local[:i+1], local[i+2:]
	}
	return local, ""
}
