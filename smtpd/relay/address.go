package relay

import (
	"fmt"
	"net/netip"
	"strings"

	"svc.plus/mailsrvd/internal/dns"
)

// path is an address for MAIL or RCPT, in the form that the server can take.
type path struct {
	local, domain string // domain may be empty, for the null path and for postmaster
}

// splitAddress cuts an address at its last at sign.
func splitAddress(a string) path {
	i := strings.LastIndexByte(a, '@')
	if i < 0 {
		return path{local: a}
	}
	return path{a[:i], a[i+1:]}
}

// wire gives the address without angle brackets. A domain goes as A-labels
// unless the transaction is one with SMTPUTF8.
func (p path) wire(utf8 bool) string {
	if p.domain == "" {
		return p.local
	}
	domain := p.domain
	if !utf8 && !ascii(domain) {
		if a, err := dns.ToASCII(domain); err == nil {
			domain = a
		}
	}
	return p.local + "@" + domain
}

func ascii(s string) bool { return !has8bit([]byte(s)) }

// safe reports whether an address stays inside its command: no control
// characters anywhere; no blanks and brackets outside a quoted local part.
func safe(a string) bool {
	quoted := false
	for i := 0; i < len(a); i++ {
		switch c := a[i]; {
		case c < ' ' || c == 0x7f:
			return false
		case c == '\\' && quoted:
			i++
			if i < len(a) && (a[i] < ' ' || a[i] == 0x7f) {
				return false
			}
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '<' || c == '>'):
			return false
		}
	}
	return !quoted
}

// literal reads an address literal (RFC 5321 section 4.1.3).
func literal(domain string) (netip.Addr, bool) {
	inner, ok := strings.CutPrefix(domain, "[")
	if !ok {
		return netip.Addr{}, false
	}
	inner, ok = strings.CutSuffix(inner, "]")
	if !ok {
		return netip.Addr{}, false
	}
	v6 := false
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		inner, v6 = inner[5:], true
	}
	a, err := netip.ParseAddr(inner)
	if err != nil || a.Zone() != "" || a.Is4() == v6 {
		return netip.Addr{}, false
	}
	return a, true
}

// atom reports whether s is letters, digits and hyphens, as the type of an
// original recipient is.
func atom(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != ""
}

// xtext encodes a parameter value (RFC 3461 section 4).
func xtext(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < 33 || c > 126 || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
