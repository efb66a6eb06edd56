package message

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

// utf7 is the encoding of RFC 2152, for decoding only.
type utf7 struct{}

func (utf7) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: new(utf7Decoder)}
}

func (utf7) NewEncoder() *encoding.Encoder { return encoding.Nop.NewEncoder() }

// utf7Decoder is the state between two characters.
type utf7Decoder struct {
	shifted bool   // inside +…
	empty   bool   // nothing has come since the +
	bits    uint32 // bits that are waiting
	nbits   uint
	high    rune // the first half of a surrogate pair
}

func (d *utf7Decoder) Reset() { *d = utf7Decoder{} }

// Transform implements transform.Transformer.
func (d *utf7Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if len(dst)-nDst < 2*utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += d.next(dst[nDst:], src[nSrc])
		nSrc++
	}
	return nDst, nSrc, nil
}

// next takes one byte and writes what it completes.
func (d *utf7Decoder) next(dst []byte, c byte) int {
	if !d.shifted {
		if c == '+' {
			*d = utf7Decoder{shifted: true, empty: true}
			return 0
		}
		if c >= utf8.RuneSelf {
			return utf8.EncodeRune(dst, utf8.RuneError)
		}
		dst[0] = c
		return 1
	}
	v, ok := base64Value(c)
	if !ok {
		return d.unshift(dst, c)
	}
	d.empty = false
	d.bits, d.nbits = d.bits<<6|uint32(v), d.nbits+6
	if d.nbits < 16 {
		return 0
	}
	d.nbits -= 16
	unit := rune(d.bits >> d.nbits & 0xffff)
	d.bits &= 1<<d.nbits - 1
	return d.unit(dst, unit)
}

// unshift ends a shifted sequence at the byte c.
func (d *utf7Decoder) unshift(dst []byte, c byte) int {
	empty, n := d.empty, 0
	if d.high != 0 { // half a pair
		n = utf8.EncodeRune(dst, utf8.RuneError)
	}
	*d = utf7Decoder{}
	switch {
	case c == '-' && empty:
		c = '+'
	case c == '-':
		return n
	case c >= utf8.RuneSelf:
		return n + utf8.EncodeRune(dst[n:], utf8.RuneError)
	}
	dst[n] = c
	return n + 1
}

// unit writes a UTF-16 code unit, joined with the one before where they are a
// pair.
func (d *utf7Decoder) unit(dst []byte, unit rune) int {
	if high := d.high; high != 0 {
		d.high = 0
		return utf8.EncodeRune(dst, utf16.DecodeRune(high, unit))
	}
	if 0xd800 <= unit && unit < 0xdc00 {
		d.high = unit
		return 0
	}
	return utf8.EncodeRune(dst, unit)
}

func base64Value(c byte) (byte, bool) {
	switch {
	case 'A' <= c && c <= 'Z':
		return c - 'A', true
	case 'a' <= c && c <= 'z':
		return c - 'a' + 26, true
	case '0' <= c && c <= '9':
		return c - '0' + 52, true
	case c == '+':
		return 62, true
	case c == '/':
		return 63, true
	}
	return 0, false
}
