package sieve

import (
	"bytes"
	"fmt"
	"mime/quotedprintable"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// composeField writes a header field of our own: line ends in the value become
// spaces, so that nothing can be smuggled in; what is not ASCII becomes
// encoded-words (RFC 2047); long lines are folded.
func composeField(name, value string) []byte {
	lines := strings.FieldsFunc(value, func(r rune) bool { return r == '\r' || r == '\n' })
	for i, l := range lines {
		lines[i] = strings.Trim(l, " \t")
	}
	value = strings.Join(lines, " ")
	if !isASCII(value) {
		value = encodeWords(value, foldWidth-len(name)-len(": "))
	}
	return fold(name, value)
}

// encodeWords makes encoded-words of a text, the first of which is at most
// first bytes long.
func encodeWords(text string, first int) string {
	const frame = len("=?utf-8?q??=")
	var b strings.Builder
	width := 0
	for _, r := range strings.ToValidUTF8(text, "\ufffd") {
		q := encodeRune(r)
		if width == 0 || width+len(q) > max(first, frame+12) {
			if width > 0 {
				b.WriteString("?= ")
				first = foldWidth - 1
			}
			b.WriteString("=?utf-8?q?")
			width = frame
		}
		b.WriteString(q)
		width += len(q)
	}
	b.WriteString("?=")
	return b.String()
}

// encodeRune is a character in the Q encoding, in a form that is right in
// phrases too (RFC 2047 section 5).
func encodeRune(r rune) string {
	if r == ' ' {
		return "_"
	}
	if r < 0x80 && (isLetter(byte(r)) && r != '_' || isDigit(byte(r)) || strings.ContainsRune("!*+-/", r)) {
		return string(r)
	}
	var b strings.Builder
	for _, c := range []byte(string(r)) {
		fmt.Fprintf(&b, "=%02X", c)
	}
	return b.String()
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// foldWidth is where lines of a header are folded (RFC 5322 section 2.1.1).
const foldWidth = 76

// fold writes a field, with line breaks before spaces where lines get long.
func fold(name, value string) []byte {
	var b bytes.Buffer
	b.WriteString(name + ":")
	width := b.Len()
	rest := " " + strings.TrimSpace(value)
	for rest != "" {
		// A word with the white space before it.
		space := len(rest) - len(strings.TrimLeft(rest, " \t"))
		n := strings.IndexAny(rest[space:], " \t")
		if n < 0 {
			n = len(rest) - space
		}
		word := rest[:space+n]
		if rest = rest[space+n:]; width+len(word) > foldWidth && width > len(name)+1 {
			b.WriteString("\r\n")
			width = 0
		}
		b.WriteString(word)
		width += len(word)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// composeAddress writes an address for a From or To field.
func composeAddress(a message.Address) string {
	name := strings.TrimSpace(message.DecodeText(a.Name))
	switch {
	case name == "":
		return "<" + a.String() + ">"
	case !isASCII(name):
		name = encodeWords(name, foldWidth-len("From: "))
	default:
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", " ").Replace(name) + `"`
	}
	return name + " <" + a.String() + ">"
}

// composeText writes a text as the body of a text/plain part, with the header
// fields that say so.
func composeText(text string) []byte {
	text = strings.ToValidUTF8(crlf(text), "\ufffd")
	if !strings.HasSuffix(text, "\r\n") {
		text += "\r\n"
	}
	var b bytes.Buffer
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\n")
	if isASCII(text) && !hasLongLine(text) {
		b.WriteString("Content-Transfer-Encoding: 7bit\r\n\r\n" + text)
		return b.Bytes()
	}
	b.WriteString("Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	return b.Bytes()
}

// hasLongLine reports whether a line is longer than SMTP allows.
func hasLongLine(s string) bool {
	for line := range strings.SplitSeq(s, "\n") {
		if len(line) > 990 {
			return true
		}
	}
	return false
}
