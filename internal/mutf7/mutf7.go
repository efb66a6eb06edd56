// Package mutf7 converts mailbox names between UTF-8 and IMAP's modified UTF-7
// (RFC 3501 section 5.1.3), which is both what IMAP4rev1 clients speak and what
// Maildir++ directories are called on disk.
package mutf7

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrInvalid means that a name is not the modified UTF-7 of any text: an
// unfinished or empty shift, a lone surrogate, a NUL, printable ASCII in
// base64, bits left over, or a byte outside printable ASCII.
var ErrInvalid = errors.New("invalid modified UTF-7")

var encoding = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

// printable reports whether c stands for itself.
func printable(c byte) bool { return c >= 0x20 && c < 0x7f }

// Encode returns the modified UTF-7 of s. Bytes of s that are not UTF-8 become
// U+FFFD.
func Encode(s string) string {
	if plain(s) {
		return s
	}
	var out strings.Builder
	for len(s) > 0 {
		switch c := s[0]; {
		case c == '&':
			out.WriteString("&-")
			s = s[1:]
		case printable(c):
			out.WriteByte(c)
			s = s[1:]
		default:
			n := 0
			for n < len(s) && !printable(s[n]) {
				n++
			}
			out.WriteString(shifted(s[:n]))
			s = s[n:]
		}
	}
	return out.String()
}

// plain reports whether s is its own encoding.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if !printable(s[i]) || s[i] == '&' {
			return false
		}
	}
	return true
}

// shifted encodes text that has no printable ASCII, shift characters included.
func shifted(text string) string {
	units := utf16.Encode([]rune(text))
	raw := make([]byte, 0, 2*len(units))
	for _, u := range units {
		raw = append(raw, byte(u>>8), byte(u))
	}
	return "&" + encoding.EncodeToString(raw) + "-"
}

// Decode returns the text of s as UTF-8. It accepts exactly what Encode makes,
// so that two names that differ on disk never look the same; anything else is
// ErrInvalid.
func Decode(s string) (string, error) {
	if plain(s) {
		return s, nil
	}
	var out strings.Builder
	afterShift := false
	for len(s) > 0 {
		c := s[0]
		if !printable(c) {
			return "", ErrInvalid
		}
		if c != '&' {
			out.WriteByte(c)
			s, afterShift = s[1:], false
			continue
		}
		body, rest, ok := strings.Cut(s[1:], "-")
		if !ok {
			return "", ErrInvalid
		}
		s = rest
		if body == "" {
			out.WriteByte('&')
			afterShift = false
			continue
		}
		if afterShift { // two shifts in a row are one shift written wrongly
			return "", ErrInvalid
		}
		text, err := unshifted(body)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
		afterShift = true
	}
	return out.String(), nil
}

// unshifted decodes what stands between "&" and "-".
func unshifted(body string) (string, error) {
	raw, err := encoding.DecodeString(body)
	if err != nil || len(raw)%2 != 0 || strings.ContainsAny(body, "\r\n") {
		return "", ErrInvalid
	}
	var out strings.Builder
	for i := 0; i < len(raw); i += 2 {
		r := rune(raw[i])<<8 | rune(raw[i+1])
		if utf16.IsSurrogate(r) {
			if i+3 >= len(raw) {
				return "", ErrInvalid
			}
			r = utf16.DecodeRune(r, rune(raw[i+2])<<8|rune(raw[i+3]))
			if r == utf8.RuneError {
				return "", ErrInvalid
			}
			i += 2
		}
		if r == 0 || r < utf8.RuneSelf && printable(byte(r)) {
			return "", ErrInvalid
		}
		out.WriteRune(r)
	}
	return out.String(), nil
}
