package smtpd

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

// errHeaderTooBig means that a header block or field is beyond its limit.
var errHeaderTooBig = errors.New("header is too big")

// field is one header field: whole lines with CRLF, and its name in lower case.
type field struct {
	name string
	raw  []byte
}

// body is the unfolded text after the colon.
func (f field) body() string {
	_, v, _ := bytes.Cut(f.raw, []byte(":"))
	v = bytes.ReplaceAll(v, []byte("\r\n"), nil)
	return strings.TrimSpace(string(v))
}

// readHeader reads the header block of a message with CRLF line ends: block are
// its lines without the empty one, rest is what was read beyond. A block of
// more than limit bytes is errHeaderTooBig.
func readHeader(src io.Reader, limit int) (block, rest []byte, err error) {
	buf := make([]byte, 0, 4096)
	for from := 0; ; {
		if end := headerEnd(buf, from); end >= 0 {
			if end > limit {
				return nil, nil, errHeaderTooBig
			}
			return buf[:end:end], buf[end:], nil
		}
		if len(buf) > limit+4 {
			return nil, nil, errHeaderTooBig
		}
		from = max(len(buf)-3, 0)
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF && n == 0 {
			if len(buf) > limit {
				return nil, nil, errHeaderTooBig
			}
			return buf, nil, nil
		}
		if err != nil && err != io.EOF {
			return nil, nil, err
		}
	}
}

// headerEnd is where the empty line stands, or -1; from is where new bytes may
// make one.
func headerEnd(buf []byte, from int) int {
	if bytes.HasPrefix(buf, []byte("\r\n")) {
		return 0
	}
	if i := bytes.Index(buf[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 2
	}
	return -1
}

// parseFields splits a header block. It stops at the first line that is neither
// field nor continuation and returns it with all that follows as junk.
func parseFields(block []byte) (fields []field, junk []byte) {
	for len(block) > 0 {
		n := lineLength(block)
		name, ok := fieldName(block[:n])
		if !ok {
			return fields, block
		}
		for n < len(block) && (block[n] == ' ' || block[n] == '\t') {
			n += lineLength(block[n:])
		}
		fields = append(fields, field{name, block[:n:n]})
		block = block[n:]
	}
	return fields, nil
}

func lineLength(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// fieldName reads "Name:" (RFC 5322 section 2.2; spaces before the colon are
// the obsolete syntax of section 4.5).
func fieldName(line []byte) (string, bool) {
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		return "", false
	}
	name := bytes.TrimRight(line[:i], " \t")
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return "", false
		}
	}
	return strings.ToLower(string(name)), len(name) > 0
}

// count tells how many fields have the name, in lower case.
func count(fields []field, name string) (n int) {
	for _, f := range fields {
		if f.name == name {
			n++
		}
	}
	return n
}

// longest is the length of the longest field.
func longest(fields []field) (n int) {
	for _, f := range fields {
		n = max(n, len(f.raw))
	}
	return n
}
