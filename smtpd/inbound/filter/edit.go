package filter

import (
	"bytes"
	"slices"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// edit is one change of the header, as milters say it.
type edit struct {
	kind editKind
	name string
	// value is what stands after the colon; for change, "" removes.
	value string
	// index is, for insert, the position from the top, and for change which of
	// the fields of that name, from 1.
	index int
}

type editKind int

const (
	add    editKind = iota // below all fields
	insert                 // at a position
	change                 // an existing field
	purge                  // all fields of that name
)

// Bounds on what one filter may do to a header.
const (
	maxEdits = 1000
	maxValue = 64 << 10
)

// apply gives the header block with all edits done. What makes no field is left
// out.
func apply(header []byte, edits []edit) []byte {
	var fields [][]byte
	for _, raw := range message.EachField(header) {
		fields = append(fields, raw)
	}
	for _, e := range edits {
		fields = e.apply(fields)
	}
	return bytes.Join(fields, nil)
}

func (e edit) apply(fields [][]byte) [][]byte {
	raw := e.field()
	switch {
	case e.kind == purge:
		return slices.DeleteFunc(slices.Clone(fields), e.names)
	case raw == nil && e.kind != change:
		return fields
	case e.kind == insert:
		at := min(max(e.index, 0), len(fields))
		return append(fields[:at:at], append([][]byte{raw}, fields[at:]...)...)
	case e.kind == change:
		seen := 0
		for i, f := range fields {
			if !e.names(f) {
				continue
			}
			if seen++; seen < max(e.index, 1) {
				continue
			}
			if raw == nil || e.value == "" {
				return append(fields[:i:i], fields[i+1:]...)
			}
			return append(fields[:i:i], append([][]byte{raw}, fields[i+1:]...)...)
		}
		if raw == nil || e.value == "" {
			return fields
		}
	}
	if n := len(fields); n > 0 && !bytes.HasSuffix(fields[n-1], []byte("\n")) {
		fields = append(fields[:n-1:n-1], append(bytes.Clone(fields[n-1]), "\r\n"...))
	}
	return append(fields, raw)
}

// names reports whether the edit is about fields of this name.
func (e edit) names(field []byte) bool {
	name, _, _ := bytes.Cut(field, []byte(":"))
	return strings.EqualFold(string(bytes.TrimRight(name, " \t")), e.name)
}

// field writes the field as whole lines with CRLF; nil if name or value cannot
// be one. Line ends within the value stay folds, whatever follows them.
func (e edit) field() []byte {
	if e.name == "" || len(e.name) > 128 || len(e.value) > maxValue || strings.ContainsFunc(e.name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return nil
	}
	var b bytes.Buffer
	b.WriteString(e.name + ":")
	value := strings.TrimRight(strings.ReplaceAll(e.value, "\r", ""), "\n")
	for i, line := range strings.Split(value, "\n") {
		line = strings.Map(func(r rune) rune {
			if r == 0 || r < ' ' && r != '\t' || r == 0x7f {
				return '?'
			}
			return r
		}, line)
		if i > 0 && strings.TrimSpace(line) == "" {
			continue // an empty line would end the header
		}
		if i > 0 {
			b.WriteString("\r\n")
		}
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			b.WriteByte(' ')
		}
		b.WriteString(line)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
