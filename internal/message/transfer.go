package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrUnknownEncoding means that a part's Content-Transfer-Encoding is not one
// of RFC 2045: IMAP answers NO [UNKNOWN-CTE] (RFC 9051 section 6.4.5).
var ErrUnknownEncoding = errors.New("unknown content-transfer-encoding")

// BinaryReader returns the body of a leaf part, read from its stored message r,
// with its transfer encoding undone: BINARY[] of IMAP (RFC 9051 section 6.4.5).
// Line ends that are not themselves encoded are CRLF. Broken encoding is read as
// far as it makes sense. The error is ErrUnknownEncoding, or nil.
func (p *Part) BinaryReader(r io.ReaderAt) (io.Reader, error) {
	d, err := p.transferDecoder()
	switch {
	case err != nil:
		return nil, err
	case d == nil:
		return p.Body().exact(r), nil
	}
	return newDecodeReader(p.Body().exact(r), d), nil
}

// transferDecoder returns what undoes the part's transfer encoding, or nil if
// there is nothing to undo.
func (p *Part) transferDecoder() (decoder, error) {
	switch encoding := strings.ToLower(p.Encoding); encoding {
	case "", "7bit", "8bit", "binary":
		return nil, nil
	case "base64":
		return new(base64Decoder), nil
	case "quoted-printable":
		return new(qpDecoder), nil
	default:
		return nil, fmt.Errorf("%w: %q", ErrUnknownEncoding, encoding)
	}
}

// BinarySize returns how many bytes BinaryReader gives: BINARY.SIZE[]. Only an
// encoded body has to be read for it.
func (p *Part) BinarySize(r io.ReaderAt) (int64, error) {
	d, err := p.transferDecoder()
	switch {
	case err != nil:
		return 0, err
	case d == nil:
		return p.BodyVSize, nil
	}
	return io.Copy(io.Discard, newDecodeReader(p.Body().exact(r), d))
}

// base64Decoder undoes base64 (RFC 2045 section 6.8). Bytes outside the alphabet
// are skipped; the first "=" ends the data.
type base64Decoder struct {
	bits  uint32
	n     int // characters in bits
	ended bool
}

func (d *base64Decoder) decode(dst, src []byte) []byte {
	if d.ended {
		return dst
	}
	for _, c := range src {
		v := base64Values[c]
		if v >= 64 {
			if c == '=' {
				return d.finish(dst)
			}
			continue
		}
		d.bits = d.bits<<6 | uint32(v)
		if d.n++; d.n == 4 {
			dst = append(dst, byte(d.bits>>16), byte(d.bits>>8), byte(d.bits))
			d.n = 0
		}
	}
	return dst
}

func (d *base64Decoder) finish(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.bits>>4))
	case 3:
		dst = append(dst, byte(d.bits>>10), byte(d.bits>>2))
	}
	d.n, d.ended = 0, true
	return dst
}

// base64Values maps a character to its value, or to 64.
var base64Values = func() (t [256]byte) {
	for c := range t {
		t[c] = 64
		if v, ok := base64Value(byte(c)); ok {
			t[c] = v
		}
	}
	return t
}()

// qpDecoder undoes quoted-printable (RFC 2045 section 6.7). White space at the
// end of a line goes; an "=" that begins no escape stays.
type qpDecoder struct {
	escape []byte // "=" and what followed it so far
	space  []byte // white space that may be at the end of a line, then perhaps CR
	buf    [4]byte
}

// maxSpace is how much white space is kept back; more is no end of a line.
const maxSpace = 1000

func (d *qpDecoder) decode(dst, src []byte) []byte {
	for len(src) > 0 {
		n := 1
		switch {
		case len(d.escape) > 0 || len(d.space) > 0:
			dst = d.next(dst, src[0])
		case src[0] != '=':
			if n = bytes.IndexByte(src, '='); n < 0 {
				return d.lines(dst, src)
			}
			dst = trimLines(dst, src[:n])
		case len(src) > 2 && isHex(src[1]) && isHex(src[2]):
			dst = append(dst, unhex(src[1])<<4|unhex(src[2]))
			n = 3
		case len(src) > 1 && src[1] == '\n':
			n = 2
		case len(src) > 2 && src[1] == '\r' && src[2] == '\n':
			n = 3
		default:
			dst = d.next(dst, src[0])
		}
		src = src[n:]
	}
	return dst
}

// lines takes text without escapes that a chunk ends in, and keeps white space
// at its end back.
func (d *qpDecoder) lines(dst, text []byte) []byte {
	end := len(text)
	if text[end-1] == '\r' {
		end--
	}
	for end > 0 && (text[end-1] == ' ' || text[end-1] == '\t') && len(text)-end < maxSpace {
		end--
	}
	d.space = append(d.space[:0], text[end:]...)
	return trimLines(dst, text[:end])
}

// trimLines appends text without the white space at the end of its whole lines.
func trimLines(dst, text []byte) []byte {
	for {
		line, rest, whole := cut(text)
		if !whole {
			return append(dst, line...)
		}
		end := len(line) - 1
		if end > 0 && line[end-1] == '\r' {
			end--
		}
		if end > 0 && (line[end-1] == ' ' || line[end-1] == '\t') {
			dst = append(dst, bytes.TrimRight(line[:end], " \t")...)
			line = line[end:]
		}
		dst = append(dst, line...)
		text = rest
	}
}

// next takes one byte where something has been kept back.
func (d *qpDecoder) next(dst []byte, c byte) []byte {
	if len(d.escape) > 0 {
		return d.escaped(dst, c)
	}
	n := len(d.space)
	cr := n > 0 && d.space[n-1] == '\r'
	switch {
	case c == '\n':
		if cr {
			dst = append(dst, '\r')
		}
		d.space = d.space[:0]
		return append(dst, c)
	case !cr && n < maxSpace && (c == ' ' || c == '\t' || c == '\r'):
		d.space = append(d.space, c)
		return dst
	}
	dst = append(dst, d.space...)
	d.space = d.space[:0]
	switch c {
	case '=':
		d.escape = append(d.buf[:0], c)
		return dst
	case ' ', '\t', '\r':
		d.space = append(d.space, c)
		return dst
	}
	return append(dst, c)
}

// escaped takes a byte behind an "=": two hex digits, or white space and a line
// end.
func (d *qpDecoder) escaped(dst []byte, c byte) []byte {
	last := d.escape[len(d.escape)-1]
	switch {
	case c == '\n' && !isHex(last):
		d.escape = d.escape[:0]
		return dst
	case last == '=' && isHex(c), (last == '=' || last == ' ') && c == '\r':
		d.escape = append(d.escape, c)
		return dst
	case (c == ' ' || c == '\t') && (last == '=' || last == ' '):
		if last == '=' {
			d.escape = append(d.escape, ' ')
		}
		return dst
	case isHex(last) && isHex(c):
		d.escape = d.escape[:0]
		return append(dst, unhex(last)<<4|unhex(c))
	}
	dst = append(dst, d.escape...)
	d.escape = d.escape[:0]
	return d.next(dst, c)
}

func (d *qpDecoder) finish(dst []byte) []byte {
	if len(d.escape) > 1 && isHex(d.escape[1]) {
		dst = append(dst, d.escape...)
	}
	if n := len(d.space); n > 0 && d.space[n-1] == '\r' {
		dst = append(dst, '\r')
	}
	d.escape, d.space = d.escape[:0], d.space[:0]
	return dst
}
