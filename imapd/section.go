package imapd

import (
	"slices"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/maildir/index"
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
func parseSection(dec *wire.Decoder) section {
	var sec section
	dec.Expect('[')
	more := true
	for dec.Err() == nil && more && isDigit(dec.Peek()) {
		sec.path = append(sec.path, int(dec.NZNumber()))
		if len(sec.path) > maxSectionPath {
			dec.Failf("Section is too deep")
		}
		more = dec.Accept('.')
	}
	if more && dec.Peek() != ']' {
		parseSectionText(dec, &sec)
	} else if more && len(sec.path) > 0 {
		dec.Failf("Section ends in a dot")
	}
	dec.Expect(']')
	return sec
}

// needs is what a BODY item with this section takes.
func (sec *section) needs() needs {
	dropped := func(name string) bool { return !index.Keeps(name) }
	if len(sec.path) == 0 && sec.kind == sectionFields && !slices.ContainsFunc(sec.fields, dropped) {
		return needFields
	}
	return needPart | needFile
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func parseSectionText(dec *wire.Decoder, sec *section) {
	name := dec.Word()
	kind, ok := sectionNames[name]
	if dec.Err() == nil && !ok || kind == sectionMIME && len(sec.path) == 0 {
		dec.Failf("Unknown section %s", name)
	}
	sec.kind = kind
	if kind == sectionFields || kind == sectionFieldsNot {
		dec.SP()
		dec.NonEmptyList(func() { sec.fields = append(sec.fields, fieldName(dec)) })
	}
}

// fieldName insists on the name of a header field (RFC 5322 section 3.6.8). It
// is echoed, so that nothing else may be in it.
func fieldName(dec *wire.Decoder) string {
	name := dec.AString()
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f || name[i] == ':' {
			dec.Failf("Invalid header field name")
			return ""
		}
	}
	if dec.Err() == nil && name == "" {
		dec.Failf("Empty header field name")
	}
	return name
}

// parsePartial parses "<from.count>" if it is there.
func parsePartial(dec *wire.Decoder, sec *section) {
	if !dec.Accept('<') {
		return
	}
	sec.partial = true
	sec.from = dec.Number64()
	dec.Expect('.')
	sec.count = dec.Number64()
	if dec.Err() == nil && sec.count == 0 {
		dec.Failf("Partial of no bytes")
	}
	dec.Expect('>')
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
