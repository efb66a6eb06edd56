package sieve

import (
	"strings"
	"unicode/utf8"
)

// glob is a pattern of the match type :matches (RFC 5228 section 2.7.1): the
// segments between its stars. Text is compared as bytes; the literal texts of
// the pattern, and the value, are folded.
type glob struct{ segments []segment }

// segment is a run of literal texts and, as empty strings, question marks.
type segment []string

// span is what a wildcard stood for: [start, end) of the value.
type span struct{ start, end int }

// parseGlob compiles a pattern. A backslash takes the next character as it is.
func parseGlob(pattern string, fold func(dst []byte, s string) []byte) *glob {
	g := &glob{segments: []segment{nil}}
	var lit []byte
	flush := func() {
		if len(lit) > 0 {
			last := &g.segments[len(g.segments)-1]
			*last = append(*last, string(fold(nil, string(lit))))
			lit = lit[:0]
		}
	}
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*':
			flush()
			g.segments = append(g.segments, nil)
		case c == '?':
			flush()
			last := &g.segments[len(g.segments)-1]
			*last = append(*last, "")
		case c == '\\' && i+1 < len(pattern):
			i++
			lit = append(lit, pattern[i])
		default:
			lit = append(lit, c)
		}
	}
	flush()
	return g
}

// globMatch is one comparison of a value with a pattern.
type globMatch struct {
	s      string
	octets bool            // "?" is a byte, not a character
	spend  func(int) error // pays for bytes that are looked at
	spans  []span          // what the wildcards stood for, in the pattern's order
	err    error           // of spend
}

// match reports whether the pattern stands for the whole of m.s, every star for
// as little as possible (RFC 5229 section 3.2).
func (g *glob) match(m *globMatch) bool {
	last := len(g.segments) - 1
	pos, ok := m.at(g.segments[0], 0)
	if !ok || last == 0 {
		return ok && pos == len(m.s)
	}
	for _, seg := range g.segments[1:last] {
		start, ok := m.find(seg, pos)
		if !ok {
			return false
		}
		m.spans = append(m.spans, span{pos, start})
		pos, _ = m.at(seg, start)
	}
	start, ok := m.before(g.segments[last], len(m.s))
	if !ok || start < pos {
		return false
	}
	m.spans = append(m.spans, span{pos, start})
	m.at(g.segments[last], start)
	return m.err == nil
}

// at matches seg at pos and returns the offset behind it. What question marks
// stand for is added to the spans, if it matches.
func (m *globMatch) at(seg segment, pos int) (end int, ok bool) {
	known := len(m.spans)
	for _, lit := range seg {
		n := len(lit)
		switch {
		case lit == "" && pos < len(m.s):
			n = m.charLen(pos)
			m.spans = append(m.spans, span{pos, pos + n})
		case lit == "" || !strings.HasPrefix(m.s[pos:], lit):
			m.spans = m.spans[:known]
			return pos, false
		}
		pos += n
	}
	return pos, true
}

// charLen is the length of the character at pos.
func (m *globMatch) charLen(pos int) int {
	if m.octets {
		return 1
	}
	_, n := utf8.DecodeRuneInString(m.s[pos:])
	return n
}

// find returns the first offset from pos on at which seg matches.
func (m *globMatch) find(seg segment, pos int) (int, bool) {
	if len(seg) == 0 {
		return pos, true
	}
	known := len(m.spans)
	for pos <= len(m.s) {
		if seg[0] != "" {
			n := strings.Index(m.s[pos:], seg[0])
			if m.pay(max(n, 0)); n < 0 {
				return 0, false
			}
			pos += n
		}
		_, ok := m.at(seg, pos)
		m.spans = m.spans[:known]
		if ok {
			return pos, true
		}
		if m.pay(64 * len(seg)); m.err != nil || pos == len(m.s) {
			return 0, false
		}
		pos += m.charLen(pos)
	}
	return 0, false
}

// before matches seg so that it ends at end, and returns where it begins.
func (m *globMatch) before(seg segment, end int) (start int, ok bool) {
	for i := len(seg) - 1; i >= 0; i-- {
		n := len(seg[i])
		switch {
		case seg[i] == "" && end > 0:
			n = m.lastCharLen(end)
		case seg[i] == "" || !strings.HasSuffix(m.s[:end], seg[i]):
			return 0, false
		}
		end -= n
	}
	return end, true
}

func (m *globMatch) lastCharLen(end int) int {
	if m.octets {
		return 1
	}
	_, n := utf8.DecodeLastRuneInString(m.s[:end])
	return n
}

// pay spends the cost of n bytes.
func (m *globMatch) pay(n int) {
	if m.err == nil {
		m.err = m.spend(n)
	}
}
