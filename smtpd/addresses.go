package smtpd

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// address is a mailbox that keeps to RFC 5321 section 4.1.2 and 4.5.3.1: the
// parts as they are meant, the whole as it is written.
type address struct {
	local  string // without quotes
	domain string // with brackets, if it is an address literal
}

// String gives the address in its shortest valid form.
func (a address) String() string { return quoteLocal(a.local) + "@" + a.domain }

// folded is String with the domain in lower case: for comparing. Local parts
// are their host's business.
func (a address) folded() string { return quoteLocal(a.local) + "@" + strings.ToLower(a.domain) }

// ascii reports whether the address needs no SMTPUTF8.
func (a address) ascii() bool { return isASCII(a.local) && isASCII(a.domain) }

var (
	errNoAt       = errors.New("there is no @")
	errLocalPart  = errors.New("bad local part")
	errDomain     = errors.New("bad domain")
	errTooLong    = errors.New("too long")
	errNotUTF8    = errors.New("not UTF-8")
	errAddressArg = errors.New("control character")
)

// parseAddress checks what go-smtp takes for a mailbox: it has removed the
// quotes of the local part and lets everything through. The last @ divides.
func parseAddress(s string) (address, error) {
	if !utf8.ValidString(s) {
		return address{}, errNotUTF8
	}
	i := strings.LastIndexByte(s, '@')
	if i < 0 {
		return address{}, errNoAt
	}
	local, domain := s[:i], s[i+1:]
	switch {
	case local == "":
		return address{}, errLocalPart
	case hasControl(s):
		return address{}, errAddressArg
	case len(local) > 64 || len(s) > 254:
		return address{}, errTooLong
	}
	domain, err := parseDomain(domain)
	if err != nil {
		return address{}, err
	}
	return address{local, domain}, nil
}

// parseDomain takes a name or an address literal ("[192.0.2.1]",
// "[IPv6:2001:db8::1]"), and a U-label as SMTPUTF8 allows it.
func parseDomain(d string) (string, error) {
	if strings.HasPrefix(d, "[") && strings.HasSuffix(d, "]") {
		return parseLiteral(d)
	}
	if len(d) > 253 || d == "" || !utf8.ValidString(d) {
		return "", errDomain
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", errDomain
		}
		for i := range len(label) {
			if c := label[i]; !isAlnum(c) && c != '-' && c != '_' && c < utf8.RuneSelf {
				return "", errDomain
			}
		}
	}
	return d, nil
}

func parseLiteral(d string) (string, error) {
	inner := d[1 : len(d)-1]
	v6, isV6 := strings.CutPrefix(inner, "IPv6:")
	ip, err := netip.ParseAddr(v6)
	if err != nil || ip.Is4() == isV6 || ip.Zone() != "" {
		return "", errDomain
	}
	return d, nil
}

// quoteLocal writes a local part as a dot-string if it is one, else as a
// quoted-string.
func quoteLocal(local string) string {
	if isDotString(local) {
		return local
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(local) {
		if c := local[i]; c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(local[i])
	}
	b.WriteByte('"')
	return b.String()
}

func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !isAlnum(c) && c < utf8.RuneSelf && strings.IndexByte("!#$%&'*+-/=?^_`{|}~.", c) < 0 {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// hasControl finds C0 and C1 controls and DEL.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 })
}
