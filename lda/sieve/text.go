package sieve

import (
	"strings"
)

// text is a string of a script: constant, or with variables to put in
// (RFC 5229 section 3).
type text struct {
	pos   int
	value string     // of a constant
	parts []textPart // nil for a constant
}

// textPart is a stretch of a text: literal, or a variable's value.
type textPart struct {
	literal string
	v       variable // if it is not the zero variable
}

// constant reports whether the text has no variables.
func (t text) constant() bool { return t.parts == nil }

// maxText is how long a text may get with its variables; only a script that
// wants to exhaust memory comes near.
const maxText = 1 << 20

// eval returns the text with the present values of its variables.
func (t text) eval(r *run) (string, error) {
	if t.constant() {
		return t.value, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		s := p.literal
		if p.v.kind != noVariable {
			s = r.value(p.v)
		}
		if b.Len()+len(s) > maxText {
			return "", r.errorf("a string with its variables is longer than %d bytes", maxText)
		}
		b.WriteString(s)
	}
	return b.String(), r.spend(b.Len())
}

// evalAll returns the values of texts.
func evalAll(r *run, texts []text) ([]string, error) {
	all := make([]string, len(texts))
	for i, t := range texts {
		s, err := t.eval(r)
		if err != nil {
			return nil, err
		}
		all[i] = s
	}
	return all, nil
}
