package message

import (
	"io"
	"strings"
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
// text/html, the markup left out. Line ends are as stored. It streams with
// bounded memory. Unknown encodings and charsets are read as they are. The text
// is valid UTF-8.
func (p *Part) TextReader(r io.ReaderAt) io.Reader { return p.textReader(r) }

func (p *Part) textReader(r io.ReaderAt) *decodeReader {
	stored := &rawReader{source{r: r, off: p.BodyStart, end: p.End}}
	var steps [maxSteps]decoder
	n := 0
	if d, err := p.transferDecoder(); err == nil && d != nil {
		steps[n] = d
		n++
	}
	if enc, err := lookupCharset(p.Param("charset")); err == nil && enc != nil {
		steps[n] = &charsetDecoder{t: enc.NewDecoder()}
	} else {
		steps[n] = new(utf8Decoder)
	}
	if n++; p.Is("text", "html") {
		steps[n] = new(htmlDecoder)
		n++
	}
	return newDecodeReader(stored, steps[:n]...)
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
