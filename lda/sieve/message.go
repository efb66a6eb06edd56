package sieve

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// Message is a message that scripts look at. It reads what they ask for, once.
// A Message may be used for several runs, one after the other.
type Message struct {
	r    io.ReaderAt
	size int64

	header *header // as it came; nil until it is needed
	// headerEnd is the offset of the body; cut says that the header goes on
	// behind what was read of it.
	headerEnd int64
	cut       bool

	root   *message.Part // nil until it is needed
	count  int           // of the parts
	bodies bodyCache
}

// NewMessage returns the message of size bytes that r holds, with LF or CRLF
// line ends. Nothing is read yet.
func NewMessage(r io.ReaderAt, size int64) *Message { return &Message{r: r, size: size} }

// header is a header block as its fields. It is never changed; edits make
// another.
type header struct {
	fields []*field
	index  map[string][]int // by name in lower case
	size   int              // in bytes
}

// field is a field of a header.
type field struct {
	name string // in lower case; empty for a line that is no field
	raw  []byte // with name and line ends
	// value is the unfolded value and text the same with encoded-words decoded,
	// each once it was asked for.
	value, text       string
	hasValue, hasText bool
}

// newHeader makes an index over fields.
func newHeader(fields []*field) *header {
	h := &header{fields: fields, index: make(map[string][]int, len(fields))}
	for i, f := range fields {
		h.index[f.name] = append(h.index[f.name], i)
		h.size += len(f.raw)
	}
	return h
}

// named returns the fields of a name, in their order.
func (h *header) named(name string) []*field {
	places := h.index[strings.ToLower(name)]
	found := make([]*field, len(places))
	for i, p := range places {
		found[i] = h.fields[p]
	}
	return found
}

// Value returns the unfolded value without white space around it. A tab that a
// line begins with counts as a space, as in Dovecot.
func (f *field) Value() string {
	if !f.hasValue {
		raw := f.raw
		if bytes.Contains(raw, []byte("\n\t")) {
			raw = bytes.ReplaceAll(raw, []byte("\n\t"), []byte("\n "))
		}
		f.value, f.hasValue = message.Field{Name: f.name, Raw: raw}.Value(), true
	}
	return f.value
}

// Text returns the value with encoded-words decoded.
func (f *field) Text() string {
	if !f.hasText {
		f.text, f.hasText = strings.TrimSpace(message.DecodeText(f.Value())), true
	}
	return f.text
}

// readHeader reads the header, at most limit bytes of it.
func (m *Message) readHeader(limit int) error {
	if m.header != nil {
		return nil
	}
	var block []byte
	for size := int64(8 << 10); ; size *= 4 {
		size = min(size, m.size, int64(limit))
		block = make([]byte, size)
		if n, err := m.r.ReadAt(block, 0); n < len(block) {
			return fmt.Errorf("reading the message's header: %w", err)
		}
		if end, found := headerLen(block); found {
			block, m.headerEnd = block[:end], int64(end)
			break
		}
		if size == m.size || size == int64(limit) {
			m.headerEnd, m.cut = size, size < m.size
			break
		}
	}
	var fields []*field
	for name, raw := range message.EachField(block) {
		fields = append(fields, &field{name: strings.ToLower(string(name)), raw: raw})
	}
	m.header = newHeader(fields)
	return nil
}

// headerLen returns the length of the header that block begins with, with its
// blank line, if that is in block.
func headerLen(block []byte) (int, bool) {
	for at := 0; at < len(block); {
		rest := block[at:]
		if rest[0] == '\n' {
			return at + 1, true
		}
		if bytes.HasPrefix(rest, []byte("\r\n")) {
			return at + 2, true
		}
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			break
		}
		at += n + 1
	}
	return len(block), false
}

// parts returns the message's MIME tree.
func (m *Message) parts() (*message.Part, error) {
	if m.root != nil {
		return m.root, nil
	}
	root, err := message.Scan(io.NewSectionReader(m.r, 0, m.size))
	if err != nil {
		return nil, fmt.Errorf("reading the message: %w", err)
	}
	for range root.All() {
		m.count++
	}
	m.root = root
	return root, nil
}
