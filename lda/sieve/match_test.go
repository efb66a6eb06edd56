package sieve

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestComparatorsFoldAndOrder(t *testing.T) {
	for _, c := range []struct {
		name, a, b string
		order      int
	}{
		{"i;octet", "a", "A", 1}, {"i;octet", "a", "a", 0}, {"i;octet", "a", "b", -1},
		{"i;ascii-casemap", "a", "A", 0}, {"i;ascii-casemap", "ä", "Ä", 1}, {"i;ascii-casemap", "B", "a", 1},
		{"i;unicode-casemap", "ä", "Ä", 0}, {"i;unicode-casemap", "a\u0308", "Ä", 0}, {"i;unicode-casemap", "ﬁ", "fi", 1},
		{"i;unicode-casemap", "a", "B", -1}, {"i;unicode-casemap", "\xff", "\xff", 0}, {"i;unicode-casemap", "é", "e", 1},
		{"i;ascii-numeric", "10", "9", 1}, {"i;ascii-numeric", "007", "7", 0}, {"i;ascii-numeric", "7 dwarfs", "7", 0},
		{"i;ascii-numeric", "", "5", 1}, {"i;ascii-numeric", "x", "y", 0}, {"i;ascii-numeric", "5", "x", -1}, {"i;ascii-numeric", "0", "00", 0},
		{"i;ascii-numeric", "123456789012345678901234567890", "99999999999999999999", 1}, {"i;ascii-numeric", "-1", "5", 1},
	} {
		cmp := findComparator(c.name)
		got := cmp.compare(string(cmp.fold(nil, c.a)), string(cmp.fold(nil, c.b)))
		if sign(got) != c.order {
			t.Errorf("%s: %q and %q: got %d, want %d", c.name, c.a, c.b, got, c.order)
		}
	}
	if findComparator("i;nonsense") != nil {
		t.Error("i;nonsense is known")
	}
}

func sign(n int) int { return max(-1, min(1, n)) }

func TestRelations(t *testing.T) {
	for relation, want := range map[string][3]bool{
		"gt": {false, false, true}, "ge": {false, true, true}, "lt": {true, false, false},
		"le": {true, true, false}, "eq": {false, true, false}, "ne": {true, false, true},
	} {
		for i, order := range []int{-1, 0, 1} {
			if related(order, relation) != want[i] {
				t.Errorf("%s of %d: not %v", relation, order, want[i])
			}
		}
	}
}

// globOf matches s, and returns what the wildcards stood for.
func globOf(pattern, s string, octets bool) (values []string, ok bool) {
	m := globMatch{s: s, octets: octets, spend: func(int) error { return nil }}
	if !parseGlob(pattern, foldNothing).match(&m) {
		return nil, false
	}
	for _, sp := range m.spans {
		values = append(values, s[sp.start:sp.end])
	}
	return values, true
}

func TestWildcardsStandForAsLittleAsPossible(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       []string
		ok         bool
	}{
		{"", "", nil, true}, {"", "a", nil, false}, {"a", "", nil, false}, {"abc", "abc", nil, true}, {"abc", "abcd", nil, false},
		{"*", "", []string{""}, true}, {"*", "abc", []string{"abc"}, true}, {"?", "", nil, false}, {"?", "a", []string{"a"}, true},
		{"a*", "abc", []string{"bc"}, true}, {"*c", "abc", []string{"ab"}, true}, {"a*c", "ac", []string{""}, true},
		{"*b*", "abcb", []string{"a", "cb"}, true}, {"*-*-*", "a-b-c-d", []string{"a", "b", "c-d"}, true},
		{"**", "ab", []string{"", "ab"}, true}, {"*?", "abc", []string{"ab", "c"}, true}, {"?*", "abc", []string{"a", "bc"}, true},
		{"*a?c*", "aXbaYc", []string{"aXb", "Y", ""}, true}, {"a?c", "abbc", nil, false}, {"*?b", "b", nil, false}, {"?b*", "ab", []string{"a", ""}, true},
		{`\*`, "*", nil, true}, {`\*`, "a", nil, false}, {`\?x`, "?x", nil, true}, {`\\`, `\`, nil, true}, {`a\bc`, "abc", nil, true}, {`a\`, `a\`, nil, true},
		{"??", "äö", []string{"ä", "ö"}, true}, {"*?", "xä", []string{"x", "ä"}, true}, {"?", "ä", []string{"ä"}, true},
		{"*ab", "aab", []string{"a"}, true}, {"*aab*", "aaab", []string{"a", ""}, true}, {"a*a", "a", nil, false},
	} {
		got, ok := globOf(c.pattern, c.s, false)
		if ok != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("%q, %q: got %q, %v", c.pattern, c.s, got, ok)
		}
	}
	if got, ok := globOf("??", "ä", true); !ok || got[0] != "\xc3" {
		t.Errorf("octets: got %q, %v", got, ok)
	}
}

// simpleGlob is the same as globOf, without its values and in exponential time.
func simpleGlob(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	switch pattern[0] {
	case '*':
		return simpleGlob(pattern[1:], s) || s != "" && simpleGlob(pattern, s[1:])
	case '?':
		_, n := utf8.DecodeRuneInString(s)
		return s != "" && simpleGlob(pattern[1:], s[n:])
	case '\\':
		if len(pattern) > 1 {
			pattern = pattern[1:]
		}
	}
	return s != "" && s[0] == pattern[0] && simpleGlob(pattern[1:], s[1:])
}

func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add(`*\**?`, "a*b")
	f.Add("*?ä*", "öäü")
	f.Add("**??", "ab")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 10 || len(s) > 12 || !utf8.ValidString(s) || !utf8.ValidString(pattern) {
			return
		}
		values, ok := globOf(pattern, s, false)
		if ok != simpleGlob(pattern, s) {
			t.Fatalf("%q, %q: %v", pattern, s, ok)
		}
		if ok && fill(pattern, values) != s {
			t.Fatalf("%q, %q: the values %q do not make it", pattern, s, values)
		}
	})
}

// fill puts values in the place of wildcards.
func fill(pattern string, values []string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case (c == '*' || c == '?') && len(values) > 0:
			b.WriteString(values[0])
			values = values[1:]
		case c == '\\' && i+1 < len(pattern):
			i++
			b.WriteByte(pattern[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func TestRegexIsThatOfPOSIX(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       []string // nil: no match
	}{
		{"abc", "xabcx", []string{"abc"}}, {"^abc$", "abc", []string{"abc"}}, {"a.c", "a\nc", []string{"a\nc"}},
		{"a|ab|abc", "abc", []string{"abc"}}, {"(a*)(b*)", "aabb", []string{"aabb", "aa", "bb"}},
		{"a+?", "aa", []string{"aa"}}, {"(a|b)*?c", "abc", []string{"abc", "b"}}, {"a**", "aa", []string{"aa"}},
		{`a\.c`, "abc", nil}, {`a\.c`, "a.c", []string{"a.c"}}, {`\$`, "$", []string{"$"}}, {`\ä`, "ä", []string{"ä"}},
		{"[a-c]+", "xabcx", []string{"abc"}}, {"[^a-c]+", "abxc", []string{"x"}}, {"[]]", "]", []string{"]"}}, {"[^]]", "]a", []string{"a"}},
		{`[\]`, `\`, []string{`\`}}, {`[\n]`, "n", []string{"n"}}, {"[a-]", "-", []string{"-"}}, {"[[:digit:]x]+", "1x2", []string{"1x2"}},
		{"[[.-.]]", "-", []string{"-"}}, {"[[=a=]b]", "a", []string{"a"}}, {"[*.+]", "*", []string{"*"}}, {"[ä-ü]", "ö", []string{"ö"}},
		{"a{2}", "aaa", []string{"aa"}}, {"a{,2}", "aaa", []string{"aa"}}, {"a{2,}", "aaa", []string{"aaa"}}, {"a{1,2}", "aaa", []string{"aa"}},
		{`\bfoo\b`, "a foo b", []string{"foo"}}, {`\<foo\>`, "afoo", nil}, {`\Boo`, "foo", []string{"oo"}}, {`\w+\s\W`, "ab -", []string{"ab -"}},
		{"a)", "a)", []string{"a)"}}, {"()", "x", []string{"", ""}}, {"a|", "b", []string{""}}, {"\\`a\\'", "a", []string{"a"}},
		{"}", "}", []string{"}"}}, {`a\{2\}`, "a{2}", []string{"a{2}"}}, {"ABC", "abc", []string{"abc"}},
	} {
		r, err := compileRegex(c.pattern, true, 5000)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		if got := r.re.FindStringSubmatch(c.s); !slices.Equal(got, c.want) {
			t.Errorf("%q, %q: got %q, want %q", c.pattern, c.s, got, c.want)
		}
	}
}

func TestRegexRefusesWhatIsNone(t *testing.T) {
	for pattern, want := range map[string]string{
		"*a": "there is nothing that * could repeat", "a|+": "there is nothing that + could repeat", "(?a)": "there is nothing that ? could repeat",
		"^*": "there is nothing that * could repeat", "a(": "a ( is not closed", "a[": "a [ is not closed", "a[b": "a [ is not closed", "[]": "a [ is not closed",
		"a{": "a { is not closed", "a{x}": "{ } must hold numbers", "a{2,1}": "{ } must hold numbers, the lower one first", "{1}": "there is nothing that {1} could repeat",
		`a\`: `there is nothing behind the last \`, `(a)\1`: `the back-reference \1 is not supported`, "[b-a]": "a range in [ ] ends before it begins",
		"[[:foo:]]": "invalid character class range", "[[:alpha]": "a [: is not closed", "[[.ab.]]": "only single characters can stand in [. .] and [= =]",
		"a{1001}": "invalid repeat count", strings.Repeat("a", 6000): "it is too large", "((a{100}){100}){5}": "invalid repeat count", "(a{30}b){33}(c{30}d){33}(e{30}f){33}(g{30}h){33}(i{30}j){33}": "it is too large",
		"[a-": "a [ is not closed",
	} {
		_, err := compileRegex(pattern, false, 5000)
		if err == nil || err.Error() != want {
			t.Errorf("%.40q: got %v, want %s", pattern, err, want)
		}
	}
}

func FuzzRegex(f *testing.F) {
	for _, s := range []string{"a+?b", "[]a-z]{2,}", `\<x\>`, "(a|b)*", "[[:alpha:]]", `[\]`, "a{,3}", `\`} {
		f.Add(s, "abc")
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if r, err := compileRegex(pattern, true, 200); err == nil && len(s) < 1000 {
			r.re.FindStringSubmatch(s)
		}
	})
}

func TestTestsCompareWithTheirComparator(t *testing.T) {
	for test, want := range map[string]bool{
		`header "Subject" "GRÜßE from the zoo"`:                                 false, // casemap is of ASCII
		`header "Subject" "Grüße FROM the zoo"`:                                 true,
		`header :comparator "i;unicode-casemap" "Subject" "GRÜßE from the zoo"`: true,
		`header :comparator "i;octet" "Subject" "Grüße FROM the zoo"`:           false,
		`header :contains "Subject" "ZOO"`:                                      true,
		`header :comparator "i;unicode-casemap" :contains "Subject" "RÜ"`:       true,
		`header :comparator "i;unicode-casemap" :matches "Subject" "gr?ß? *"`:   false, // folded, ü is two characters
		`header :comparator "i;unicode-casemap" :matches "Subject" "gr*ß* *"`:   true,
		`header :count "eq" "to" "1"`:                                           true,
		`address :count "eq" "to" "2"`:                                          true,
		`header :value "gt" :comparator "i;ascii-numeric" "x-count" "9"`:        true,
		`header :value "gt" "x-count" "9"`:                                      false,
		`header :regex "subject" "^gr(.*)e from"`:                               true,
		`header :is "x-none" ""`:                                                false,
		`header ["x-none", "x-count"] ["10", "11"]`:                             true,
	} {
		if got := holds(t, test, plain, Env{}); got != want {
			t.Errorf("%s: %v", test, got)
		}
	}
}

func TestRegexThatIsNoneAtRunTimeMatchesNothing(t *testing.T) {
	res := runOn(t, `require ["regex", "variables"]; set "x" "("; if string :regex "(" "${x}" { discard; }`, plain, Env{})
	if got := describe(res); got != "keep (implicit)" {
		t.Error(got)
	}
}

func TestMatchVariablesUnderUnicodeCasemap(t *testing.T) {
	script := `require ["variables", "fileinto"];
if string :comparator "i;unicode-casemap" :matches "ÄäfooÖ" "ää*ö" { fileinto "${1}|${0}"; }
if string :comparator "i;unicode-casemap" :matches "Äx" "a*" { fileinto "[${1}]"; }`
	want := `store in mailbox "foo|ÄäfooÖ"; store in mailbox "[Äx]"` // a character is not cut
	if got := describe(runOn(t, script, plain, Env{})); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzUnicodeOffsets(f *testing.F) {
	f.Add("*?*", "ÄäfooÖ")
	f.Add("*i?", "ﬁx\xff")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		cmp := unicodeCasemap
		folded := string(cmp.fold(nil, s))
		offsets := foldOffsets(cmp, s)
		if len(offsets) != len(folded)+1 || !slices.IsSorted(offsets) || offsets[len(folded)] != len(s) {
			t.Fatalf("%q: %d offsets for %d bytes", s, len(offsets), len(folded))
		}
		m := globMatch{s: folded, spend: func(int) error { return nil }}
		if parseGlob(pattern, cmp.fold).match(&m) {
			for _, sp := range m.spans {
				_ = s[offsets[sp.start]:offsets[sp.end]]
			}
		}
	})
}

func TestValuesAreShownShort(t *testing.T) {
	if got := shorten(strings.Repeat("ä", 100)); len(got) > 90 {
		t.Errorf("%d bytes", len(got))
	}
}
