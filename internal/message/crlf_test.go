package message

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// slowCRLF is what CRLFReader must give, written the plain way.
func slowCRLF(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\n' && (i == 0 || s[i-1] != '\r'):
			b.WriteString("\r\n")
		case s[i] == 0:
			b.WriteByte(0x80)
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

var crlfTests = []string{
	"", "\n", "\r\n", "\r", "a", "a\n", "a\r\n", "a\nb", "\n\n\n", "\r\r\n\n\r", "a\rb\n\r\n", "x\x00y\n",
	strings.Repeat("line of text\n", 10000),
	strings.Repeat("line of text\r\n", 10000),
	strings.Repeat("\n", 70000),
	strings.Repeat("x", 32<<10-1) + "\r\n" + strings.Repeat("y", 32<<10) + "\nz",
	strings.Repeat("x", 32<<10) + "\n" + strings.Repeat("y", 32<<10-2) + "\r\n\n",
}

func TestCRLFReader(t *testing.T) {
	for _, s := range crlfTests {
		want := slowCRLF(s)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"":         func(r io.Reader) io.Reader { return r },
			"one byte": iotest.OneByteReader,
			"half":     iotest.HalfReader,
		} {
			got, err := io.ReadAll(wrap(CRLFReader(strings.NewReader("ab"+s+"cd"), 2, int64(2+len(s)))))
			if err != nil || string(got) != want {
				t.Errorf("%s of %d bytes %.20q: %d bytes %.20q, %v, want %d", name, len(s), s, len(got), got, err, len(want))
			}
		}
		var b bytes.Buffer
		n, err := io.Copy(&b, CRLFReader(strings.NewReader(s), 0, int64(len(s))))
		if err != nil || b.String() != want || n != int64(len(want)) {
			t.Errorf("WriteTo of %d bytes %.20q: %d bytes, %v, want %d", len(s), s, n, err, len(want))
		}
	}
}

func TestCRLFReaderFailsOnAShortFile(t *testing.T) {
	if b, err := io.ReadAll(CRLFReader(strings.NewReader("a\nb"), 0, 10)); err != io.ErrUnexpectedEOF || string(b) != "a\r\nb" {
		t.Errorf("%q, %v", b, err)
	}
	for _, e := range []Extent{{0, 10, 10}, {0, 10, 12}, {0, 3, 12}} {
		if b, err := io.ReadAll(e.Reader(strings.NewReader("a\nb"))); err != io.ErrUnexpectedEOF {
			t.Errorf("%v: %q, %v", e, b, err)
		}
	}
}

func TestCRLFReaderPassesErrors(t *testing.T) {
	boom := fmt.Errorf("boom")
	r := failingReaderAt{boom}
	if _, err := io.ReadAll(CRLFReader(r, 0, 10)); err != boom {
		t.Errorf("err = %v", err)
	}
	if _, err := io.Copy(io.Discard, CRLFReader(r, 0, 10)); err != boom {
		t.Errorf("WriteTo: err = %v", err)
	}
	if _, err := CRLFReader(strings.NewReader("a"), 0, 1).(io.WriterTo).WriteTo(failingWriter{boom}); err != boom {
		t.Errorf("writing: err = %v", err)
	}
}

type failingReaderAt struct{ err error }

func (r failingReaderAt) ReadAt([]byte, int64) (int, error) { return 0, r.err }

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestPartialGivesEveryPiece(t *testing.T) {
	for _, s := range []string{"", "\n\na\nb\r\n\n", "abc\r\nde\r\n", "one\ntwo\nthree\r\nfour\x00", "x"} {
		want := slowCRLF(s)
		e := Extent{1, int64(1 + len(s)), int64(len(want))}
		file := strings.NewReader("\n" + s + "tail")
		for from := -1; from <= len(want)+1; from++ {
			for count := -1; count <= len(want)+1; count++ {
				r, n := e.Partial(file, int64(from), int64(count), nil)
				b, err := io.ReadAll(r)
				start := min(max(from, 0), len(want))
				end := min(start+max(count, 0), len(want))
				if err != nil || string(b) != want[start:end] || n != int64(end-start) {
					t.Errorf("%q<%d.%d>: %q, %d, %v, want %q", s, from, count, b, n, err, want[start:end])
				}
			}
		}
	}
}

// countingReaderAt counts what is read.
type countingReaderAt struct {
	io.ReaderAt
	n int
}

func (c *countingReaderAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.n += n
	return n, err
}

func TestPartialWithCursorReadsNothingTwice(t *testing.T) {
	s := strings.Repeat("a line of text\nand one\r\n", 20000)
	want := slowCRLF(s)
	e := Extent{0, int64(len(s)), int64(len(want))}
	for _, piece := range []int{1000, 65536, 99999} {
		file := &countingReaderAt{ReaderAt: strings.NewReader(s)}
		var at Cursor
		var got strings.Builder
		pieces := 0
		for from := int64(0); from < e.VSize; from += int64(piece) {
			r, n := e.Partial(file, from, int64(piece), &at)
			if m, err := io.Copy(&got, r); err != nil || m != n {
				t.Fatalf("<%d.%d>: %d of %d, %v", from, piece, m, n, err)
			}
			pieces++
		}
		if got.String() != want {
			t.Errorf("pieces of %d differ", piece)
		}
		if most := len(s) + pieces*len(block{}); file.n > most {
			t.Errorf("pieces of %d: read %d bytes of %d", piece, file.n, len(s))
		}
	}
}

func TestCursorOfAnotherPlaceDoesNoHarm(t *testing.T) {
	s := "one\ntwo\nthree\n"
	file := strings.NewReader(s)
	var at Cursor
	for _, tt := range []struct {
		e           Extent
		from, count int64
		want        string
	}{
		{Extent{0, 14, 17}, 5, 4, "two\r"},
		{Extent{0, 14, 17}, 9, 4, "\nthr"},
		{Extent{0, 14, 17}, 2, 4, "e\r\nt"}, // back
		{Extent{4, 14, 12}, 3, 3, "\r\nt"},  // another extent
		{Extent{0, 14, 17}, 6, 100, "wo\r\nthree\r\n"},
		{Extent{0, 14, 17}, 17, 5, ""},
	} {
		r, n := tt.e.Partial(file, tt.from, tt.count, &at)
		if b, err := io.ReadAll(r); err != nil || string(b) != tt.want || n != int64(len(b)) {
			t.Errorf("%v<%d.%d>: %q, %d, %v, want %q", tt.e, tt.from, tt.count, b, n, err, tt.want)
		}
	}
}

func FuzzCRLFReader(f *testing.F) {
	for _, s := range crlfTests {
		f.Add(s[:min(len(s), 5000)], uint16(3), uint16(10))
	}
	f.Fuzz(func(t *testing.T, s string, from, count uint16) {
		want := slowCRLF(s)
		got, err := io.ReadAll(CRLFReader(strings.NewReader(s), 0, int64(len(s))))
		if err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
		e := Extent{0, int64(len(s)), int64(len(want))}
		var at Cursor
		for range 3 {
			r, n := e.Partial(strings.NewReader(s), int64(from), int64(count), &at)
			b, err := io.ReadAll(iotest.HalfReader(r))
			start := min(int(from), len(want))
			end := min(start+int(count), len(want))
			if err != nil || string(b) != want[start:end] || n != int64(end-start) {
				t.Fatalf("<%d.%d>: %q, %d, %v, want %q", from, count, b, n, err, want[start:end])
			}
			from += count/2 + 1
		}
	})
}

func BenchmarkCRLFReader(b *testing.B) {
	lf := message5MB()
	for name, msg := range map[string][]byte{"LF": lf, "CRLF": bytes.ReplaceAll(lf, []byte("\n"), []byte("\r\n"))} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				io.Copy(io.Discard, CRLFReader(bytes.NewReader(msg), 0, int64(len(msg))))
			}
		})
	}
}
