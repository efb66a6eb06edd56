package sieve

import (
	"slices"
	"strings"
)

var flagSpecs = []*spec{
	{name: "setflag", ext: "imap4flags", args: []argumentKind{stringArgument, listArgument}, optional: true, command: buildFlagCommand},
	{name: "addflag", ext: "imap4flags", args: []argumentKind{stringArgument, listArgument}, optional: true, command: buildFlagCommand},
	{name: "removeflag", ext: "imap4flags", args: []argumentKind{stringArgument, listArgument}, optional: true, command: buildFlagCommand},
	{name: "hasflag", ext: "imap4flags", tags: matchTags, args: []argumentKind{listArgument, listArgument}, optional: true, test: buildHasFlag},
}

// systemFlags are those that may be set, in the form they are stored in.
var systemFlags = []string{`\Answered`, `\Deleted`, `\Draft`, `\Flagged`, `\Seen`}

// canonicalFlag returns the form of a flag, and whether it can be set on a
// message: a system flag in any letter case, or a keyword (RFC 9051 section 9).
func canonicalFlag(s string) (string, bool) {
	if strings.HasPrefix(s, `\`) {
		i := slices.IndexFunc(systemFlags, func(f string) bool { return strings.EqualFold(f, s) })
		if i < 0 {
			return "", false
		}
		return systemFlags[i], true
	}
	return s, isKeyword(s)
}

// isKeyword reports whether s is an IMAP atom.
func isKeyword(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	})
}

// maxFlags is how many flags a list can hold.
const maxFlags = 64

// flagSet splits lists of flags, leaves out what is no flag, and each but the
// first of its kind.
func (r *run) flagSet(lists ...string) ([]string, error) {
	n := 0
	for _, list := range lists {
		n += len(list)
	}
	return flagSet(lists...), r.spend(2 * maxFlags * n)
}

func flagSet(lists ...string) []string {
	var set []string
	for _, list := range lists {
		for f := range strings.FieldsSeq(list) {
			if name, ok := canonicalFlag(f); ok && len(set) < maxFlags && !hasFlag(set, name) {
				set = append(set, name)
			}
		}
	}
	return set
}

func hasFlag(set []string, name string) bool {
	return slices.ContainsFunc(set, func(f string) bool { return strings.EqualFold(f, name) })
}

// flagsArgument is the :flags of an action (RFC 5232 section 5).
type flagsArgument struct {
	given bool
	list  []text
}

func (c *checker) flagsArgument(n *call) flagsArgument {
	a := n.tags["flags"]
	if a == nil {
		return flagsArgument{}
	}
	f := flagsArgument{true, c.texts(a)}
	c.checkFlags(f.list)
	return f
}

// checkFlags warns of flags that will be left out.
func (c *checker) checkFlags(list []text) {
	for _, t := range list {
		if !t.constant() {
			continue
		}
		for f := range strings.FieldsSeq(t.value) {
			if _, ok := canonicalFlag(f); !ok {
				c.warning(t.pos, `a system flag is written "\\Seen", a keyword without a backslash`, "%s is no flag and is ignored", quote(f))
			}
		}
	}
}

// eval returns the flags for an action: those given, or those of the internal
// variable.
func (f flagsArgument) eval(r *run) ([]string, error) {
	if !f.given {
		return slices.Clone(r.result.flags), nil
	}
	lists, err := evalAll(r, f.list)
	if err != nil {
		return nil, err
	}
	return r.flagSet(lists...)
}

// flagCommand is setflag, addflag or removeflag (RFC 5232 section 3).
type flagCommand struct {
	name string
	v    variable // the zero variable is the internal one
	list []text
}

func buildFlagCommand(c *checker, n *call) statement {
	f := flagCommand{name: n.name, list: c.texts(n.args[1])}
	c.checkFlags(f.list)
	if n.args[0] != nil {
		f.v = c.flagVariable(n.args[0].list[0])
	}
	return f
}

// flagVariable finds a variable that holds flags.
func (c *checker) flagVariable(l literal) variable {
	if !c.required["variables"] {
		c.problem(l.pos, needs("variables"), "a variable for flags needs the extension variables")
		return variable{}
	}
	return c.variable(l.pos, l.text)
}

func (f flagCommand) exec(r *run) error {
	lists, err := evalAll(r, f.list)
	if err != nil {
		return err
	}
	set, err := r.flagSet(lists...)
	if err != nil {
		return err
	}
	old := r.result.flags
	if f.v.kind != noVariable {
		if old, err = r.flagSet(r.value(f.v)); err != nil {
			return err
		}
	}
	switch f.name {
	case "addflag":
		set = flagSet(append(slices.Clone(old), set...)...)
	case "removeflag":
		set = slices.DeleteFunc(slices.Clone(old), func(o string) bool { return hasFlag(set, o) })
	}
	r.trace(0, "%s: now %s", f.name, shorten(strings.Join(set, " ")))
	if f.v.kind != noVariable {
		r.setValue(f.v, strings.Join(set, " "))
	} else {
		r.result.flags = set
	}
	return nil
}

// hasFlagTest is RFC 5232 section 4.
type hasFlagTest struct {
	vars    []variable // none: the internal one
	matcher *matcher
}

func buildHasFlag(c *checker, n *call) checked {
	t := hasFlagTest{matcher: c.matcher(n, n.args[1])}
	if n.args[0] != nil {
		for _, l := range n.args[0].list {
			t.vars = append(t.vars, c.flagVariable(l))
		}
	}
	return checked{test: t}
}

func (t hasFlagTest) eval(r *run) (bool, error) {
	flags := r.result.flags
	if t.vars != nil {
		var values []string
		for _, v := range t.vars {
			values = append(values, r.value(v))
		}
		var err error
		if flags, err = r.flagSet(values...); err != nil {
			return false, err
		}
	}
	m := t.matcher
	if m.typ == matchIs || m.typ == matchContains {
		var err error
		if m, err = m.split(r); err != nil {
			return false, err
		}
	}
	return m.each(r, flags)
}

// split returns a matcher whose keys are the flags in the keys of m, which are
// lists of flags. Patterns are none: they stay as they are.
func (m *matcher) split(r *run) (*matcher, error) {
	lists, err := evalAll(r, m.keys)
	if err != nil {
		return nil, err
	}
	one := *m
	one.keys = nil
	for _, list := range lists {
		for s := range strings.FieldsSeq(list) {
			one.keys = append(one.keys, text{value: s})
		}
	}
	one.ready = make([]*key, len(one.keys))
	return &one, nil
}
