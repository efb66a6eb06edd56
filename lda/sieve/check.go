package sieve

import (
	"slices"
	"strings"
)

// checker turns the tree of one script into commands that can be executed.
type checker struct {
	*unit
	script   *Script
	required map[string]bool // the extensions in use
	first    int             // its first problem in those of the unit
	told     int             // how many problems it has
	locals   scope
	shared   map[string]bool // the variables that global commands have named
	begun    bool            // a command other than require was there
}

// specTable holds all commands and tests by name.
type specTable map[string]*spec

// spec is what is known of a command or test: its form, and how it is built.
type spec struct {
	name string
	// ext is the extension that brings it; "a|b" if either does.
	ext  string
	tags []tagSpec
	// args are the kinds of the positional arguments. A string may stand for a
	// list.
	args []argumentKind
	// optional says that one argument may be left out: the first, or, with last
	// set, the last.
	optional, last bool
	tests          testForm
	block          bool
	// One of them is set. They may report problems, and return nil then.
	command func(c *checker, n *call) statement
	test    func(c *checker, n *call) checked
}

// testForm tells which tests a command or test takes.
type testForm uint8

const (
	noTests testForm = iota
	oneTest
	testList
)

// tagSpec is a tagged argument that a command takes.
type tagSpec struct {
	name, ext string
	value     argumentKind // what follows it
	group     string       // of the tags of a group, one may be there
}

// call is a command or test whose arguments are sorted out.
type call struct {
	*node
	spec *spec
	tags map[string]*argument // by name, the value; the tag itself if it has none
	args []*argument          // as in spec.args; nil for the one left out
}

// checked is a test and, where ihave decides it, what it will say.
type checked struct {
	test
	known, value bool
}

// yes and no report whether ihave has decided the test so.
func (t checked) yes() bool { return t.known && t.value }
func (t checked) no() bool  { return t.known && !t.value }

// block checks commands. What follows a command that always ends the script
// because of ihave is not looked at (RFC 5463 section 4).
func (c *checker) block(nodes []*node) []command {
	list := make([]command, 0, len(nodes))
	var open *ifCommand // the if that an elsif or else would continue
	for _, n := range nodes {
		s := c.statement(n, open)
		if cond, ok := s.(*ifCommand); ok {
			open = cond
			if n.name != "if" {
				continue
			}
		} else {
			open = nil
		}
		if s == nil {
			continue
		}
		list = append(list, command{n.pos, s})
		if open != nil && open.decidedExit() {
			break
		}
	}
	return list
}

// statement checks one command; nil if it is wrong or does nothing.
func (c *checker) statement(n *node, open *ifCommand) statement {
	s := c.find(n, false)
	if n.name != "require" {
		c.begun = true
	}
	if s == nil {
		c.despite(n)
		return nil
	}
	k, ok := c.call(n, s)
	if n.hasBlock && !s.block {
		c.problem(n.end, "end it with ;", "%s takes no block", quote(n.name))
		c.block(n.block)
		return nil
	}
	if s.block && !n.hasBlock {
		c.problem(n.end, "write its commands in braces: { ... }", "%s needs a block", quote(n.name))
		return nil
	}
	if !ok {
		c.despite(n)
		return nil
	}
	if n.name == "elsif" || n.name == "else" {
		return c.continuation(k, open)
	}
	return s.command(c, k)
}

// despite checks what is inside a command that is wrong itself.
func (c *checker) despite(n *node) {
	if n.hasBlock {
		c.block(n.block)
	}
}

// testOf checks a test. Its test is nil if it is wrong.
func (c *checker) testOf(n *node) checked {
	s := c.find(n, true)
	if s == nil {
		return checked{}
	}
	k, ok := c.call(n, s)
	if !ok {
		return checked{}
	}
	t := s.test(c, k)
	if t.test != nil {
		t.test = testAt{n.pos, n.name, t.test}
	}
	return t
}

// find returns the spec of a command or test, and reports when there is none or
// its extension is not in use.
func (c *checker) find(n *node, wantTest bool) *spec {
	kind, other := "command", "test"
	if wantTest {
		kind, other = other, kind
	}
	s := c.specs[n.name]
	switch {
	case s == nil || !c.offered(s.ext):
		c.problem(n.pos, c.didYouMean(n.name, wantTest), "%s is no %s", quote(n.name), kind)
		return nil
	case wantTest && s.test == nil, !wantTest && s.command == nil:
		c.problem(n.pos, "", "%s is a %s, but a %s must stand here", quote(n.name), other, kind)
		return nil
	case !c.using(s.ext):
		c.problem(n.pos, needs(s.ext), "the %s %s is not in use", kind, quote(n.name))
		c.required[firstOf(s.ext)] = true // once is enough
	}
	return s
}

// using reports whether one of the extensions "a|b" is in use.
func (c *checker) using(ext string) bool {
	return ext == "" || slices.ContainsFunc(strings.Split(ext, "|"), func(e string) bool { return c.required[e] })
}

// offered reports whether one of the extensions may be used.
func (c *checker) offered(ext string) bool {
	return ext == "" || slices.ContainsFunc(strings.Split(ext, "|"), func(e string) bool { return !slices.Contains(c.o.Without, e) })
}

func firstOf(ext string) string {
	first, _, _ := strings.Cut(ext, "|")
	return first
}

// needs is the mend where an extension is not in use.
func needs(ext string) string { return `begin the script with require "` + firstOf(ext) + `";` }

// didYouMean looks for a name like one that is not known.
func (c *checker) didYouMean(name string, wantTest bool) string {
	if c.told >= maxProblems {
		return ""
	}
	best, least := "", 1+len(name)/3
	for _, known := range sortedKeys(c.specs) {
		s := c.specs[known]
		if d := distance(name, known); d <= least && (s.test != nil) == wantTest && c.offered(s.ext) && (best == "" || d < least) {
			best, least = known, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// distance is the number of edits between two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// call sorts out the arguments of n; false if they are wrong.
func (c *checker) call(n *node, s *spec) (*call, bool) {
	k := &call{node: n, spec: s}
	told := c.told
	for i := 0; i < len(n.args); i++ {
		a := &n.args[i]
		if a.kind != tagArgument {
			k.args = append(k.args, a)
			continue
		}
		if len(k.args) > 0 {
			c.problem(a.pos, "write it before them", ":%s stands behind the other arguments of %s", a.tag, quote(n.name))
		}
		i += c.tag(k, a, n.args[i+1:])
	}
	if c.testForm(k) {
		c.positional(k)
	}
	return k, c.told == told
}

// tag takes the tag a, and returns how many of the arguments behind it are its
// value.
func (c *checker) tag(k *call, a *argument, rest []argument) int {
	i := slices.IndexFunc(k.spec.tags, func(t tagSpec) bool { return t.name == a.tag && c.offered(t.ext) })
	if i < 0 {
		c.problem(a.pos, "", "%s knows no tag :%s", quote(k.name), a.tag)
		return 0
	}
	t := k.spec.tags[i]
	if !c.using(t.ext) {
		c.problem(a.pos, needs(t.ext), "the tag :%s is not in use", t.name)
		c.required[firstOf(t.ext)] = true
	}
	for _, other := range k.spec.tags {
		if _, there := k.tags[other.name]; !there {
			continue
		}
		if other.name == t.name {
			c.problem(a.pos, "", ":%s is there twice", t.name)
		} else if t.group != "" && other.group == t.group {
			c.problem(a.pos, "", ":%s and :%s exclude each other", t.name, other.name)
		}
	}
	if k.tags == nil {
		k.tags = map[string]*argument{}
	}
	k.tags[t.name] = a
	if t.value == noArgument {
		return 0
	}
	if len(rest) == 0 || !fits(rest[0].kind, t.value) {
		c.problem(a.pos, "", "behind :%s %s must stand", t.name, t.value)
		return 0
	}
	k.tags[t.name] = &rest[0]
	return 1
}

// fits reports whether an argument may stand where one of kind want must.
func fits(have, want argumentKind) bool {
	return have == want || want == listArgument && have == stringArgument
}

// positional compares the positional arguments with the spec.
func (c *checker) positional(k *call) {
	want := k.spec.args
	if k.spec.optional && len(k.args) == len(want)-1 {
		if k.spec.last {
			k.args = append(k.args, nil)
		} else {
			k.args = append([]*argument{nil}, k.args...)
		}
	}
	for i, a := range k.args {
		if i >= len(want) {
			c.problem(a.pos, "", "%s takes no further argument, but %s stands here", quote(k.name), a.kind)
			return
		}
		if a != nil && !fits(a.kind, want[i]) {
			c.problem(a.pos, "", "%s wants %s here, not %s", quote(k.name), want[i], a.kind)
		}
	}
	if len(k.args) < len(want) {
		c.problem(k.argsEnd, "", "%s wants %s here", quote(k.name), want[len(k.args)])
	}
}

// testForm compares the tests with the spec; false if they are wrong.
func (c *checker) testForm(k *call) bool {
	switch n := len(k.tests); {
	case k.spec.tests == noTests && n > 0 && k.spec.command != nil && c.specs[k.tests[0].name] != nil && c.specs[k.tests[0].name].command != nil:
		c.problem(k.argsEnd, "", "a ; is missing before %s", quote(k.tests[0].name))
	case k.spec.tests == noTests && n > 0:
		c.problem(k.tests[0].pos, k.colonless(), "%s takes no test", quote(k.name))
	case k.spec.tests == oneTest && (n != 1 || k.listed):
		c.problem(k.end, "join tests as in allof(test, test) or anyof(test, test)", "%s wants one test", quote(k.name))
	case k.spec.tests == testList && (n == 0 || !k.listed):
		c.problem(k.end, "", "%s wants a list of tests in parentheses", quote(k.name))
	default:
		return true
	}
	return false
}

// colonless is the mend where a tag's colon was forgotten.
func (k *call) colonless() string {
	if name := k.tests[0].name; slices.ContainsFunc(k.spec.tags, func(t tagSpec) bool { return t.name == name }) {
		return "did you mean :" + name + "?"
	}
	return ""
}

// has reports whether a tag was given.
func (k *call) has(tag string) bool { return k.tags[tag] != nil }

// number returns the number behind a tag.
func (k *call) number(tag string) (uint64, bool) {
	a := k.tags[tag]
	if a == nil {
		return 0, false
	}
	return a.number, true
}
