package sieve

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// texts makes the texts of a string or string list.
func (c *checker) texts(a *argument) []text {
	all := make([]text, len(a.list))
	for i, l := range a.list {
		all[i] = c.text(l)
	}
	return all
}

// textOf makes the text of a string argument.
func (c *checker) textOf(a *argument) text { return c.text(a.list[0]) }

// optionalText makes the text behind a tag; nil if it was not given.
func (c *checker) optionalText(k *call, tag string) *text {
	a := k.tags[tag]
	if a == nil {
		return nil
	}
	t := c.textOf(a)
	return &t
}

// text makes the text of a string: with encoded characters decoded (RFC 5228
// section 2.4.2.4), then with places for its variables (RFC 5229 section 3).
func (c *checker) text(l literal) text {
	s := l.text
	told := c.told
	if c.required["encoded-character"] {
		s = c.decodeCharacters(l.pos, s)
	}
	t := text{pos: l.pos, value: s}
	if c.told > told { // nothing more is to be said of it
		t.parts = []textPart{}
	}
	if !c.required["variables"] || !strings.Contains(s, "${") {
		return t
	}
	rest, start := s, 0
	for {
		i := strings.Index(rest[start:], "${")
		if i < 0 {
			break
		}
		i += start
		end := variableEnd(rest[i+2:])
		if end < 0 {
			start = i + 2
			continue
		}
		v := c.reference(l.pos, rest[i+2:i+2+end])
		if i > 0 {
			t.parts = append(t.parts, textPart{literal: rest[:i]})
		}
		t.parts = append(t.parts, textPart{v: v})
		rest, start = rest[i+2+end+1:], 0
	}
	if t.parts != nil && rest != "" {
		t.parts = append(t.parts, textPart{literal: rest})
	}
	return t
}

// variableEnd returns the length of the variable's name that s begins with, if
// a } follows it; otherwise -1.
func variableEnd(s string) int {
	end := strings.IndexByte(s, '}')
	if end <= 0 {
		return -1
	}
	name := s[:end]
	if isDigits(name) {
		return end
	}
	if !isLetter(name[0]) {
		return -1
	}
	for part := range strings.SplitSeq(name, ".") {
		if !isVariableWord(part) {
			return -1
		}
	}
	return end
}

// isVariableWord reports whether s has the form of a part of a name.
func isVariableWord(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

func isDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// reference finds the variable of a name as it stands in ${name}.
func (c *checker) reference(pos int, name string) variable {
	if isDigits(name) {
		n, err := strconv.Atoi(name)
		if err != nil || n > maxMatchValue {
			c.problem(pos, "", "the highest numbered variable is ${%d}", maxMatchValue)
			return variable{}
		}
		return variable{matchVariable, n}
	}
	return c.variable(pos, name)
}

// variable finds the place of a variable by its name, which may have a
// namespace.
func (c *checker) variable(pos int, name string) variable {
	name = strings.ToLower(name)
	space, rest, spaced := strings.Cut(name, ".")
	switch {
	case spaced && (space != "global" || !c.required["include"]):
		c.problem(pos, "", "there is no namespace %s for variables", quote(space))
		return variable{}
	case spaced:
		name = rest
		fallthrough
	case c.shared[name]:
		if !c.mayName(pos, name, &c.globals) {
			return variable{}
		}
		return variable{globalVariable, c.globals.place(name)}
	}
	if !c.mayName(pos, name, &c.locals) {
		return variable{}
	}
	return variable{localVariable, c.locals.place(name)}
}

// mayName checks the name of a variable, and that there are not too many.
func (c *checker) mayName(pos int, name string, s *scope) bool {
	switch {
	case !isVariableName(name):
		c.problem(pos, "a name begins with a letter, goes on with letters, digits and _, and has at most 64", "%s cannot name a variable", quote(name))
	case !s.has(name) && len(s.places) >= c.limits.Variables:
		c.problem(pos, "", "there are more than %d variables", c.limits.Variables)
	default:
		return true
	}
	return false
}

// decodeCharacters replaces ${hex: 24 40} and ${unicode: 20ac}.
func (c *checker) decodeCharacters(pos int, s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			break
		}
		kind, digits, ok := strings.Cut(s[i+2:i+end], ":")
		b.WriteString(s[:i])
		decoded, valid := "", false
		if ok && strings.EqualFold(kind, "hex") {
			decoded, valid = decodeHex(digits)
		} else if ok && strings.EqualFold(kind, "unicode") {
			decoded, valid = c.decodeUnicode(pos, digits)
		}
		if !valid { // not ours: as it stands
			b.WriteString("${")
			s = s[i+2:]
			continue
		}
		b.WriteString(decoded)
		s = s[i+end+1:]
	}
	b.WriteString(s)
	return b.String()
}

func decodeHex(s string) (string, bool) {
	words := strings.Fields(s)
	b := make([]byte, 0, len(words))
	for _, w := range words {
		n, err := strconv.ParseUint(w, 16, 8)
		if err != nil || len(w) > 2 {
			return "", false
		}
		b = append(b, byte(n))
	}
	return string(b), len(words) > 0
}

func (c *checker) decodeUnicode(pos int, s string) (string, bool) {
	words := strings.Fields(s)
	var b []byte
	for _, w := range words {
		if strings.Trim(w, "0123456789abcdefABCDEF") != "" {
			return "", false
		}
		n, err := strconv.ParseUint(strings.TrimLeft(w, "0"), 16, 32)
		if err != nil && strings.TrimLeft(w, "0") != "" || !utf8.ValidRune(rune(n)) || n > utf8.MaxRune {
			c.problem(pos, "", "there is no character U+%s", strings.ToUpper(w))
			return "", false
		}
		b = utf8.AppendRune(b, rune(n))
	}
	return string(b), len(words) > 0
}

// constant returns a string that must be known before the script runs.
func (c *checker) constant(a *argument, what string) (string, bool) {
	t := c.textOf(a)
	if !t.constant() {
		c.problem(a.pos, "", "%s must not be made of variables", what)
		return "", false
	}
	return t.value, true
}
