package sieve

import (
	"bytes"
	"slices"
	"strings"
)

var headerEditSpecs = []*spec{
	{name: "addheader", ext: "editheader", tags: []tagSpec{{name: "last"}}, args: []argumentKind{stringArgument, stringArgument}, command: buildAddHeader},
	{name: "deleteheader", ext: "editheader", tags: joinTags(matchTags, []tagSpec{{name: "index", value: numberArgument}, {name: "last"}}),
		args: []argumentKind{stringArgument, listArgument}, optional: true, last: true, command: buildDeleteHeader},
}

// maxFieldValue is how long a field that a script adds may be, in bytes.
const maxFieldValue = 2048

// addHeaderCommand is RFC 5293 section 4.
type addHeaderCommand struct {
	name, value text
	last        bool
}

func buildAddHeader(c *checker, n *call) statement {
	a := addHeaderCommand{c.textOf(n.args[0]), c.textOf(n.args[1]), n.has("last")}
	c.editable(a.name)
	if why := badFieldValue(a.value.value); a.value.constant() && why != "" {
		c.problem(a.value.pos, "", "this cannot be the value of a header field: %s", why)
	}
	return a
}

// editable checks the name of a field that is to be added or deleted.
func (c *checker) editable(name text) {
	switch {
	case !name.constant():
	case !isFieldName(name.value):
		c.problem(name.pos, "write the name without a colon", "%s cannot name a header field", quote(name.value))
	case c.o.protects(name.value):
		c.warning(name.pos, "", "the header field %s is protected and stays as it is", quote(name.value))
	}
}

// protects reports whether scripts may not touch a header field. The Subject is
// always theirs (RFC 5293 section 6).
func (o Options) protects(name string) bool {
	return !strings.EqualFold(name, "Subject") && slices.ContainsFunc(o.Protected, func(p string) bool { return strings.EqualFold(p, name) })
}

// undeletable reports whether a field must stay (RFC 5293 section 6): what
// keeps mail from going in circles.
func undeletable(name string) bool {
	return strings.EqualFold(name, "Received") || strings.EqualFold(name, "Auto-Submitted")
}

// badFieldValue says why s cannot be the value of a field; "" if it can.
func badFieldValue(s string) string {
	switch {
	case len(s) > maxFieldValue:
		return "it is too long"
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' && r != '\n' || r == 0x7f }):
		return "it has a control character"
	}
	return ""
}

func (a addHeaderCommand) exec(r *run) error {
	name, err := a.name.eval(r)
	if err != nil {
		return err
	}
	value, err := a.value.eval(r)
	if err != nil {
		return err
	}
	if !isFieldName(name) {
		return r.errorf("%s cannot name a header field", quote(name))
	}
	if why := badFieldValue(value); why != "" {
		return r.errorf("the value of %s cannot be that of a header field: %s", quote(name), why)
	}
	if r.script().o.protects(name) {
		r.trace(0, "addheader: the field %s is protected", name)
		return nil
	}
	r.trace(0, "addheader %s: %s", name, shorten(value))
	f := &field{name: strings.ToLower(name), raw: composeField(name, value)}
	at := 0
	if a.last {
		at = len(r.header.fields)
	}
	return r.editHeader(slices.Insert(slices.Clone(r.header.fields), at, f))
}

// editHeader takes fields for the header of the message from now on.
func (r *run) editHeader(fields []*field) error {
	if r.msg.cut {
		return r.errorf("the header of the message is too long to be edited")
	}
	if len(fields) > len(r.msg.header.fields)+maxAddedFields {
		return r.errorf("more than %d header fields are added", maxAddedFields)
	}
	r.header, r.edited = newHeader(fields), nil
	return r.spend(64*len(fields) + r.header.size) // which edit will write
}

// maxAddedFields is how many header fields scripts may add to a message.
const maxAddedFields = 100

// edit returns the header as edited so far, nil if it is the message's own.
func (r *run) edit() *Edit {
	if r.header == r.msg.header || r.header == nil {
		return nil
	}
	if r.edited == nil {
		var b bytes.Buffer
		for _, f := range r.header.fields {
			b.Write(f.raw)
			if !bytes.HasSuffix(f.raw, []byte("\n")) {
				b.WriteString("\r\n")
			}
		}
		b.WriteString("\r\n")
		r.edited = &Edit{Header: b.Bytes(), Body: r.msg.headerEnd}
	}
	return r.edited
}

// deleteHeaderCommand is RFC 5293 section 5.
type deleteHeaderCommand struct {
	name    text
	index   fieldIndex
	matcher *matcher // nil: whatever the value
}

func buildDeleteHeader(c *checker, n *call) statement {
	d := deleteHeaderCommand{name: c.textOf(n.args[0]), index: c.fieldIndex(n)}
	c.editable(d.name)
	if d.name.constant() && undeletable(d.name.value) {
		c.warning(d.name.pos, "", "the header field %s stays as it is", quote(d.name.value))
	}
	m := c.matcher(n, n.args[1])
	if n.args[1] != nil {
		d.matcher = m
	}
	return d
}

func (d deleteHeaderCommand) exec(r *run) error {
	name, err := d.name.eval(r)
	if err != nil {
		return err
	}
	if !isFieldName(name) {
		return r.errorf("%s cannot name a header field", quote(name))
	}
	if undeletable(name) || r.script().o.protects(name) {
		r.trace(0, "deleteheader: the field %s is protected", name)
		return nil
	}
	gone, err := d.choose(r, d.index.of(r.header.named(name)))
	if err != nil {
		return err
	}
	r.trace(0, "deleteheader %s: %d deleted", name, len(gone))
	if len(gone) == 0 {
		return nil
	}
	return r.editHeader(slices.DeleteFunc(slices.Clone(r.header.fields), func(f *field) bool { return gone[f] }))
}

// choose returns those of the fields whose value matches.
func (d deleteHeaderCommand) choose(r *run, fields []*field) (map[*field]bool, error) {
	gone := map[*field]bool{}
	if d.matcher == nil {
		for _, f := range fields {
			gone[f] = true
		}
		return gone, nil
	}
	for _, f := range fields {
		ok, err := d.matcher.each(r, []string{f.Text()})
		if err != nil {
			return nil, err
		}
		if ok {
			gone[f] = true
		}
	}
	return gone, nil
}
