package message

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// wireWriter appends IMAP data (RFC 9051 section 9) to b. With utf8 set,
// well-formed UTF-8 goes into quoted strings, as a client that enabled
// UTF8=ACCEPT or IMAP4rev2 takes it (RFC 6855 section 3); else into literals.
type wireWriter struct {
	b      []byte
	utf8   bool
	parser *addressParser // for an envelope
}

func (w *wireWriter) raw(s string) { w.b = append(w.b, s...) }

func (w *wireWriter) number(n int64) { w.b = strconv.AppendInt(w.b, n, 10) }

// nstring writes s, or NIL if it is empty.
func (w *wireWriter) nstring(s string) {
	if s == "" {
		w.raw("NIL")
		return
	}
	w.string(s)
}

// string writes s quoted where the grammar allows it, otherwise as a literal.
// Neither may hold NUL, which becomes U+FFFD.
func (w *wireWriter) string(s string) {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\ufffd")
	}
	if !w.quotable(s) {
		w.b = append(w.b, '{')
		w.number(int64(len(s)))
		w.raw("}\r\n")
		w.raw(s)
		return
	}
	w.b = append(w.b, '"')
	for {
		i := strings.IndexAny(s, `"\`)
		if i < 0 {
			break
		}
		w.raw(s[:i])
		w.b = append(w.b, '\\', s[i])
		s = s[i+1:]
	}
	w.raw(s)
	w.b = append(w.b, '"')
}

func (w *wireWriter) quotable(s string) bool {
	eightBit := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\r' || c == '\n':
			return false
		case c >= utf8.RuneSelf:
			eightBit = true
		}
	}
	return !eightBit || w.utf8 && utf8.ValidString(s)
}
