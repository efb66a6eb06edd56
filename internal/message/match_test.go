package message

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var matchTests = []struct {
	text, needle string
	found        bool
}{
	{"", "", true},
	{"abc", "", true},
	{"", "a", false},
	{"Hello World", "hello", true},
	{"Hello World", "O W", true},
	{"Hello World", "worlds", false},
	{"GRÜSSE", "grüsse", true},
	{"ПРИВЕТ", "привет", true},
	{"ΣΊΣΥΦΟΣ", "σίσυφος", true},
	{"\u212aelvin", "kelvin", true},
	{"ｆｕｌｌ", "full", true},
	{"ﬁne", "fine", true},
	{"cafe\u0301", "café", true},
	{"café", "cafe\u0301", true},
	{"日本語", "本", true},
	{"한국어", "한\u1100", false},
	{"한국어", "국", true},
	{"a\r\n b", "a b", true},
	{"a  \t\r\n\r\n b", "a b", true},
	{"a\u00a0b", "a b", true},
	{"a b", "a   b", true},
	{"ab", "a b", false},
	{"a\u00adb\u200bc", "abc", true},
	{"x\x00y", "x y", true},
	{"\xff\xfe", "a", false},
	{strings.Repeat("x", 20000) + "needle" + strings.Repeat("y", 20000), "needle", true},
	{strings.Repeat("ü", 20000) + "Ä", "üüä", true},
	{strings.Repeat("ab", 20000), "aab", false},
	{strings.Repeat(" ", 40000) + "b", " b", true},
}

func TestMatcher(t *testing.T) {
	for _, tt := range matchTests {
		m := NewMatcher(tt.needle)
		if got := m.MatchString(tt.text); got != tt.found {
			t.Errorf("%q in %.40q: %v", tt.needle, tt.text, got)
		}
		for name, r := range map[string]io.Reader{
			"whole":    strings.NewReader(tt.text),
			"one byte": iotest.OneByteReader(strings.NewReader(tt.text)),
			"halves":   iotest.HalfReader(strings.NewReader(tt.text)),
			"with EOF": iotest.DataErrReader(strings.NewReader(tt.text)),
		} {
			if got, err := m.Match(r); err != nil || got != tt.found {
				t.Errorf("%q in %.40q, %s: %v, %v", tt.needle, tt.text, name, got, err)
			}
		}
	}
}

func TestMatchPassesErrors(t *testing.T) {
	boom := errors.New("boom")
	if found, err := NewMatcher("a").Match(iotest.ErrReader(boom)); found || err != boom {
		t.Errorf("%v, %v", found, err)
	}
	if found, err := NewMatcher("a").Match(io.MultiReader(strings.NewReader("xax"), iotest.ErrReader(boom))); !found || err != nil {
		t.Errorf("found before the error: %v, %v", found, err)
	}
	msg := "Subject: x\n\nbody\n"
	p := scanString(t, msg)
	for name, match := range map[string]func(io.ReaderAt, *Matcher) (bool, error){"body": p.MatchBody, "text": p.MatchText, "header": p.MatchHeader} {
		if _, err := match(failingReaderAt{boom}, NewMatcher("a")); err != boom {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const searchMessage = `Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= from
 far away
From: Ann <ann@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

caf=E9 au la=
it
--b
Content-Type: text/html

<p>bold<b>text</b></p><script>hidden</script>
--b
Content-Type: application/octet-stream; name*=utf-8''r%C3%A9sum%C3%A9.bin
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename="=?utf-8?Q?r=C3=A9sum=C3=A9.bin?="

c2VjcmV0
--b
Content-Type: message/rfc822

Subject: =?utf-8?B?aW5uZXIgc3ViamVjdA==?=

inner body
--b--
epilogue
`

func TestSearchMessage(t *testing.T) {
	p := scanString(t, searchMessage)
	for _, tt := range []struct {
		needle       string
		header, body bool
	}{
		{"grüße from far", true, false},
		{"GRÜßE", true, false},
		{"=?utf-8?Q?Gr", false, false},
		{"subject: gr", true, false},
		{"away from:", false, false}, // two fields
		{"ann@example.org", true, false},
		{"café au lait", false, true},
		{"boldtext", false, true},
		{"hidden", false, false},
		{"secret", false, false},
		{"c2VjcmV0", false, false},
		{"inner subject", false, true},
		{"inner body", false, true},
		{"preamble", false, false},
		{"nothing like it", false, false},
	} {
		m := NewMatcher(tt.needle)
		header, err1 := p.MatchHeader(strings.NewReader(searchMessage), m)
		body, err2 := p.MatchBody(strings.NewReader(searchMessage), m)
		text, err3 := p.MatchText(strings.NewReader(searchMessage), m)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if header != tt.header || body != tt.body || text != (tt.header || tt.body) {
			t.Errorf("%q: header %v, body %v, text %v", tt.needle, header, body, text)
		}
	}
	if text, _ := p.MatchText(strings.NewReader(searchMessage), NewMatcher("résumé.bin")); !text {
		t.Error("the name of an attachment is not found")
	}
}

func TestFoldString(t *testing.T) {
	for _, tt := range []struct{ a, b string }{
		{"Straße", "STRAßE"}, {"é", "e\u0301"}, {"  a  b ", " a b "}, {"Å", "\u212b"}, {"ǆ", "ǅ"}, {"\ufeffx", "x"},
	} {
		if FoldString(tt.a) != FoldString(tt.b) {
			t.Errorf("%q and %q differ: %q, %q", tt.a, tt.b, FoldString(tt.a), FoldString(tt.b))
		}
	}
	if FoldString("a") == FoldString("b") || FoldString("ss") == FoldString("ß") {
		t.Error("different texts are equal")
	}
}

func FuzzMatcher(f *testing.F) {
	for _, tt := range matchTests {
		f.Add(tt.text[:min(len(tt.text), 1000)], tt.needle)
	}
	f.Fuzz(func(t *testing.T, text, needle string) {
		m := NewMatcher(needle)
		want := strings.Contains(FoldString(text), FoldString(needle))
		if got := m.MatchString(text); got != want {
			t.Fatalf("MatchString %v, want %v", got, want)
		}
		if got, err := m.Match(iotest.OneByteReader(strings.NewReader(text))); err != nil || got != want {
			t.Fatalf("Match %v, %v, want %v", got, err, want)
		}
		if again := FoldString(FoldString(text)); again != FoldString(text) {
			t.Fatalf("%q folds to %q and that to %q", text, FoldString(text), again)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	m := NewMatcher("this is not in it")
	for name, text := range map[string]string{
		"ASCII":    strings.Repeat("Some text of some letter that somebody wrote.\r\n", 1000),
		"German":   strings.Repeat("Größere Mengen übler Äpfel müssen weggeräumt sein.\r\n", 1000),
		"Japanese": strings.Repeat("日本語のメールの本文です。\r\n", 1000),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				m.Match(strings.NewReader(text))
			}
		})
	}
}

func BenchmarkMatchText(b *testing.B) {
	msg := string(message10KB())
	p := scanString(b, msg)
	m := NewMatcher("this is not in it")
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		p.MatchText(strings.NewReader(msg), m)
	}
}
