package sevenbit

import (
	"bufio"
)

// maxLine is the longest line of an encoding, without CRLF (RFC 2045 sections 6.7
// and 6.8).
const maxLine = 76

// quotedWriter encodes as quoted-printable (RFC 2045 section 6.7). CRLF is a line
// break, and nothing else is. A "-" never begins a line, since a line that is
// broken anew could be taken for a boundary. Errors come from the bufio.Writer's
// Flush.
type quotedWriter struct {
	w     *bufio.Writer
	col   int
	space byte // white space that may be at the end of a line, or 0
	cr    bool // a CR that may begin a line break
}

func (q *quotedWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		q.put(c)
	}
	return len(p), nil
}

func (q *quotedWriter) put(c byte) {
	if q.cr {
		q.cr = false
		if c == '\n' {
			q.endLine()
			return
		}
		q.keepSpace()
		q.escape('\r')
	}
	if c == '\r' {
		q.cr = true
		return
	}
	q.keepSpace()
	switch {
	case c == ' ' || c == '\t':
		q.space = c
	case c < ' ' || c == '=' || c >= 0x7f:
		q.escape(c)
	default:
		q.literal(c)
	}
}

// keepSpace writes white space that turned out to be within a line.
func (q *quotedWriter) keepSpace() {
	if q.space != 0 {
		q.literal(q.space)
		q.space = 0
	}
}

// endLine ends a line; white space before it must not be the last thing there.
func (q *quotedWriter) endLine() {
	if q.space != 0 {
		q.escape(q.space)
		q.space = 0
	}
	q.w.WriteString("\r\n")
	q.col = 0
}

// room makes room for n characters and the "=" of a soft line break.
func (q *quotedWriter) room(n int) {
	if q.col+n >= maxLine {
		q.w.WriteString("=\r\n")
		q.col = 0
	}
	q.col += n
}

func (q *quotedWriter) literal(c byte) {
	if c == '-' && (q.col == 0 || q.col+1 >= maxLine) {
		q.escape(c)
		return
	}
	q.room(1)
	q.w.WriteByte(c)
}

func (q *quotedWriter) escape(c byte) {
	const hex = "0123456789ABCDEF"
	q.room(3)
	q.w.WriteByte('=')
	q.w.WriteByte(hex[c>>4])
	q.w.WriteByte(hex[c&15])
}

// Close writes what was kept back.
func (q *quotedWriter) Close() error {
	if q.cr {
		q.keepSpace()
		q.escape('\r')
	}
	if q.space != 0 {
		q.escape(q.space)
	}
	return nil
}

// foldWriter breaks base64 into lines. The last one is not ended: what follows,
// a boundary or the end of the message, brings its own line break.
type foldWriter struct {
	w   *bufio.Writer
	col int
}

func (f *foldWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if f.col == maxLine {
			f.w.WriteString("\r\n")
			f.col = 0
		}
		k := min(maxLine-f.col, len(p))
		f.w.Write(p[:k])
		f.col += k
		p = p[k:]
	}
	return n, nil
}
