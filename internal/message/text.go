package message

import (
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// IsText reports whether the part is a leaf with text to search or show:
// text/*, or a message/* that is not taken apart, such as a delivery status.
func (p *Part) IsText() bool {
	return len(p.Children) == 0 && (p.Is("text", "") || p.Is("message", ""))
}

// IsAttachment reports whether Content-Disposition says so.
func (p *Part) IsAttachment() bool { return strings.EqualFold(p.Disposition, "attachment") }

// TextReader returns the text of a leaf part, read from its stored message r:
// the transfer encoding undone, the charset converted to UTF-8 and, of
// text/html, the markup left out. It streams with bounded memory. Unknown
// encodings and charsets are read as they are. The text is valid UTF-8.
func (p *Part) TextReader(r io.ReaderAt) io.Reader {
	text, err := p.BinaryReader(r)
	if err != nil {
		text = p.Body().exact(r)
	}
	if enc, err := lookupCharset(p.Param("charset")); err == nil && enc != nil {
		text = transform.NewReader(text, enc.NewDecoder())
	} else {
		text = newDecodeReader(text, new(utf8Decoder))
	}
	if p.Is("text", "html") {
		text = newDecodeReader(text, new(htmlDecoder))
	}
	return text
}

// utf8Decoder passes UTF-8 and takes every other byte as Windows-1252.
type utf8Decoder struct {
	cut [utf8.UTFMax]byte // the beginning of a character that a chunk ended in
	n   int
}

func (d *utf8Decoder) decode(dst, src []byte) []byte {
	for d.n > 0 && len(src) > 0 { // complete the cut character byte by byte
		d.cut[d.n] = src[0]
		d.n++
		src = src[1:]
		if b := d.cut[:d.n]; utf8.FullRune(b) {
			d.n = 0
			dst = appendUTF8(dst, b)
		}
	}
	if utf8.Valid(src) {
		return append(dst, src...)
	}
	for i := len(src) - 1; i >= 0 && i >= len(src)-utf8.UTFMax; i-- {
		if utf8.RuneStart(src[i]) {
			if !utf8.FullRune(src[i:]) {
				d.n = copy(d.cut[:], src[i:])
				src = src[:i]
			}
			break
		}
	}
	return appendUTF8(dst, src)
}

func (d *utf8Decoder) finish(dst []byte) []byte { return appendUTF8(dst, d.cut[:d.n]) }

func appendUTF8(dst, src []byte) []byte {
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		if r == utf8.RuneError && n == 1 {
			r = charmap.Windows1252.DecodeByte(src[0])
		}
		dst = utf8.AppendRune(dst, r)
		src = src[n:]
	}
	return dst
}

// previewLen is how many characters a preview has (RFC 8970 section 3.1).
const previewLen = 200

// Preview returns the beginning of the message's text, read from its stored
// message r: at most 200 characters, white space collapsed (RFC 8970). It is of
// the first text/plain part that is no attachment and not empty, or else of the
// first text/html part; empty if there is neither. The error is one of r.
func (p *Part) Preview(r io.ReaderAt) (string, error) {
	for _, subtype := range [...]string{"plain", "html"} {
		for part := range p.All() {
			if !part.Is("text", subtype) || part.IsAttachment() {
				continue
			}
			text, err := io.ReadAll(io.LimitReader(part.TextReader(r), 8<<10))
			if err != nil {
				return "", err
			}
			if s := shorten(string(text)); s != "" {
				return s, nil
			}
		}
	}
	return "", nil
}

func shorten(text string) string {
	s := []rune(strings.Join(strings.Fields(strings.ToValidUTF8(text, "")), " "))
	return strings.TrimSpace(string(s[:min(len(s), previewLen)]))
}
