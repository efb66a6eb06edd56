package message

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// ErrUnknownCharset means that a charset's name is not known; IMAP answers
// NO [BADCHARSET] (RFC 9051 section 6.4.4).
var ErrUnknownCharset = errors.New("unknown charset")

// DecodeCharset converts text from the named charset (RFC 2978) to UTF-8; it is
// for SEARCH CHARSET. The only error is ErrUnknownCharset.
func DecodeCharset(charset, text string) (string, error) {
	enc, err := lookupCharset(charset)
	if err != nil {
		return "", err
	}
	return decodeWith(enc, []byte(text)), nil
}

// decodeCharset converts b to UTF-8; an unknown charset is guessed.
func decodeCharset(charset string, b []byte) string {
	enc, err := lookupCharset(charset)
	if err != nil {
		enc = nil
	}
	return decodeWith(enc, b)
}

// decodeWith converts b to UTF-8. A nil encoding is UTF-8 or ASCII, and
// Windows-1252 where it is not valid as that.
func decodeWith(enc encoding.Encoding, b []byte) string {
	if enc == nil {
		return toUTF8(string(b))
	}
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return toUTF8(string(b))
	}
	return string(out)
}

// toUTF8 returns s if it is UTF-8, or else what it is as Windows-1252.
func toUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	if mostlyUTF8(s) {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	out, err := charmap.Windows1252.NewDecoder().String(s)
	if err != nil {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	return out
}

// mostlyUTF8 reports whether s has more well-formed than broken characters
// beyond ASCII: cut UTF-8 rather than another charset.
func mostlyUTF8(s string) bool {
	good, bad := 0, 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			bad++
		case n > 1:
			good++
		}
		i += n
	}
	return good > bad
}

// lookupCharset finds a charset by the names of the WHATWG, which are what
// mail programs mean by them, and of IANA. Of UTF-8 and ASCII, and of no name,
// the encoding is nil.
func lookupCharset(name string) (encoding.Encoding, error) {
	name = strings.ToLower(strings.Trim(name, " \t\"'"))
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "unicode-1-1-utf-8", "ansi_x3.4-1968", "646", "unknown-8bit", "x-unknown", "default", "none":
		return nil, nil
	case "utf-7", "unicode-1-1-utf-7", "csutf7":
		return utf7{}, nil
	case "utf-16": // without a byte order mark it is big-endian (RFC 2781 section 4.3)
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM), nil
	case "utf-16be":
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), nil
	case "utf-16le":
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), nil
	case "utf-32", "utf-32be":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM), nil
	case "utf-32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM), nil
	case "cp1252", "ansi", "iso8859-1", "8859-1":
		return charmap.Windows1252, nil
	case "cp850":
		return charmap.CodePage850, nil
	case "ks_c_5601-1987", "cp949", "uhc":
		name = "euc-kr"
	case "cp936", "ms936":
		name = "gbk"
	case "cp932", "ms932":
		name = "shift_jis"
	}
	if enc, err := htmlindex.Get(name); err == nil && enc != encoding.Replacement {
		return enc, nil
	}
	if rest, ok := strings.CutPrefix(name, "cp125"); ok {
		if enc, err := htmlindex.Get("windows-125" + rest); err == nil {
			return enc, nil
		}
	}
	if enc, err := ianaindex.MIME.Encoding(name); err == nil && enc != nil {
		return enc, nil
	}
	return nil, fmt.Errorf("%w: %q", ErrUnknownCharset, name)
}
