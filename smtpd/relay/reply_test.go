package relay

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

func TestReadReply(t *testing.T) {
	cases := []struct {
		name, text string
		code       int // 0: no reply
		enhanced   string
		line       string
	}{
		{"one line", "250 ok\r\n", 250, "", "250 ok"},
		{"only a code", "250\r\n", 250, "", "250"},
		{"a code and a blank", "250 \r\n", 250, "", "250"},
		{"several lines", "550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n", 550, "5.1.1", "550 5.1.1 no / 5.1.1 such / 5.1.1 user"},
		{"bare LF", "250-a\n250 b\n", 250, "", "250 a / b"},
		{"class does not agree", "450 5.1.1 no\r\n", 450, "", "450 5.1.1 no"},
		{"no enhanced code", "550 5.1 no\r\n", 550, "", "550 5.1 no"},
		{"too large an enhanced code", "550 5.1.1000 no\r\n", 550, "", "550 5.1.1000 no"},
		{"control characters", "550 a\tb\x1b[31m\x00c\r\n", 550, "", "550 a b [31m c"},
		{"not UTF-8", "550 a\xffb\r\n", 550, "", "550 a?b"},
		{"long text is cut", "550 " + strings.Repeat("x", 2000) + "\r\n", 550, "", "550 " + strings.Repeat("x", maxReplyText-4) + "..."},
		{"codes differ", "250-a\r\n251 b\r\n", 0, "", ""},
		{"no code", "hello\r\n", 0, "", ""},
		{"short", "25\r\n", 0, "", ""},
		{"signs", "+25 x\r\n", 0, "", ""},
		{"1yz", "150 x\r\n", 0, "", ""},
		{"6yz", "600 x\r\n", 0, "", ""},
		{"odd separator", "250x\r\n", 0, "", ""},
		{"long line", "250 " + strings.Repeat("x", 5000) + "\r\n", 0, "", ""},
		{"many lines", strings.Repeat("250-x\r\n", 200) + "250 x\r\n", 0, "", ""},
		{"cut off", "250-x\r\n250", 0, "", ""},
		{"nothing", "", 0, "", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := readReply(bufio.NewReaderSize(strings.NewReader(c.text), 16))
			if (err == nil) != (c.code != 0) {
				t.Fatalf("%v, %v", r, err)
			}
			if err == nil && (r.code != c.code || r.enhanced.String() != c.enhanced || r.String() != c.line) {
				t.Errorf("code %d, enhanced %q, line %q", r.code, r.enhanced, r)
			}
		})
	}
}

func TestRefusedKeepsTheClass(t *testing.T) {
	for _, code := range []int{250, 354, 421, 450, 550} {
		f := refused("mx", "MAIL", reply{code: code, lines: []string{"x"}})
		if f.err.Enhanced[0] != f.err.Code/100 || f.err.Code < 400 {
			t.Errorf("%d became %v", code, f.err)
		}
		p := passing(f)
		if !p.err.Temporary() || p.err.Enhanced[0] != 4 {
			t.Errorf("passing %d: %v", code, p.err)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 x\n", "999\r\n", "250-\r\n250\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readReply(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			if !errors.Is(err, errBadReply) && !errors.Is(err, io.EOF) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if r.code < 200 || r.code > 599 || len(r.lines) == 0 {
			t.Fatalf("reply %+v", r)
		}
		if s := r.String(); strings.ContainsAny(s, "\r\n\x00") || len(s) > maxReplyText+3 {
			t.Fatalf("line %q", s)
		}
		if e := r.enhanced; e != (status.Enhanced{}) && e[0] != r.code/100 {
			t.Fatalf("enhanced %v for %d", e, r.code)
		}
	})
}

// wire is what a body looks like on the wire, in pieces of n bytes.
func wire(t testing.TB, text string, n int) (plain, dotted string, b *body) {
	c := message.FromBytes([]byte(text))
	b, err := scan(c)
	if err != nil {
		t.Fatal(err)
	}
	var p bytes.Buffer
	if err := b.send(&p, func() {}); err != nil {
		t.Fatal(err)
	}
	var d bytes.Buffer
	bw := bufio.NewWriter(&d)
	dw := &dotWriter{w: bw}
	for rest := p.Bytes(); len(rest) > 0; {
		k := min(n, len(rest))
		dw.Write(rest[:k])
		rest = rest[k:]
	}
	bw.Flush()
	return p.String(), d.String(), b
}

func TestLineEndsAndDots(t *testing.T) {
	cases := []struct{ text, plain, dotted string }{
		{"", "", ""},
		{"a\r\n", "a\r\n", "a\r\n"},
		{"a", "a\r\n", "a\r\n"},
		{"a\r", "a\r\n", "a\r\n"},
		{"a\n", "a\r\n", "a\r\n"},
		{"a\nb\rc\r\n", "a\r\nb\r\nc\r\n", "a\r\nb\r\nc\r\n"},
		{"a\r\r\nb", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
		{"\n\r", "\r\n\r\n", "\r\n\r\n"},
		{".", ".\r\n", "..\r\n"},
		{"a\n.\nMAIL FROM:<x>\n", "a\r\n.\r\nMAIL FROM:<x>\r\n", "a\r\n..\r\nMAIL FROM:<x>\r\n"},
		{"a\r.\r\n", "a\r\n.\r\n", "a\r\n..\r\n"},
		{"a\r\n..b\r\n", "a\r\n..b\r\n", "a\r\n...b\r\n"},
	}
	for _, c := range cases {
		for _, n := range []int{1, 2, 3, 100} {
			plain, dotted, b := wire(t, c.text, n)
			if plain != c.plain || dotted != c.dotted {
				t.Errorf("%q by %d: %q, %q", c.text, n, plain, dotted)
			}
			if b.size != int64(len(plain)) || b.clean != (plain == c.text) {
				t.Errorf("%q: size %d, clean %v", c.text, b.size, b.clean)
			}
		}
	}
}

func TestScanFindsEightBits(t *testing.T) {
	for text, want := range map[string][2]bool{
		"S: x\r\n\r\nbody\r\n":                      {false, false},
		"S: é\r\n\r\nbody\r\n":                      {true, true},
		"S: x\r\n\r\né\r\n":                         {true, false},
		"\r\né\r\n":                                 {true, false},
		"S: x\n\né\n":                               {true, false},
		"S: x\r\n \r\né: x":                         {true, true},
		strings.Repeat("S: x\r\n", 20000) + "\r\né": {true, false},
	} {
		b, err := scan(message.FromBytes([]byte(text)))
		if err != nil || (b.textEightBit || b.headerEightBit) != want[0] || b.headerEightBit != want[1] {
			t.Errorf("%.40q: %+v, %v", text, b, err)
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{"", ".", "a\r\n.\r\n", "\r\r\n", "a\n.\r\n.\rb", strings.Repeat("x\r\n", 50)} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		plain, dotted, b := wire(t, text, max(1, n%50))
		if b.size != int64(len(plain)) {
			t.Fatalf("size %d of %d", b.size, len(plain))
		}
		if b.clean != (plain == text) {
			t.Fatalf("clean = %v: %q became %q", b.clean, text, plain)
		}
		if plain != "" && !strings.HasSuffix(plain, "\r\n") || strings.Count(plain, "\r\n") != strings.Count(plain, "\n") || strings.Count(plain, "\r\n") != strings.Count(plain, "\r") {
			t.Fatalf("bare line ends: %q", plain)
		}
		if strings.Contains("\r\n"+dotted, "\r\n.\r\n") {
			t.Fatalf("the text ends itself: %q", dotted)
		}
		back := strings.ReplaceAll("\r\n"+dotted, "\r\n.", "\r\n")[2:]
		if back != plain {
			t.Fatalf("%q came back as %q", plain, back)
		}
	})
}
