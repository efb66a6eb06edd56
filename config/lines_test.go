package config

import (
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestKeyLines(t *testing.T) {
	const text = `# comment [not.a.heading]
a = 1
b.c = "x # = y" # b.d = 1

"quoted key" = 'it''s'
long = """
e = 1
\""" [f]
""" # end
raw = '''
[g]
'''
list = [ 1, # one
  "]", 2,
  {h = 1, i = "}"},
]
table = { j = 1, k.l = 2 }
[t] # heading
m = true
[t . "u v"]
n = 2026-01-01
[[many]]
o = 1
[[many]]
o = 2
[many.sub]
p = 3
[[many.deep]]
q = 1
`
	got := keyLines(text)
	for name, want := range map[string]int{
		"a": 2, "b": 3, "b.c": 3, "b.d": 0, "quoted key": 5, "long": 6, "e": 0, "f": 0, "raw": 10, "g": 0, "list": 13,
		"list[3].h": 15, "list[3].i": 15, "table": 17, "table.j": 17, "table.k.l": 17, "t": 18, "t.m": 19, "t.u v": 20, "t.u v.n": 21,
		"many": 22, "many[0]": 22, "many[0].o": 23, "many[1]": 24, "many[1].o": 25, "many[1].sub": 26, "many[1].sub.p": 27,
		"many[1].deep[0].q": 29, "many[0].deep": 0,
	} {
		if got[name] != want {
			t.Errorf("line of %q = %d, want %d", name, got[name], want)
		}
	}
}

// FuzzKeyLines holds the scanner against the parser: whatever text the parser
// accepts, each of its keys has a line, and no line is beyond the end.
func FuzzKeyLines(f *testing.F) {
	for _, s := range []string{
		"a = 1\n[b]\nc = [{d = 1}]\n", "[[x]]\n[[x.y]]\nz=1\n[x.w]\n", `a = """x""""` + "\n", "a = ''''x'''''\nb = 1\n", Example(),
		"a=[\n#]\n1]\nb=2", `"a\"b" = 1`, "'a.b'.c = 1", "a = {b = [1,2], c = {}}\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := keyLines(text)
		count := strings.Count(text, "\n") + 1
		for k, n := range lines {
			if n < 1 || n > count {
				t.Errorf("%q is on line %d of %d", k, n, count)
			}
		}
		var tree map[string]any
		if _, err := toml.Decode(text, &tree); err != nil {
			return
		}
		walk("", tree, func(name string) {
			if lines[name] == 0 {
				t.Errorf("%q has no line", name)
			}
		})
	})
}

// walk names every key of tree as keyLines does.
func walk(prefix string, tree map[string]any, fn func(string)) {
	for k, v := range tree {
		name := join(prefix, k)
		fn(name)
		if m, ok := v.(map[string]any); ok {
			walk(name, m, fn)
		}
	}
}
