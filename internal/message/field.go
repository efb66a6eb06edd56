package message

import (
	"bytes"
	"strings"
)

// fieldID names a header field that the scanner keeps.
type fieldID uint8

const (
	noField fieldID = iota
	fieldMIMEVersion
	fieldContentType
	fieldContentID
	fieldContentDescription
	fieldContentEncoding
	fieldContentMD5
	fieldContentDisposition
	fieldContentLanguage
	fieldContentLocation
	// Those of Summary from here on.
	fieldDate
	fieldSubject
	fieldMessageID
	fieldInReplyTo
	fieldReferences
	fieldFrom
	fieldSender
	fieldReplyTo
	fieldTo
	fieldCc
	fieldBcc
)

func (id fieldID) inSummary() bool { return id >= fieldDate }

// fieldNames gives the lower-case name of each field.
var fieldNames = map[string]fieldID{
	"mime-version":              fieldMIMEVersion,
	"content-type":              fieldContentType,
	"content-id":                fieldContentID,
	"content-description":       fieldContentDescription,
	"content-transfer-encoding": fieldContentEncoding,
	"content-md5":               fieldContentMD5,
	"content-disposition":       fieldContentDisposition,
	"content-language":          fieldContentLanguage,
	"content-location":          fieldContentLocation,
	"date":                      fieldDate,
	"subject":                   fieldSubject,
	"message-id":                fieldMessageID,
	"in-reply-to":               fieldInReplyTo,
	"references":                fieldReferences,
	"from":                      fieldFrom,
	"sender":                    fieldSender,
	"reply-to":                  fieldReplyTo,
	"to":                        fieldTo,
	"cc":                        fieldCc,
	"bcc":                       fieldBcc,
}

// lookupField returns the field of this name, in any letter case.
func lookupField(name []byte) fieldID {
	var lower [32]byte
	if len(name) > len(lower) {
		return noField
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return fieldNames[string(lower[:len(name)])]
}

// unfoldBytes removes the line breaks of a folded value in place, and the
// white space around it (RFC 5322 section 2.2.3). A CR that breaks no line
// separates words: it becomes a space.
func unfoldBytes(b []byte) []byte {
	if bytes.IndexByte(b, '\n') >= 0 || bytes.IndexByte(b, '\r') >= 0 {
		n := 0
		for i, c := range b {
			if c == '\r' && i+1 < len(b) && !strings.ContainsRune(" \t\r\n", rune(b[i+1])) {
				c = ' '
			}
			if c != '\r' && c != '\n' {
				b[n] = c
				n++
			}
		}
		b = b[:n]
	}
	return bytes.Trim(b, " \t")
}

// maxJoined is how many address fields of a message are joined to others, so
// that thousands of them do not cost quadratic time.
const maxJoined = 50

// set stores a field's unfolded value: the first of each, but address fields
// are joined, so that no address hides from a client that shows only one.
func (m *Summary) set(id fieldID, value []byte) {
	p := m.field(id)
	switch {
	case !m.has(id):
		*p = string(value)
	case id >= fieldFrom && len(value) > 0 && m.joined < maxJoined && len(*p)+len(value) < maxField:
		m.joined++
		if *p != "" {
			*p += ", "
		}
		*p += string(value)
	}
	m.present |= 1 << (id - fieldDate)
}

// has reports whether the message has the field, maybe empty.
func (m *Summary) has(id fieldID) bool {
	return m.present&(1<<(id-fieldDate)) != 0 || *m.field(id) != ""
}

func (m *Summary) field(id fieldID) *string {
	return [...]*string{&m.Date, &m.Subject, &m.MessageID, &m.InReplyTo, &m.References,
		&m.From, &m.Sender, &m.ReplyTo, &m.To, &m.Cc, &m.Bcc}[id-fieldDate]
}

// setContentField stores a Content- field other than Content-Type; the first
// of each name counts.
func (p *Part) setContentField(id fieldID, value []byte) {
	switch id {
	case fieldContentID:
		setFirst(&p.ID, value)
	case fieldContentDescription:
		setFirst(&p.Description, value)
	case fieldContentMD5:
		setFirst(&p.MD5, value)
	case fieldContentLocation:
		setFirst(&p.Location, value)
	case fieldContentEncoding:
		setFirst(&p.Encoding, mimeToken(value))
	case fieldContentDisposition:
		if p.Disposition == "" {
			p.setDisposition(value)
		}
	case fieldContentLanguage:
		if p.Language == nil {
			p.Language = parseLanguages(value)
		}
	}
}

func setFirst(s *string, value []byte) {
	if *s == "" {
		*s = intern(value)
	}
}

// forgetContent drops what Content- fields said: without MIME-Version or
// Content-Type the message is no MIME message (RFC 2045 section 4, and what
// Dovecot does).
func (p *Part) forgetContent() {
	*p = Part{HeaderStart: p.HeaderStart, BodyStart: p.BodyStart, HeaderVSize: p.HeaderVSize,
		HeaderLines: p.HeaderLines, Summary: p.Summary}
}
