package smtpd

import (
	"bytes"
	"io"
)

// body reads one message as DATA sends it: up to the line with a single dot,
// with the doubled dots halved (RFC 5321 section 4.5.2). Only CRLF ends a line
// here, so that a message cannot end before its sender meant it to; what other
// line ends mean is decided later, within the message. After the end it returns
// io.EOF and has consumed nothing of what follows.
type body struct {
	in   *input
	fill func() error // waits for more input
	at   position
	err  error // sticky
}

type position int

const (
	lineStart position = iota // after CRLF, or at the very start
	afterCR                   // a CR was given out: LF makes it a line end
	inLine
)

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 || b.err != nil {
		return 0, b.err
	}
	for {
		have := b.in.buffered()
		if b.at == lineStart && len(have) > 0 && have[0] == '.' {
			if more := b.dot(have); more {
				have = nil
			} else if b.err != nil {
				return 0, b.err
			} else {
				continue
			}
		}
		if n := b.give(p, have); n > 0 {
			return n, nil
		}
		if err := b.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			b.err = err
			return 0, err
		}
	}
}

// dot deals with a dot at the start of a line: the end of the message, or one
// that was doubled. It wants more input when it cannot tell.
func (b *body) dot(have []byte) (more bool) {
	const end = ".\r\n"
	switch {
	case bytes.HasPrefix(have, []byte(end)):
		b.in.skip(len(end))
		b.err = io.EOF
	case len(have) < len(end) && string(have) == end[:len(have)]:
		return true
	default:
		b.in.skip(1)
		b.at = inLine
	}
	return false
}

// give copies up to the next dot that may end the message.
func (b *body) give(p, have []byte) int {
	if len(have) == 0 {
		return 0
	}
	span := have
	if b.at == afterCR && have[0] == '\n' {
		span = have[:1]
	} else if i := bytes.Index(have, []byte("\r\n.")); i >= 0 {
		span = have[:i+2]
	}
	n := copy(p, span)
	given := span[:n]
	switch {
	case b.at == afterCR && given[0] == '\n' && n == 1, bytes.HasSuffix(given, []byte("\r\n")):
		b.at = lineStart
	case given[n-1] == '\r':
		b.at = afterCR
	default:
		b.at = inLine
	}
	b.in.skip(n)
	return n
}
