package wire

import (
	"bytes"
	"math"
	"strings"
)

// isAtomChar reports whether c may stand in an atom (RFC 9051 section 9,
// ATOM-CHAR).
func isAtomChar(c byte) bool { return charClass[c]&atomChar != 0 }

// isAStringChar is isAtomChar and "]" (ASTRING-CHAR).
func isAStringChar(c byte) bool { return charClass[c]&astringChar != 0 }

// isListChar is isAStringChar and the wildcards (list-char).
func isListChar(c byte) bool { return charClass[c]&listChar != 0 }

const (
	atomChar = 1 << iota
	astringChar
	listChar
)

var charClass = func() (class [256]byte) {
	for c := 0x21; c < 0x7f; c++ {
		switch c {
		case '(', ')', '{', '"', '\\':
		case '%', '*':
			class[c] = listChar
		case ']':
			class[c] = astringChar | listChar
		default:
			class[c] = atomChar | astringChar | listChar
		}
	}
	return class
}()

// Accept takes c if it stands at the current position.
func (d *Decoder) Accept(c byte) bool {
	if d.err != nil || len(d.line) == 0 || d.line[0] != c {
		return false
	}
	d.line = d.line[1:]
	return true
}

// Expect insists on c.
func (d *Decoder) Expect(c byte) {
	if d.err == nil && !d.Accept(c) {
		d.Failf("Expected %q, found %s", c, d.found())
	}
}

// SP insists on one space.
func (d *Decoder) SP() {
	if d.err == nil && !d.Accept(' ') {
		d.Failf("Expected a space, found %s", d.found())
	}
}

// AcceptSP takes a space if there is one.
func (d *Decoder) AcceptSP() bool { return d.Accept(' ') }

// AtEnd reports whether the command ends here.
func (d *Decoder) AtEnd() bool { return d.err == nil && len(d.line) == 0 }

// Peek returns the next byte of the line, 0 at its end.
func (d *Decoder) Peek() byte {
	if d.err != nil || len(d.line) == 0 {
		return 0
	}
	return d.line[0]
}

// AcceptWord takes word, in any case, if it stands here as a whole.
func (d *Decoder) AcceptWord(word string) bool {
	if d.err != nil || len(d.line) < len(word) || !strings.EqualFold(string(d.line[:len(word)]), word) {
		return false
	}
	if len(d.line) > len(word) && isAStringChar(d.line[len(word)]) {
		return false
	}
	d.line = d.line[len(word):]
	return true
}

// span takes the longest run of bytes that ok likes. It aliases the line.
func (d *Decoder) span(what string, ok func(byte) bool) []byte {
	if d.err != nil {
		return nil
	}
	n := 0
	for n < len(d.line) && ok(d.line[n]) {
		n++
	}
	if n == 0 {
		d.Failf("Expected %s, found %s", what, d.found())
		return nil
	}
	token := d.line[:n]
	d.line = d.line[n:]
	return token
}

// Atom insists on an atom.
func (d *Decoder) Atom() string { return string(d.span("an atom", isAtomChar)) }

// Word insists on a word of the protocol: letters, digits and a few signs. It is
// returned in upper case.
func (d *Decoder) Word() string {
	return strings.ToUpper(string(d.span("a word", isWordChar)))
}

func isWordChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '.' || c == '-' || c == '=' || c == '_' || c == '/'
}

// Tag insists on a command's tag.
func (d *Decoder) Tag() string {
	return string(d.span("a tag", func(c byte) bool { return isAStringChar(c) && c != '+' }))
}

// AString insists on an astring: an atom, a quoted string or a literal.
func (d *Decoder) AString() string {
	if d.atString() {
		return d.String()
	}
	return string(d.span("a string", isAStringChar))
}

// ListMailbox is AString with wildcards in the unquoted form.
func (d *Decoder) ListMailbox() string {
	if d.atString() {
		return d.String()
	}
	return string(d.span("a mailbox pattern", isListChar))
}

func (d *Decoder) atString() bool {
	return d.err == nil && len(d.line) > 0 && (d.line[0] == '"' || d.atLiteral())
}

// String insists on a quoted string or a literal.
func (d *Decoder) String() string {
	switch {
	case d.err != nil:
		return ""
	case d.atLiteral():
		return d.literalString()
	case d.Peek() == '"':
		return d.quoted()
	}
	d.Failf("Expected a string, found %s", d.found())
	return ""
}

// NString is String or NIL, for which ok is false.
func (d *Decoder) NString() (s string, ok bool) {
	if d.AcceptWord("NIL") {
		return "", false
	}
	s = d.String()
	return s, d.err == nil
}

// quoted takes a quoted string. Bytes beyond ASCII are let through: clients
// that put a password in Latin-1 or UTF-8 here have always been served.
func (d *Decoder) quoted() string {
	rest := d.line[1:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		d.Failf("Quoted string without end")
		return ""
	}
	if bytes.IndexByte(rest[:end], '\\') < 0 {
		return d.plainQuoted(rest[:end], rest[end+1:])
	}
	var text []byte
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; c {
		case '"':
			return d.plainQuoted(text, rest[i+1:])
		case '\\':
			if i++; i == len(rest) || rest[i] != '"' && rest[i] != '\\' {
				d.Failf("Bad escape in a quoted string")
				return ""
			}
			text = append(text, rest[i])
		default:
			text = append(text, c)
		}
	}
	d.Failf("Quoted string without end")
	return ""
}

func (d *Decoder) plainQuoted(text, rest []byte) string {
	if bytes.IndexByte(text, 0) >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		d.Failf("NUL or CR in a quoted string")
		return ""
	}
	d.line = rest
	return string(text)
}

// Number64 insists on a number of up to 63 bits.
func (d *Decoder) Number64() int64 {
	digits := d.span("a number", func(c byte) bool { return c >= '0' && c <= '9' })
	if d.err != nil {
		return 0
	}
	n := number(digits)
	if n == math.MaxInt64 && len(digits) > 19 {
		d.Failf("Number too big")
		return 0
	}
	return n
}

// Number insists on a number of up to 32 bits.
func (d *Decoder) Number() uint32 {
	n := d.Number64()
	if n > math.MaxUint32 {
		d.Failf("Number too big")
		return 0
	}
	return uint32(n)
}

// NZNumber insists on a number of up to 32 bits that is not zero.
func (d *Decoder) NZNumber() uint32 {
	n := d.Number()
	if d.err == nil && n == 0 {
		d.Failf("Number must not be zero")
	}
	return n
}

// List insists on a parenthesised list, which may be empty, and calls item for
// each of its items.
func (d *Decoder) List(item func()) {
	d.Expect('(')
	if d.Accept(')') {
		return
	}
	d.items(item)
}

// NonEmptyList is List with at least one item.
func (d *Decoder) NonEmptyList(item func()) {
	d.Expect('(')
	d.items(item)
}

func (d *Decoder) items(item func()) {
	if !d.Enter() {
		return
	}
	for item(); d.err == nil && d.AcceptSP(); {
		item()
	}
	d.Leave()
	d.Expect(')')
}

// Enter goes one level deeper, if the limit allows; Leave comes back.
func (d *Decoder) Enter() bool {
	if d.err != nil {
		return false
	}
	if d.depth >= d.limits.Depth {
		d.Failf("Nested too deeply")
		return false
	}
	d.depth++
	return true
}

// Leave ends what Enter began.
func (d *Decoder) Leave() { d.depth-- }

// Flag insists on a flag or keyword, returned as it is written.
func (d *Decoder) Flag() string {
	if d.Accept('\\') {
		return "\\" + d.Atom()
	}
	return d.Atom()
}

// FlagList insists on a parenthesised list of flags. More spaces than the grammar
// has are let through, since Dovecot's imapc begins its lists with one.
func (d *Decoder) FlagList() []string {
	var flags []string
	d.Expect('(')
	d.skipSpaces()
	for d.err == nil && !d.Accept(')') {
		flags = append(flags, d.Flag())
		if d.Peek() != ')' {
			d.SP()
			d.skipSpaces()
		}
	}
	return flags
}

func (d *Decoder) skipSpaces() {
	for d.AcceptSP() {
	}
}

// Flags is FlagList, or flags without parentheses, as STORE has it.
func (d *Decoder) Flags() []string {
	if d.Peek() == '(' {
		return d.FlagList()
	}
	flags := []string{d.Flag()}
	for d.err == nil && d.AcceptSP() {
		flags = append(flags, d.Flag())
	}
	return flags
}

// AcceptText takes text, in any letter case, if exactly that comes next.
func (d *Decoder) AcceptText(text string) bool {
	if d.err != nil || len(d.line) < len(text) || !strings.EqualFold(string(d.line[:len(text)]), text) {
		return false
	}
	d.line = d.line[len(text):]
	return true
}
