package imapd

import (
	"strconv"
	"strings"
)

// sectionKind is what of a part a section asks for.
type sectionKind uint8

const (
	sectionBody      sectionKind = iota // BODY[] or BODY[1.2]
	sectionHeader                       // HEADER
	sectionFields                       // HEADER.FIELDS
	sectionFieldsNot                    // HEADER.FIELDS.NOT
	sectionText                         // TEXT
	sectionMIME                         // MIME
)

var sectionNames = map[string]sectionKind{
	"HEADER":            sectionHeader,
	"HEADER.FIELDS":     sectionFields,
	"HEADER.FIELDS.NOT": sectionFieldsNot,
	"TEXT":              sectionText,
	"MIME":              sectionMIME,
}

// maxSectionPath bounds a part path: nothing nests as deep.
const maxSectionPath = 100

// section is a body section with its partial (RFC 9051 section 6.4.5).
type section struct {
	path   []int
	kind   sectionKind
	fields []string

	// partial is <from.count>.
	partial     bool
	from, count int64
}

// parseSection parses "[...]".
func (s *session) parseSection() section {
	var sec section
	s.dec.Expect('[')
	more := true
	for s.dec.Err() == nil && more && isDigit(s.dec.Peek()) {
		sec.path = append(sec.path, int(s.dec.NZNumber()))
		if len(sec.path) > maxSectionPath {
			s.dec.Failf("Section is too deep")
		}
		more = s.dec.Accept('.')
	}
	if more && s.dec.Peek() != ']' {
		s.parseSectionText(&sec)
	} else if more && len(sec.path) > 0 {
		s.dec.Failf("Section ends in a dot")
	}
	s.dec.Expect(']')
	return sec
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (s *session) parseSectionText(sec *section) {
	name := s.dec.Word()
	kind, ok := sectionNames[name]
	if s.dec.Err() == nil && !ok || kind == sectionMIME && len(sec.path) == 0 {
		s.dec.Failf("Unknown section %s", name)
	}
	sec.kind = kind
	if kind == sectionFields || kind == sectionFieldsNot {
		s.dec.SP()
		s.dec.NonEmptyList(func() { sec.fields = append(sec.fields, s.fieldName()) })
	}
}

// fieldName insists on the name of a header field (RFC 5322 section 3.6.8). It
// is echoed, so that nothing else may be in it.
func (s *session) fieldName() string {
	name := s.dec.AString()
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f || name[i] == ':' {
			s.dec.Failf("Invalid header field name")
			return ""
		}
	}
	if s.dec.Err() == nil && name == "" {
		s.dec.Failf("Empty header field name")
	}
	return name
}

// parsePartial parses "<from.count>" if it is there.
func (s *session) parsePartial(sec *section) {
	if !s.dec.Accept('<') {
		return
	}
	sec.partial = true
	sec.from = s.dec.Number64()
	s.dec.Expect('.')
	sec.count = s.dec.Number64()
	if s.dec.Err() == nil && sec.count == 0 {
		s.dec.Failf("Partial of no bytes")
	}
	s.dec.Expect('>')
}

// label is the section as the response repeats it: "[1.HEADER]<0>".
func (sec section) label() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, n := range sec.path {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strconv.Itoa(n))
	}
	if sec.kind != sectionBody && len(sec.path) > 0 {
		b.WriteByte('.')
	}
	for name, kind := range sectionNames {
		if kind == sec.kind {
			b.WriteString(name)
		}
	}
	if len(sec.fields) > 0 {
		b.WriteString(" (")
		for i, f := range sec.fields {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(quoteField(f))
		}
		b.WriteByte(')')
	}
	b.WriteByte(']')
	if sec.partial {
		b.WriteString("<" + strconv.FormatInt(sec.from, 10) + ">")
	}
	return b.String()
}

// quoteField writes a field name as an astring.
func quoteField(name string) string {
	if strings.ContainsAny(name, `(){%*"\`) {
		return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(name) + `"`
	}
	return name
}
