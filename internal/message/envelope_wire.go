package message

import "strings"

// AppendEnvelope appends the ENVELOPE of the message p to dst and returns it
// (RFC 9051 section 7.5.2). p is the root or the message inside a
// message/rfc822 part; of any other part all is NIL. Strings that are not plain
// ASCII are literals; encoded-words stay encoded.
//
// Sender and Reply-To default to From. A field that is absent is NIL, one that
// is empty an empty string. The words that stand in for what an address lacks
// are Dovecot's: MISSING_MAILBOX, MISSING_DOMAIN (NIL would mean a group).
func (p *Part) AppendEnvelope(dst []byte) []byte {
	w := wireWriter{b: dst}
	w.envelope(p.Summary)
	return w.b
}

// AppendEnvelopeUTF8 is AppendEnvelope with UTF-8 in quoted strings, for clients
// that take it (RFC 6855 section 3).
func (p *Part) AppendEnvelopeUTF8(dst []byte) []byte {
	w := wireWriter{b: dst, utf8: true}
	w.envelope(p.Summary)
	return w.b
}

func (w *wireWriter) envelope(m *Summary) {
	w.parser = parsers.Get().(*addressParser)
	defer parsers.Put(w.parser)
	if m == nil {
		m = new(Summary)
	}
	w.raw("(")
	w.field(m, fieldDate)
	w.raw(" ")
	w.subject(m)
	w.raw(" ")
	from := len(w.b)
	w.addresses(m.From)
	end := len(w.b)
	for _, list := range [...]string{m.Sender, m.ReplyTo} {
		w.raw(" ")
		if !w.addresses(list) {
			w.b = append(w.b[:len(w.b)-len("NIL")], w.b[from:end]...)
		}
	}
	for _, list := range [...]string{m.To, m.Cc, m.Bcc} {
		w.raw(" ")
		w.addresses(list)
	}
	w.raw(" ")
	w.field(m, fieldInReplyTo)
	w.raw(" ")
	w.field(m, fieldMessageID)
	w.raw(")")
}

func (w *wireWriter) field(m *Summary, id fieldID) {
	if !m.has(id) {
		w.raw("NIL")
		return
	}
	w.string(*m.field(id))
}

// subject writes Subject with each run of white space as one space.
func (w *wireWriter) subject(m *Summary) {
	if !m.has(fieldSubject) {
		w.raw("NIL")
		return
	}
	w.string(collapse(m.Subject))
}

// collapse makes one space of each run of white space, and none at the ends.
func collapse(s string) string {
	if !strings.ContainsAny(s, "\t\r\n") && !strings.Contains(s, "  ") {
		return strings.Trim(s, " ")
	}
	return strings.Join(strings.FieldsFunc(s, isWSP), " ")
}

func isWSP(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }

// addresses writes an address list, or NIL if there is none; it reports which.
func (w *wireWriter) addresses(list string) bool {
	p := w.parser
	p.begin(list)
	start := len(w.b)
	w.raw("(")
	for a, ok := p.next(); ok; a, ok = p.next() {
		w.address(a)
	}
	if len(w.b) == start+1 {
		w.b = append(w.b[:start], "NIL"...)
		return false
	}
	w.raw(")")
	return true
}

func (w *wireWriter) address(a Address) {
	switch a.Kind {
	case GroupStart:
		w.raw("(NIL NIL ")
		w.string(a.Name)
		w.raw(" NIL)")
		return
	case GroupEnd:
		w.raw("(NIL NIL NIL NIL)")
		return
	}
	w.raw("(")
	w.nstring(collapse(a.Name))
	w.raw(" ")
	w.nstring(a.Route)
	w.raw(" ")
	w.string(orDefault(a.Mailbox, "MISSING_MAILBOX"))
	w.raw(" ")
	w.string(orDefault(a.Host, "MISSING_DOMAIN"))
	w.raw(")")
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
