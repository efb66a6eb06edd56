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
	switch encoding := strings.ToLower(p.Encoding); encoding {
	case "", "7bit", "8bit", "binary":
		return p.Body().exact(r), nil
	case "base64": // line ends do not matter: no need to convert them
		stored := &rawReader{source{r: r, off: p.BodyStart, end: p.End}}
		return newDecodeReader(stored, new(base64Decoder)), nil
	case "quoted-printable":
		return newDecodeReader(p.Body().exact(r), new(qpDecoder)), nil
	default:
		return nil, fmt.Errorf("%w: %q", ErrUnknownEncoding, encoding)
	}
}

// BinarySize returns how many bytes BinaryReader gives: BINARY.SIZE[]. Only an
// encoded body has to be read for it.
func (p *Part) BinarySize(r io.ReaderAt) (int64, error) {
	switch strings.ToLower(p.Encoding) {
	case "", "7bit", "8bit", "binary":
		return p.BodyVSize, nil
	}
	decoded, err := p.BinaryReader(r)
	if err != nil {
		return 0, err
	}
	return io.Copy(io.Discard, decoded)
}

// decoder turns a stream into another, chunk by chunk.
type decoder interface {
	// decode appends what src makes to dst; it may keep some of it back.
	decode(dst, src []byte) []byte
	// finish appends what was kept back, at the end of the stream.
	finish(dst []byte) []byte
}

// decodeReader reads r through a decoder, in chunks of 4 KiB.
type decodeReader struct {
	r    io.Reader
	d    decoder
	out  []byte // decoded
	rest []byte // of out, not yet given out
	err  error
	in   [4 << 10]byte
}

func newDecodeReader(r io.Reader, d decoder) *decodeReader { return &decodeReader{r: r, d: d} }

// Read implements io.Reader.
func (r *decodeReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil || len(p) == 0 {
			return 0, r.err
		}
		var n int
		n, r.err = r.r.Read(r.in[:])
		r.out = r.d.decode(r.out[:0], r.in[:n])
		if r.err == io.EOF {
			r.out = r.d.finish(r.out)
		}
		r.rest = r.out
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
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
	space  []byte // white space that may be at the end of a line
	buf    [8]byte
}

// maxSpace is how much white space is kept back; more is no end of a line.
const maxSpace = 1000

func (d *qpDecoder) decode(dst, src []byte) []byte {
	for len(src) > 0 {
		if len(d.escape) == 0 && len(d.space) == 0 {
			i := bytes.IndexAny(src, "= \t")
			if i < 0 {
				return append(dst, src...)
			}
			dst, src = append(dst, src[:i]...), src[i:]
		}
		dst = d.next(dst, src[0])
		src = src[1:]
	}
	return dst
}

func (d *qpDecoder) next(dst []byte, c byte) []byte {
	if len(d.escape) > 0 {
		return d.escaped(dst, c)
	}
	switch c {
	case ' ', '\t':
		if len(d.space) == maxSpace {
			dst = append(dst, d.space...)
			d.space = d.space[:0]
		}
		d.space = append(d.space, c)
		return dst
	case '\r', '\n':
		d.space = d.space[:0]
		return append(dst, c)
	}
	dst = append(dst, d.space...)
	d.space = d.space[:0]
	if c == '=' {
		d.escape = append(d.buf[:0], c)
		return dst
	}
	return append(dst, c)
}

// escaped takes a byte behind an "=": two hex digits, or white space and a line
// end.
func (d *qpDecoder) escaped(dst []byte, c byte) []byte {
	last := d.escape[len(d.escape)-1]
	switch {
	case c == '\n' && (last == '=' || last == '\r' || last == ' '):
		d.escape = d.escape[:0]
		return dst
	case last == '=' && isHex(c), last == '=' && c == '\r', last == ' ' && c == '\r':
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
	d.escape, d.space = d.escape[:0], d.space[:0]
	return dst
}
