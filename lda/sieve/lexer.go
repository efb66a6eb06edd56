package sieve

import (
	"bytes"
	"fmt"
	"strings"
)

// tokenKind tells what a token is; punctuation is its own character.
type tokenKind byte

const (
	tokenEOF        tokenKind = 0
	tokenIdentifier tokenKind = 'a'
	tokenTag        tokenKind = ':'
	tokenNumber     tokenKind = '0'
	tokenString     tokenKind = '"'
)

// token is a token of RFC 5228 section 8.1.
type token struct {
	kind tokenKind
	pos  int // offset of its first byte
	end  int // offset behind it
	// text is an identifier or tag in lower case, or a string's value, in which
	// line ends are CRLF.
	text   string
	number uint64
}

// describe names the token in a problem.
func (t token) describe() string {
	switch t.kind {
	case tokenEOF:
		return "the end of the script"
	case tokenIdentifier:
		return quote(t.text)
	case tokenTag:
		return "the tag :" + t.text
	case tokenNumber:
		return "a number"
	case tokenString:
		return "a string"
	}
	return "'" + string(rune(t.kind)) + "'"
}

// quote shows a script's text in a problem, shortened.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}

// reporter takes the problems that are found at an offset of the source.
type reporter interface {
	problem(pos int, mend, format string, args ...any)
	warning(pos int, mend, format string, args ...any)
}

// lexer splits a script into tokens. What is no token is reported and skipped,
// so that the rest is looked at too.
type lexer struct {
	src []byte
	at  int
	r   reporter
}

// next returns the next token; tokenEOF at the end, again and again.
func (l *lexer) next() token {
	for {
		l.space()
		t := token{pos: l.at}
		if l.at < len(l.src) && !l.token(&t) {
			continue
		}
		t.end = l.at
		return t
	}
}

// token reads the token that begins here; false if there was none.
func (l *lexer) token(t *token) bool {
	switch c := l.src[l.at]; {
	case strings.IndexByte("()[]{},;", c) >= 0:
		t.kind = tokenKind(c)
		l.at++
	case c == '"':
		l.quoted(t)
	case '0' <= c && c <= '9':
		l.number(t)
	case isLetter(c):
		l.identifier(t)
	case c == ':' && l.at+1 < len(l.src) && isLetter(l.src[l.at+1]):
		l.at++
		t.kind, t.text = tokenTag, l.word()
	default:
		l.garbage()
		return false
	}
	return true
}

// garbage skips characters that begin no token.
func (l *lexer) garbage() {
	start := l.at
	for l.at++; l.at < len(l.src) && l.src[l.at] >= 0x80; l.at++ {
	}
	bad := string(l.src[start:l.at])
	mend := ""
	switch bad {
	case ":":
		mend = "a tag is a colon and its name, without a space, as in :contains"
	case "“", "”", "„", "‘", "’", "'":
		mend = `strings are written between straight double quotes: "text"`
	}
	l.r.problem(start, mend, "%s has no place outside of strings", quote(bad))
}

// space skips white space and comments.
func (l *lexer) space() {
	for l.at < len(l.src) {
		switch rest := l.src[l.at:]; {
		case strings.IndexByte(" \t\r\n", rest[0]) >= 0:
			l.at++
		case l.at == 0 && bytes.HasPrefix(rest, []byte("\xef\xbb\xbf")): // a byte order mark
			l.at += 3
		case rest[0] == '#':
			l.hashComment()
		case bytes.HasPrefix(rest, []byte("/*")):
			l.bracketComment()
		default:
			return
		}
	}
}

func (l *lexer) hashComment() {
	end := bytes.IndexByte(l.src[l.at:], '\n')
	if end < 0 {
		end = len(l.src) - l.at
	}
	l.nul(l.at, l.at+end)
	l.at += end
}

func (l *lexer) bracketComment() {
	start := l.at
	end := bytes.Index(l.src[start+2:], []byte("*/"))
	if end < 0 {
		l.r.problem(start, "close it with */", "this comment does not end")
		l.at = len(l.src)
		return
	}
	l.at = start + 2 + end + 2
	l.nul(start, l.at)
}

// nul reports a NUL in comments and strings, which RFC 5228 section 8.1 does
// not allow there.
func (l *lexer) nul(start, end int) {
	if i := bytes.IndexByte(l.src[start:end], 0); i >= 0 {
		l.r.problem(start+i, "", "a NUL character is not allowed in a script")
	}
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// word reads letters and digits, and returns them in lower case.
func (l *lexer) word() string {
	start := l.at
	for l.at < len(l.src) && (isLetter(l.src[l.at]) || isDigit(l.src[l.at])) {
		l.at++
	}
	if l.at-start > maxIdentifier {
		l.r.problem(start, "", "no word of the language is as long as %s", quote(string(l.src[start:l.at])))
	}
	return strings.ToLower(string(l.src[start:l.at]))
}

// identifier reads an identifier, or the string that begins with "text:".
func (l *lexer) identifier(t *token) {
	t.kind, t.text = tokenIdentifier, l.word()
	if t.text == "text" && l.at < len(l.src) && l.src[l.at] == ':' {
		l.at++
		l.multiline(t)
	}
}

// number reads a number and its quantifier (RFC 5228 section 2.4.1).
func (l *lexer) number(t *token) {
	t.kind = tokenNumber
	const most = 1<<63 - 1
	tooBig := false
	for ; l.at < len(l.src) && isDigit(l.src[l.at]); l.at++ {
		d := uint64(l.src[l.at] - '0')
		if tooBig = tooBig || t.number > (most-d)/10; !tooBig {
			t.number = t.number*10 + d
		}
	}
	if l.at < len(l.src) {
		if shift, ok := map[byte]uint{'k': 10, 'm': 20, 'g': 30}[l.src[l.at]|0x20]; ok {
			l.at++
			tooBig = tooBig || t.number > most>>shift
			t.number <<= shift
		}
	}
	if tooBig {
		l.r.problem(t.pos, "the largest number is 9223372036854775807", "this number is too large")
	}
	if l.at < len(l.src) && isLetter(l.src[l.at]) {
		pos := l.at
		l.r.problem(pos, "the units are K, M and G", "a number ends before %s", quote(l.word()))
	}
}

// quoted reads a quoted-string (RFC 5228 section 2.4.2).
func (l *lexer) quoted(t *token) {
	t.kind = tokenString
	var b strings.Builder
	for i := l.at + 1; i < len(l.src); i++ {
		switch c := l.src[i]; c {
		case '"':
			l.nul(l.at, i)
			l.at, t.text = i+1, b.String()
			return
		case '\\':
			if i+1 < len(l.src) {
				i += l.char(&b, i+1)
			}
		default:
			i += l.char(&b, i) - 1
		}
	}
	l.r.problem(t.pos, `close it with "`, "this string does not end")
	l.at, t.text = len(l.src), b.String()
}

// char appends the character at offset i to a string and returns its length. A
// line end becomes CRLF; a CR that is none is reported.
func (l *lexer) char(b *strings.Builder, i int) int {
	switch c := l.src[i]; {
	case c == '\n':
		b.WriteString("\r\n")
	case c == '\r' && i+1 < len(l.src) && l.src[i+1] == '\n':
		b.WriteString("\r\n")
		return 2
	case c == '\r':
		l.r.problem(i, "", "a CR that ends no line is not allowed in a string")
	default:
		b.WriteByte(c)
	}
	return 1
}

// multiline reads what follows "text:": lines up to one with a single dot.
func (l *lexer) multiline(t *token) {
	t.kind = tokenString
	for l.at < len(l.src) && (l.src[l.at] == ' ' || l.src[l.at] == '\t') {
		l.at++
	}
	if l.at < len(l.src) && l.src[l.at] == '#' {
		l.hashComment()
	}
	if rest, ok := bytes.CutPrefix(l.src[l.at:], []byte("\r")); ok && len(rest) > 0 && rest[0] == '\n' {
		l.at++
	}
	if l.at < len(l.src) && l.src[l.at] != '\n' {
		l.r.problem(l.at, "begin the text on the next line", "there is something between text: and the end of its line")
	}
	l.at = lineEnd(l.src, l.at)
	var b strings.Builder
	for l.at < len(l.src) {
		start := l.at
		l.at = lineEnd(l.src, start)
		line := bytes.TrimSuffix(bytes.TrimSuffix(l.src[start:l.at], []byte("\n")), []byte("\r"))
		if string(line) == "." {
			t.text = b.String()
			return
		}
		l.nul(start, l.at)
		if bytes.HasPrefix(line, []byte("..")) { // dot-stuffing
			line = line[1:]
		}
		b.Write(line)
		b.WriteString("\r\n")
	}
	l.r.problem(t.pos, "end it with a line that holds only a dot", "this text does not end")
	t.text = b.String()
}

// lineEnd returns the offset behind the end of the line that holds offset i.
func lineEnd(src []byte, i int) int {
	if n := bytes.IndexByte(src[i:], '\n'); n >= 0 {
		return i + n + 1
	}
	return len(src)
}
