package lda

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestStripFromLine(t *testing.T) {
	const date = " Thu Jan  1 00:00:00 1970"
	long := "From " + strings.Repeat("x", 100_000)
	for _, c := range []struct{ name, in, rest, sender string }{
		{"none", "Subject: x\n\nbody\n", "Subject: x\n\nbody\n", ""},
		{"empty", "", "", ""},
		{"shorter than the word", "Fro", "Fro", ""},
		{"usual", "From a@b.example" + date + "\nSubject: x\n", "Subject: x\n", "a@b.example"},
		{"CRLF", "From a@b.example" + date + "\r\nSubject: x\r\n", "Subject: x\r\n", "a@b.example"},
		{"only once", "From a@b" + date + "\nFrom c@d" + date + "\n", "From c@d" + date + "\n", "a@b"},
		{"no date", "From a@b.example\nSubject: x\n", "Subject: x\n", ""},
		{"text", "From now on all is fine.\nx\n", "x\n", ""},
		{"header field", "From: a@b\nSubject: x\n", "From: a@b\nSubject: x\n", ""},
		{"quoted local part", `From "a b"@c.example` + date + "\nx", "x", `"a b"@c.example`},
		{"quote in quotes", `From "a\" b"@c.example` + date + "\nx", "x", `"a\" b"@c.example`},
		{"quote without end", `From "a b` + date + "\nx", "x", ""},
		{"without LF", "From a@b" + date, "", "a@b"},
		{"longer than any buffer", long + "\nSubject: x\n", "Subject: x\n", ""},
		{"other case", "from a@b" + date + "\n", "from a@b" + date + "\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				rest, sender, err := stripFromLine(r)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(rest)
				if err != nil || string(b) != c.rest || sender != c.sender {
					t.Errorf("%q, %q, %v", b, sender, err)
				}
			}
		})
	}
}

func TestStripFromLinePassesReadErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, start := range []string{"", "Fr", "From ", "From a@b"} {
		r := io.MultiReader(strings.NewReader(start), iotest.ErrReader(boom))
		if _, _, err := stripFromLine(r); !errors.Is(err, boom) {
			t.Errorf("after %q: %v", start, err)
		}
	}
}

func FuzzFromLine(f *testing.F) {
	for _, s := range []string{"From a@b Thu Jan  1 00:00:00 1970\nx", "From ", "From \"", "From \\", "Fro", "From \x00 Thu Jan 1 1\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, sender, err := stripFromLine(strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(r)
		want := in
		if strings.HasPrefix(in, "From ") {
			_, want, _ = strings.Cut(in, "\n")
		}
		if string(rest) != want || strings.ContainsAny(sender, "\n") {
			t.Errorf("%q: rest %q, sender %q", in, rest, sender)
		}
	})
}
