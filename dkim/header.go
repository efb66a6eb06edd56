package dkim

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of a header block that is worth looking at, in bytes, fields and lines
// of one field. Verification is quadratic in the length of a folded field and in
// the number of fields; within these limits it takes some tenths of a second at
// most.
const (
	maxField  = 64 << 10
	maxHeader = 256 << 10
	maxFields = 2000
	maxLines  = 2000
)

// ErrHeader means that the header is too big, or is none.
var ErrHeader = errors.New("unusable message header")

// field is one header field as it stands in the message, with its line ends.
type field struct {
	name string // as written, without the white space before the colon
	raw  []byte // the whole of it; a part of header.raw
}

func (f field) is(name string) bool { return strings.EqualFold(f.name, name) }

// value is what follows the colon.
func (f field) value() []byte { return f.raw[bytes.IndexByte(f.raw, ':')+1:] }

// header is the block of fields before the body.
type header struct {
	fields []field
	raw    []byte // without the empty line
}

// readHeader reads up to and with the empty line. A message that ends before
// it has an empty body. A line without a colon is refused: what is signed must
// be what others see.
func readHeader(r *bufio.Reader) (*header, error) {
	h := &header{}
	var starts []int
	lines := 0 // of the present field
	for {
		line, err := readLine(r, maxHeader-len(h.raw))
		if err != nil {
			return nil, err
		}
		if len(line) == 0 || len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			starts, lines = append(starts, len(h.raw)), 0
		} else if len(starts) == 0 {
			return nil, fmt.Errorf("%w: it begins with a continuation line", ErrHeader)
		}
		h.raw = append(h.raw, line...)
		lines++
		if len(h.raw)-starts[len(starts)-1] > maxField || lines > maxLines || len(starts) > maxFields {
			return nil, fmt.Errorf("%w: a field of more than %d bytes or %d lines, or more than %d fields", ErrHeader, maxField, maxLines, maxFields)
		}
	}
	return h, h.split(starts)
}

// readLine reads one line with its end, at most limit bytes; at the end of the
// message it returns what is left, then nothing.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrHeader, maxHeader)
		}
		line = append(line, part...)
		if err == nil || err == io.EOF {
			return line, nil
		}
		if err != bufio.ErrBufferFull {
			return nil, fmt.Errorf("reading a message: %w", err)
		}
	}
}

func (h *header) split(starts []int) error {
	if n := len(h.raw); n > 0 && h.raw[n-1] != '\n' {
		h.raw = append(h.raw, "\r\n"...)
	}
	for i, at := range starts {
		end := len(h.raw)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		raw := h.raw[at:end:end]
		colon := bytes.IndexByte(raw, ':')
		if colon <= 0 {
			return fmt.Errorf("%w: a line without a field name", ErrHeader)
		}
		name := bytes.TrimRight(raw[:colon], " \t")
		if bytes.ContainsAny(name, " \t\r\n") {
			return fmt.Errorf("%w: white space in a field name", ErrHeader)
		}
		h.fields = append(h.fields, field{string(name), raw})
	}
	return nil
}

// all returns the fields of a name, in the order of the message.
func (h *header) all(name string) []field {
	var found []field
	for _, f := range h.fields {
		if f.is(name) {
			found = append(found, f)
		}
	}
	return found
}

// relaxedField appends a field in the canonical form "relaxed" (RFC 6376
// section 3.4.2) with its CRLF.
func relaxedField(dst []byte, f field) []byte {
	dst = append(dst, strings.ToLower(f.name)...)
	dst = append(dst, ':')
	space := false
	begin := len(dst)
	for _, c := range f.value() {
		switch c {
		case ' ', '\t':
			space = true
		case '\r', '\n': // unfolding takes the line ends out
		default:
			if space && len(dst) > begin {
				dst = append(dst, ' ')
			}
			space = false
			dst = append(dst, c)
		}
	}
	return append(dst, '\r', '\n')
}
