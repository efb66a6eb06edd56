package message

import (
	"bytes"
	"io"
	"strings"
)

// Field is a header field.
type Field struct {
	// Name is as written, without white space before the colon; empty for a line
	// that is no field (no colon, a stray continuation, an mbox "From " line).
	Name string
	// Raw is the whole field as stored: name, colon, value, folds and line ends.
	Raw []byte
}

// Value is the field's value, unfolded, without white space around it. RFC 5322
// section 2.2.3.
func (f Field) Value() string {
	value := f.Raw
	if f.Name != "" {
		value = value[bytes.IndexByte(value, ':')+1:]
	}
	line := bytes.TrimRight(value, "\r\n")
	if bytes.IndexByte(line, '\n') < 0 && bytes.IndexByte(line, '\r') < 0 {
		return string(bytes.Trim(line, " \t")) // not folded
	}
	return string(unfoldBytes(bytes.Clone(value)))
}

// Text is the field's value with encoded-words decoded to UTF-8.
func (f Field) Text() string { return DecodeText(f.Value()) }

// Is reports whether the field has this name, in any letter case.
func (f Field) Is(name string) bool { return strings.EqualFold(f.Name, name) }

// Fields are the fields of a header block in their order.
type Fields []Field

// ParseHeader splits a header block, up to its blank line or end, into fields.
// It takes anything. The fields share block's memory.
func ParseHeader(block []byte) Fields {
	var fields Fields
	for {
		var f Field
		f, block = nextField(block)
		if f.Raw == nil {
			return fields
		}
		fields = append(fields, f)
	}
}

// nextField takes a field off a header block; its Raw is nil at the end.
func nextField(block []byte) (f Field, rest []byte) {
	f.Raw, rest = cutField(block)
	f.Name = string(fieldName(f.Raw))
	return f, rest
}

// cutField takes the bytes of a field off a header block; nil at the end.
func cutField(block []byte) (raw, rest []byte) {
	if len(block) == 0 || blank(block[:min(2, len(block))]) {
		return nil, nil
	}
	n := 0
	for {
		i := bytes.IndexByte(block[n:], '\n')
		if i < 0 {
			return block, nil
		}
		n += i + 1
		if n == len(block) || block[n] != ' ' && block[n] != '\t' {
			return block[:n:n], block[n:]
		}
	}
}

// fieldName returns the name of a field; empty if raw is none.
func fieldName(raw []byte) []byte {
	colon := bytes.IndexByte(raw, ':')
	if colon <= 0 || raw[0] == ' ' || raw[0] == '\t' {
		return nil
	}
	name := bytes.TrimRight(raw[:colon], " \t")
	if bytes.IndexByte(name, '\n') >= 0 {
		return nil
	}
	return name
}

// Get returns the first field of this name.
func (f Fields) Get(name string) (Field, bool) {
	for _, field := range f {
		if field.Is(name) {
			return field, true
		}
	}
	return Field{}, false
}

// Value returns the unfolded value of the first field of this name, or "".
func (f Fields) Value(name string) string {
	if field, ok := f.Get(name); ok {
		return field.Value()
	}
	return ""
}

// Text returns the decoded value of the first field of this name, or "".
func (f Fields) Text(name string) string {
	if field, ok := f.Get(name); ok {
		return field.Text()
	}
	return ""
}

// AppendHeaderFields appends to dst the fields of a header block whose name is
// in names, in the block's order and as they stand but with CRLF line ends, and
// a blank line: HEADER.FIELDS of IMAP (RFC 9051 section 6.4.5). With not set it
// takes all other fields and lines, and the blank line only if the block has
// it: HEADER.FIELDS.NOT. NUL becomes 0x80.
func AppendHeaderFields(dst, block []byte, names []string, not bool) []byte {
	for {
		raw, rest := cutField(block)
		if raw == nil {
			if not && len(block) == 0 {
				return dst
			}
			return append(dst, '\r', '\n')
		}
		if named(raw, names) != not {
			dst = appendCRLF(dst, raw, !not)
		}
		block = rest
	}
}

// named reports whether raw is a field with one of the names.
func named(raw []byte, names []string) bool {
	own := fieldName(raw)
	for _, name := range names {
		if len(own) > 0 && bytes.EqualFold(own, []byte(name)) {
			return true
		}
	}
	return false
}

// appendCRLF appends lines with CRLF line ends. With end set a last line
// without a line end gets one.
func appendCRLF(dst, lines []byte, end bool) []byte {
	start := len(dst)
	for len(lines) > 0 {
		line, rest, whole := cut(lines)
		if whole {
			line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
		}
		dst = append(dst, line...)
		if whole || end {
			dst = append(dst, '\r', '\n')
		}
		lines = rest
	}
	replaceNUL(dst[start:])
	return dst
}

// ReadHeader reads the header block of p from its stored message, at most limit
// bytes of it, as stored.
func (p *Part) ReadHeader(r io.ReaderAt, limit int64) ([]byte, error) {
	b := make([]byte, min(p.BodyStart-p.HeaderStart, limit))
	n, err := r.ReadAt(b, p.HeaderStart)
	if n == len(b) {
		return b, nil
	}
	return b[:n], shortRead(err)
}

// MessageIDs returns the message identifiers in a Message-ID, In-Reply-To or
// References value (RFC 5322 section 3.6.4), without angle brackets and white
// space, in order. Words and comments around them are ignored; if there are no
// brackets at all, a value that is a single word with an at sign is taken.
func MessageIDs(value string) []string {
	var ids []string
	for s := value; ; {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		s = s[i+1:]
		end := strings.IndexAny(s, "<>")
		if end < 0 {
			break
		}
		if s[end] == '>' {
			if id := strings.Join(strings.Fields(s[:end]), ""); id != "" {
				ids = append(ids, id)
			}
		}
		s = s[end:]
	}
	if word := strings.TrimSpace(value); ids == nil && strings.Contains(word, "@") && !strings.ContainsAny(word, " \t\r\n<>") {
		ids = []string{word}
	}
	return ids
}
