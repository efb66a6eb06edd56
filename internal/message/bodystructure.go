package message

import "strings"

// AppendBodyStructure appends the part's BODYSTRUCTURE, or with extended unset
// its BODY, to dst and returns it (RFC 9051 section 7.5.2). Strings that are
// not plain ASCII are literals. What is written, in which letter case and with
// which defaults, is what Dovecot writes (lib-imap/imap-bodystructure.c).
func (p *Part) AppendBodyStructure(dst []byte, extended bool) []byte {
	w := wireWriter{b: dst}
	w.body(p, extended)
	return w.b
}

// AppendBodyStructureUTF8 is AppendBodyStructure with UTF-8 in quoted strings,
// for clients that take it (RFC 6855 section 3).
func (p *Part) AppendBodyStructureUTF8(dst []byte, extended bool) []byte {
	w := wireWriter{b: dst, utf8: true}
	w.body(p, extended)
	return w.b
}

// emptyPart stands in for the parts of a multipart that has none, as the
// grammar asks for at least one.
var emptyPart = &Part{Type: "text", Subtype: "plain"}

func (w *wireWriter) body(p *Part, extended bool) {
	w.raw("(")
	if p.IsMultipart() {
		w.multipart(p, extended)
	} else {
		w.singlePart(p, extended)
	}
	w.raw(")")
}

func (w *wireWriter) multipart(p *Part, extended bool) {
	for _, c := range p.Children {
		w.body(c, extended)
	}
	if len(p.Children) == 0 {
		w.body(emptyPart, extended)
	}
	w.raw(" ")
	w.string(p.Subtype)
	if extended {
		w.raw(" ")
		w.params(p.Params, false)
		w.extension(p)
	}
}

func (w *wireWriter) singlePart(p *Part, extended bool) {
	text := p.Is("text", "")
	w.string(p.Type)
	w.raw(" ")
	w.string(p.Subtype)
	w.raw(" ")
	w.params(p.Params, text)
	w.raw(" ")
	w.nstring(p.ID)
	w.raw(" ")
	w.nstring(p.Description)
	w.raw(" ")
	if p.Encoding == "" {
		w.raw(`"7bit"`)
	} else {
		w.string(p.Encoding)
	}
	w.raw(" ")
	w.number(p.BodyVSize)
	if m := p.Message(); m != nil {
		w.raw(" ")
		w.envelope(m.Summary)
		w.raw(" ")
		w.body(m, extended)
		w.raw(" ")
		w.number(p.BodyLines)
	} else if text {
		w.raw(" ")
		w.number(p.BodyLines)
	}
	if extended {
		w.raw(" ")
		w.nstring(p.MD5)
		w.extension(p)
	}
}

// extension writes disposition, language and location.
func (w *wireWriter) extension(p *Part) {
	w.raw(" ")
	if p.Disposition == "" {
		w.raw("NIL")
	} else {
		w.raw("(")
		w.string(p.Disposition)
		w.raw(" ")
		w.params(p.DispositionParams, false)
		w.raw(")")
	}
	w.raw(" ")
	w.languages(p.Language)
	w.raw(" ")
	w.nstring(p.Location)
}

func (w *wireWriter) languages(tags []string) {
	if len(tags) == 0 {
		w.raw("NIL")
		return
	}
	sep := "("
	for _, tag := range tags {
		w.raw(sep)
		w.string(tag)
		sep = " "
	}
	w.raw(")")
}

// params writes a parameter list. A text part without a charset gets us-ascii
// (RFC 2045 section 5.2).
func (w *wireWriter) params(params []Param, text bool) {
	sep, charset := "(", false
	for _, p := range params {
		w.raw(sep)
		w.string(p.Name)
		w.raw(" ")
		w.string(p.Value)
		sep = " "
		charset = charset || strings.EqualFold(p.Name, "charset")
	}
	if text && !charset {
		w.raw(sep)
		w.raw(`"charset" "us-ascii"`)
		sep = " "
	}
	if sep == "(" {
		w.raw("NIL")
		return
	}
	w.raw(")")
}
