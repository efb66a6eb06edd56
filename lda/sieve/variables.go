package sieve

import "strings"

// variableKind tells where a variable lives.
type variableKind uint8

const (
	noVariable variableKind = iota
	// localVariable is one of the script (RFC 5229 section 3).
	localVariable
	// globalVariable is shared by a script and those it includes (RFC 6609
	// section 3.4).
	globalVariable
	// matchVariable is numbered: what a wildcard stood for (RFC 5229 section 3.2).
	matchVariable
)

// variable names a variable by its place.
type variable struct {
	kind  variableKind
	index int
}

// scope gives variables their places, in the order in which they are first
// named.
type scope struct {
	places map[string]int
}

// place returns the place of the variable name, in lower case.
func (s *scope) place(name string) int {
	if s.places == nil {
		s.places = map[string]int{}
	}
	i, ok := s.places[name]
	if !ok {
		i = len(s.places)
		s.places[name] = i
	}
	return i
}

// has reports whether the name has a place.
func (s *scope) has(name string) bool {
	_, ok := s.places[name]
	return ok
}

// isVariableName reports whether s can name a variable.
func isVariableName(s string) bool {
	if s == "" || len(s) > maxVariable || !isLetter(s[0]) {
		return false
	}
	for i := range len(s) {
		if !isLetter(s[i]) && !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// value returns what a variable holds.
func (r *run) value(v variable) string {
	switch v.kind {
	case matchVariable:
		return at(r.frame.matched, v.index)
	case globalVariable:
		return at(r.globals, v.index)
	}
	return at(r.frame.locals, v.index)
}

func at(values []string, i int) string {
	if i < len(values) {
		return values[i]
	}
	return ""
}

// setValue gives a variable a value, cut to the size that one can hold, in
// front of a character.
func (r *run) setValue(v variable, s string) {
	if most := r.limits.VariableSize; len(s) > most {
		s = strings.Clone(cutText(s, most))
	}
	values := &r.frame.locals
	if v.kind == globalVariable {
		values = &r.globals
	}
	for v.index >= len(*values) {
		*values = append(*values, "")
	}
	(*values)[v.index] = s
}

// cutText cuts s to at most n bytes without cutting through a character.
func cutText(s string, n int) string {
	for n > 0 && n < len(s) && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:min(n, len(s))]
}

// matchVariables reports whether the script can see what wildcards stood for.
func (r *run) matchVariables() bool { return r.frame.script.variables }

// setMatch sets the match variables, as a :matches or :regex that succeeds does.
func (r *run) setMatch(values []string) {
	if r.matchVariables() {
		r.frame.matched = values
	}
}
