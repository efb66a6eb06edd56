package sieve

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// bodyCache holds the texts that body tests have asked for, so that each is
// decoded once.
type bodyCache struct {
	known map[bodyKey]string
	size  int // in all
}

// bodyKey names a text: of a part, in one of its forms.
type bodyKey struct {
	part *message.Part
	form bodyForm
}

// bodyForm is how a part is looked at (RFC 5173 section 5).
type bodyForm uint8

const (
	// bodyRaw is the whole body as it stands.
	bodyRaw bodyForm = iota
	// bodyContent is a part decoded, bodyText also without markup.
	bodyContent
	bodyText
	// bodyPrologue and bodyEpilogue are what stands before the first and behind
	// the last part of a multipart.
	bodyPrologue
	bodyEpilogue
)

// body returns a text of the message; at most limit bytes in all are kept.
func (m *Message) body(k bodyKey, limit int) (string, error) {
	if s, ok := m.bodies.known[k]; ok {
		return s, nil
	}
	r, err := m.bodyReader(k)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(max(0, limit-m.bodies.size))))
	if err != nil {
		return "", fmt.Errorf("reading the message's body: %w", err)
	}
	s := k.form.finish(k.part, b)
	if m.bodies.known == nil {
		m.bodies.known = map[bodyKey]string{}
	}
	m.bodies.known[k] = s
	m.bodies.size += len(s)
	return s, nil
}

// bodyReader returns a reader of what k names.
func (m *Message) bodyReader(k bodyKey) (io.Reader, error) {
	p := k.part
	switch {
	case k.form == bodyRaw:
		root, err := m.parts()
		if err != nil {
			return nil, err
		}
		return message.CRLFReader(m.r, root.BodyStart, m.size), nil
	case k.form == bodyPrologue && len(p.Children) > 0:
		return message.CRLFReader(m.r, p.BodyStart, p.Children[0].HeaderStart), nil
	case k.form == bodyEpilogue && len(p.Children) > 0:
		return message.CRLFReader(m.r, p.Children[len(p.Children)-1].End, p.End), nil
	case k.form == bodyText && p.Is("application", "xhtml+xml"):
		html := *p
		html.Type, html.Subtype = "text", "html"
		return html.TextReader(m.r), nil
	case k.form == bodyText:
		return p.TextReader(m.r), nil
	case p.IsMessage():
		return p.Message().Header().Reader(m.r), nil
	}
	r, err := p.BinaryReader(m.r)
	if err != nil { // an unknown encoding: as it stands
		return p.Body().Reader(m.r), nil
	}
	return r, nil
}

// finish makes the text of what was read of part p.
func (f bodyForm) finish(p *message.Part, b []byte) string {
	switch f {
	case bodyRaw:
		return string(b)
	case bodyContent:
		if p.IsMessage() { // its header, without the blank line
			return strings.TrimSuffix(crlf(string(b)), "\r\n")
		}
		if p.IsText() {
			if s, err := message.DecodeCharset(p.Param("charset"), string(b)); err == nil {
				return crlf(s)
			}
		}
	case bodyPrologue:
		// The boundary's line and the line end before it are not ours.
		if i := bytes.LastIndex(b, []byte("\r\n--")); i >= 0 {
			b = b[:i]
		} else if bytes.HasPrefix(b, []byte("--")) {
			b = nil
		}
	case bodyEpilogue:
		if i := bytes.Index(b, []byte("--\r\n")); i >= 0 {
			b = b[i+4:]
		} else {
			b = nil
		}
	}
	return crlf(string(b))
}

// crlf makes every line end CRLF, as in the strings of a script.
func crlf(s string) string {
	if strings.Count(s, "\n") == strings.Count(s, "\r\n") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// texts returns the texts of all text parts: the :text of RFC 5173 section 5.3.
func (m *Message) texts(limit int) ([]string, error) {
	root, err := m.parts()
	if err != nil {
		return nil, err
	}
	var all []string
	for p := range root.All() {
		if isText(p) {
			s, err := m.body(bodyKey{p, bodyText}, limit)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// isText reports whether a part has text that can be read; one of an unknown
// encoding has none (RFC 2045 section 6.4).
func isText(p *message.Part) bool {
	if len(p.Children) > 0 || !p.Is("text", "") && !p.Is("application", "xhtml+xml") {
		return false
	}
	switch strings.ToLower(p.Encoding) {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
		return true
	}
	return false
}

// contents returns the parts of the wanted types, decoded: the :content of
// RFC 5173 section 5.2.
func (m *Message) contents(types []string, limit int) ([]string, error) {
	root, err := m.parts()
	if err != nil {
		return nil, err
	}
	var all []string
	for p := range root.All() {
		if !wantedType(p, types) {
			continue
		}
		forms := []bodyForm{bodyContent}
		if p.IsMultipart() {
			forms = []bodyForm{bodyPrologue, bodyEpilogue}
		}
		for _, f := range forms {
			s, err := m.body(bodyKey{p, f}, limit)
			if err != nil {
				return nil, err
			}
			all = append(all, s)
		}
	}
	return all, nil
}

// wantedType reports whether a part is of one of the types: "" is all, "text"
// all of a type, "text/html" one.
func wantedType(p *message.Part, types []string) bool {
	for _, t := range types {
		typ, subtype, _ := strings.Cut(t, "/")
		if t == "" || p.Is(typ, subtype) && !strings.HasSuffix(t, "/") {
			return true
		}
	}
	return false
}
