package sieve

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var variableSpecs = []*spec{
	{name: "set", ext: "variables", tags: modifierTags, args: []argumentKind{stringArgument, stringArgument}, command: buildSet},
	{name: "string", ext: "variables", tags: matchTags, args: []argumentKind{listArgument, listArgument}, test: buildString},
}

// modifierTags are the modifiers of set; of those of a group, which is their
// precedence, one may be there (RFC 5229 section 4.1).
var modifierTags = []tagSpec{
	{name: "lower", group: "40"}, {name: "upper", group: "40"},
	{name: "lowerfirst", group: "30"}, {name: "upperfirst", group: "30"},
	{name: "quotewildcard", group: "20"}, {name: "quoteregex", ext: "regex", group: "20"},
	{name: "length", group: "10"},
}

// modify applies a modifier. Only ASCII letters have a case here, as in
// Pigeonhole.
func modify(modifier, s string) string {
	switch modifier {
	case "lower":
		return mapASCII(s, 'A', 'Z')
	case "upper":
		return mapASCII(s, 'a', 'z')
	case "lowerfirst":
		return mapASCII(s[:min(1, len(s))], 'A', 'Z') + s[min(1, len(s)):]
	case "upperfirst":
		return mapASCII(s[:min(1, len(s))], 'a', 'z') + s[min(1, len(s)):]
	case "quotewildcard":
		return escape(s, `*?\`)
	case "quoteregex":
		return escape(s, `.*+?[]^$|{}()\`)
	case "length":
		return strconv.Itoa(utf8.RuneCountInString(s))
	}
	return s
}

// mapASCII changes the case of the letters from first to last.
func mapASCII(s string, first, last byte) string {
	b := []byte(s)
	for i, c := range b {
		if first <= c && c <= last {
			b[i] = c ^ 0x20
		}
	}
	return string(b)
}

// escape puts a backslash before each of the characters.
func escape(s, characters string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(characters, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// cutQuoted cuts s to at most n bytes, without cutting through a character or
// behind a backslash that quotes what follows.
func cutQuoted(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = cutText(s, n)
	if (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1 {
		s = s[:len(s)-1]
	}
	return s
}

// setCommand is RFC 5229 section 4.
type setCommand struct {
	name      string
	v         variable
	value     text
	modifiers []string // in the order in which they apply
}

func buildSet(c *checker, n *call) statement {
	s := setCommand{value: c.textOf(n.args[1])}
	for _, t := range modifierTags { // which is by precedence
		if n.has(t.name) {
			s.modifiers = append(s.modifiers, t.name)
		}
	}
	l := n.args[0].list[0]
	s.name = l.text
	if isDigits(l.text) {
		c.problem(l.pos, "", "the numbered variables cannot be set")
		return s
	}
	s.v = c.variable(l.pos, l.text)
	return s
}

func (s setCommand) exec(r *run) error {
	v, err := s.value.eval(r)
	if err != nil {
		return err
	}
	for _, m := range s.modifiers {
		v = modify(m, v)
		if m == "quotewildcard" || m == "quoteregex" {
			v = cutQuoted(v, r.limits.VariableSize)
		}
	}
	r.setValue(s.v, v)
	r.trace(0, "set %s to %s", s.name, shorten(r.value(s.v)))
	return r.spend(len(v))
}

// stringTest is RFC 5229 section 5.
type stringTest struct {
	sources []text
	matcher *matcher
}

func buildString(c *checker, n *call) checked {
	return checked{test: stringTest{c.texts(n.args[0]), c.matcher(n, n.args[1])}}
}

func (t stringTest) eval(r *run) (bool, error) {
	values, err := evalAll(r, t.sources)
	if err != nil {
		return false, err
	}
	if t.matcher.typ == matchCount { // empty strings do not count
		values = slices.DeleteFunc(values, func(s string) bool { return s == "" })
	}
	return t.matcher.each(r, values)
}
