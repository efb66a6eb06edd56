package sieve

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// form writes a tree in one line.
func form(nodes []*node) string {
	var words []string
	for _, n := range nodes {
		words = append(words, n.form())
	}
	return strings.Join(words, " ")
}

func (n *node) form() string {
	s := n.name
	for _, a := range n.args {
		switch a.kind {
		case tagArgument:
			s += " :" + a.tag
		case numberArgument:
			s += fmt.Sprintf(" %d", a.number)
		case stringArgument:
			s += fmt.Sprintf(" %q", a.list[0].text)
		case listArgument:
			s += " ["
			for _, l := range a.list {
				s += fmt.Sprintf("%q", l.text)
			}
			s += "]"
		}
	}
	if n.listed {
		s += " (" + form(n.tests) + ")"
	} else if len(n.tests) > 0 {
		s += " " + form(n.tests)
	}
	if n.hasBlock {
		return s + " {" + form(n.block) + "}"
	}
	return s
}

func TestParserBuildsTheTree(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{`keep;`, `keep`},
		{`keep; discard;`, `keep discard`},
		{`a :b 1 "c" ["d", "e"];`, `a :b 1 "c" ["d""e"]`},
		{`if true {}`, `if true {}`},
		{`if not header "a" "b" { keep; } else { stop; }`, `if not header "a" "b" {keep} else {stop}`},
		{`if anyof (true, allof (false, x :y)) { if a { b; } }`, `if anyof (true allof (false x :y)) {if a {b}}`},
	} {
		var found notes
		if got := form(parse([]byte(c.src), &found, 32)); got != c.want || len(found) > 0 {
			t.Errorf("%s: got %s, want %s, problems %q", c.src, got, c.want, found)
		}
	}
}

func TestParserFindsAllMistakes(t *testing.T) {
	for _, c := range []struct {
		src, want string
		problems  []string
	}{
		{`keep`, `keep`, []string{`4: after "keep" a ; is missing before the end of the script`}},
		{`keep 1 discard;`, `keep 1 discard`, nil}, // the checker sees that discard is no test
		{`keep "a" }`, `keep "a"`, []string{`8: after "keep" a ; is missing before '}'`, `9: this } closes nothing`}},
		{`; keep;`, `keep`, []string{`0: this ; ends no command`}},
		{`"a"; keep;`, `keep`, []string{`0: a command must stand here, not a string`}},
		{`{ keep; } stop;`, `stop`, []string{`0: a command must stand here, not '{'`}},
		{`} keep;`, `keep`, []string{`0: this } closes nothing`}},
		{`if true { keep;`, `if true {keep}`, []string{`8: the block that begins here does not end`}},
		{`a ["b" "c"]; keep;`, `keep`, []string{`7: the string list goes on with a string`}},
		{`a [1]; keep;`, `keep`, []string{`3: a string must stand here, not a number`}},
		{`a []; keep;`, `a [] keep`, []string{`2: a string list must not be empty`}},
		{`a ["b",]; keep;`, `keep`, []string{`7: a string must stand here, not ']'`}},
		{`if anyof (true {} keep;`, `keep`, []string{`15: the list of tests goes on with '{'`}},
		{`if anyof () { keep; } stop;`, `stop`, []string{`10: a test must stand here, not ')'`}},
		{`if anyof (true,) { keep; } stop;`, `stop`, []string{`15: a test must stand here, not ')'`}},
		{`a $; b %; keep;`, `a b keep`, []string{`2: "$" has no place outside of strings`, `7: "%" has no place outside of strings`}},
		{`a ` + strings.Repeat("1 ", 33) + `; keep;`, `keep`, []string{`66: "a" has more than 32 arguments`}},
	} {
		var found notes
		got := form(parse([]byte(c.src), &found, 32))
		if got != c.want || !slices.Equal(found, c.problems) {
			t.Errorf("%s:\ngot  %s, %q\nwant %s, %q", c.src, got, found, c.want, c.problems)
		}
	}
}

func TestParserBoundsNesting(t *testing.T) {
	deep := strings.Repeat("if true {", 100) + "keep;" + strings.Repeat("}", 100) + " stop;"
	var found notes
	nodes := parse([]byte(deep), &found, 32)
	if len(found) != 1 || !strings.Contains(found[0], "blocks are nested more than 32 deep") {
		t.Errorf("problems %q", found)
	}
	if len(nodes) != 2 || nodes[1].name != "stop" {
		t.Errorf("what follows is not read: %s", form(nodes))
	}
	found = nil
	nodes = parse([]byte("if "+strings.Repeat("not ", 100000)+"true {} stop;"), &found, 32)
	if len(found) != 1 || !strings.Contains(found[0], "tests are nested more than 32 deep") || form(nodes) != "stop" {
		t.Errorf("problems %q, %s", found, form(nodes))
	}
	found = nil
	parse([]byte("if "+strings.Repeat("anyof (", 100000)), &found, 32)
	if len(found) == 0 {
		t.Error("no problems")
	}
	found = nil
	parse([]byte(strings.Repeat("[", 100000)+strings.Repeat("{", 100000)), &found, 32)
	if len(found) == 0 {
		t.Error("no problems")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		``, `keep;`, `if true { keep; } elsif not (true) {} else { stop; }`, "text:\n.\n", `require ["a", "b"];`,
		`if anyof (header :is ["a"] "b", size :over 1M) { fileinto "x"; }`, "# a\n/* b */ keep;", `"a\`, `[[`, `}{`, "\x00\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var found notes
		parse(src, &found, 8)
		for _, p := range found {
			var pos int
			if fmt.Sscanf(p, "%d:", &pos); pos < 0 || pos > len(src) {
				t.Fatalf("problem outside of the source: %s", p)
			}
		}
	})
}
