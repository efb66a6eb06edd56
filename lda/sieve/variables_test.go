package sieve

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// into runs a script that files by its variables, and returns the mailbox.
func into(t *testing.T, script string) string {
	t.Helper()
	res := runOn(t, `require ["variables", "fileinto", "encoded-character", "include", "regex"];`+script, plain, Env{})
	if f, ok := res.Actions[0].(*FileInto); ok {
		return f.Mailbox
	}
	return describe(res)
}

func TestVariablesArePutIn(t *testing.T) {
	for script, want := range map[string]string{
		`set "a" "1"; fileinto "x${a}y";`:                         "x1y",
		`set "a" "1"; fileinto "${A}${a}${none}.";`:               "11.",
		`set "a" "1"; fileinto "${ a}${a }${}$a${a-}${${a}";`:     "${ a}${a }${}$a${a-}${1",
		`set "a" "${b}x"; set "b" "y"; fileinto "${a}";`:          "x",
		`set "a" "b"; set "c" "${${a}}"; fileinto "${c}";`:        "${b}",
		`set "global.a" "g"; fileinto "${global.a}";`:             "g",
		`global "g"; set "g" "1"; fileinto "${global.g}";`:        "1",
		`fileinto "[${0}${1}${00}${32}]";`:                        "[]",
		`if string :matches "ab" "a*" {} fileinto "${01}";`:       "b",
		`set :length "a" "${unicode:e4 1F600}"; fileinto "${a}";`: "2",
		`set :upper :length "a" "abc"; fileinto "${a}";`:          "3",
		`set :quotewildcard "a" "*\\"; fileinto "${a}";`:          `\*\\`,
		`set :quoteregex "a" "a.b[c]"; fileinto "${a}";`:          `a\.b\[c\]`,
		`set :lowerfirst :upper "a" "xyz"; fileinto "${a}";`:      "xYZ",
		`set :upperfirst "a" ""; fileinto "[${a}]";`:              "[]",
		`set "a" text:
two
lines
.
; set :length "b" "${a}"; fileinto "${b}";`: "12",
	} {
		if got := into(t, script); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", script, got, want)
		}
	}
}

// A character that is written as ${hex:24} begins no variable's name in the
// same pass over the string, but in the next: variables come after characters.
func TestEncodedCharactersComeBeforeVariables(t *testing.T) {
	if got := into(t, `set "b" "value"; fileinto "${hex:24}{b}";`); got != "value" {
		t.Errorf("got %s", got)
	}
}

func TestVariablesAreOfTheirScript(t *testing.T) {
	s := compile(t, `require ["variables", "fileinto"]; set "a" "${a}x"; fileinto "[${a}]";`)
	for range 2 {
		res, err := s.Run(t.Context(), messageOf(plain), Env{})
		if err != nil || describe(res) != `store in mailbox "[x]"` {
			t.Errorf("%v, %s", err, describe(res))
		}
	}
}

func TestVariablesAreCutBetweenCharacters(t *testing.T) {
	o := Options{Limits: Limits{VariableSize: 10}}
	for value, want := range map[string]string{
		"0123456789":  "0123456789",
		"0123456789a": "0123456789",
		"012345678ä":  "012345678",
		"0123456ä€":   "0123456ä",
		"ääääää":      "äääää",
		`01234567**`:  `01234567\*`,
		`012345678*`:  `012345678`,
	} {
		modifier := ""
		if strings.Contains(value, "*") {
			modifier = ":quotewildcard"
		}
		s, err := Compile(t.Context(), "", []byte(`require ["variables", "fileinto"]; set `+modifier+` "a" "`+value+`"; fileinto "${a}";`), o)
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Run(t.Context(), messageOf(plain), Env{})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Actions[0].(*FileInto).Mailbox; got != want || !utf8.ValidString(got) {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
}

func TestCutText(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{{"abc", 5, "abc"}, {"abc", 2, "ab"}, {"", 2, ""}, {"ä", 1, ""}, {"aä", 2, "a"}, {"aä", 3, "aä"}, {"\x80\x80\x80", 2, ""}} {
		if got := cutText(c.s, c.n); got != c.want {
			t.Errorf("%q, %d: got %q", c.s, c.n, got)
		}
	}
}

func TestMatchVariables(t *testing.T) {
	for script, want := range map[string]string{
		`if header :matches "subject" "* *" { fileinto "${1}-${2}"; }`:                            "Grüße-from the zoo",
		`if header :regex "subject" "([a-z]+) ([a-z]+)$" { fileinto "${2}-${1}"; }`:               "zoo-the",
		`if string :matches "a" "*" {} if string :matches "b" "c*" {} fileinto "${1}";`:           "a",
		`if string :matches "a" "*" {} if string :is "b" "b" {} fileinto "${1}";`:                 "a",
		`if string :matches "abc" "*b*" { if string :matches "x" "*" {} fileinto "[${1}${2}]"; }`: "[x]",
		`if anyof(string :matches "a" "x*", string :matches "b" "*") { fileinto "${0}"; }`:        "b",
		`if string :matches ["no", "yes"] "y*" { fileinto "${1}"; }`:                              "es",
		`if string :regex "ab" "(a)|(x)" { fileinto "[${1}${2}${3}]"; }`:                          "[a]",
		`if address :matches :localpart "to" "*+*" { fileinto "${2}"; }`:                          "lists",
		`if header :matches "x-none" "*" {} fileinto "[${0}]";`:                                   "[]",
	} {
		if got := into(t, script); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", script, got, want)
		}
	}
}

// Without the extension nothing can name them, and nothing is kept of them.
func TestMatchVariablesNeedTheExtension(t *testing.T) {
	res := runOn(t, `require "fileinto"; if header :matches "subject" "*" { fileinto "${1}"; }`, plain, Env{})
	if got := describe(res); got != `store in mailbox "${1}"` {
		t.Error(got)
	}
}

func TestEncodedCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"${hex:41}": "A", "${hex: 41 42 }": "AB", "${HEX:e2 82 ac}": "€", "${hex:4}": "\x04", "${hex:}": "${hex:}", "${hex:123}": "${hex:123}",
		"${hex:zz}": "${hex:zz}", "$${hex:40}": "$@", "${hex:40": "${hex:40", "${unicode:40}": "@", "${unicode:0000040}": "@", "${unicode: 41 1F600}": "A😀",
		"${unicode:g}": "${unicode:g}", "${other:41}": "${other:41}", "${hex 41}": "${hex 41}", "${": "${", "a${hex:41}b${hex:42}c": "aAbBc", "${unicode:0}": "\x00",
	} {
		c := &checker{unit: &unit{}, script: &Script{}}
		if got := c.decodeCharacters(0, in); got != want || c.told != 0 {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
	for _, in := range []string{"${unicode:D800}", "${unicode:110000}", "${unicode:FFFFFFFFFFFF}", "${unicode:41 dfff}"} {
		c := &checker{unit: &unit{}, script: &Script{}}
		if c.decodeCharacters(0, in); c.told == 0 {
			t.Errorf("%s: no problem", in)
		}
	}
}

func TestVariableNames(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "_": true, "a1": true, "1a": false, "": false, "a-b": false, "ä": false,
		strings.Repeat("a", 64): true, strings.Repeat("a", 65): false} {
		if isVariableName(name) != want {
			t.Errorf("%q: not %v", name, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("${a}${1}${global.x}${hex:41}${unicode:41}$${")
	f.Add("${${a}}")
	f.Fuzz(func(t *testing.T, s string) {
		c := &checker{unit: &unit{limits: Limits{}.WithDefaults()}, script: &Script{}, required: map[string]bool{"variables": true, "encoded-character": true, "include": true}}
		c.text(literal{0, s})
	})
}
