package message

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSpoolKeepsBytesInMemoryAndInFile(t *testing.T) {
	text := strings.Repeat("0123456789\r\n", 100)
	for name, memory := range map[string]int64{"memory": 1 << 20, "file": 16, "exactly the limit of memory": int64(len(text))} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c, err := Spool(strings.NewReader(text), dir, memory, int64(len(text)))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for range 2 { // re-readable
				b, err := io.ReadAll(c.NewReader())
				if err != nil || string(b) != text {
					t.Fatalf("read %d bytes, %v", len(b), err)
				}
			}
			if c.Size() != int64(len(text)) {
				t.Errorf("Size = %d", c.Size())
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("spool file has a name: %v", left)
			}
		})
	}
}

func TestSpoolRefusesMoreThanTheLimit(t *testing.T) {
	for _, memory := range []int64{1, 1000} {
		if _, err := Spool(strings.NewReader("12345678901"), t.TempDir(), memory, 10); !errors.Is(err, ErrTooBig) {
			t.Errorf("memory %d: err = %v", memory, err)
		}
	}
}

func TestSpoolPassesReadErrors(t *testing.T) {
	// io.ErrUnexpectedEOF is what a message is cut with: no end like another.
	for _, boom := range []error{errors.New("boom"), io.ErrUnexpectedEOF} {
		for _, memory := range []int64{1, 10, 1 << 20} {
			for _, text := range []string{"", "abc", strings.Repeat("x", spoolBlock), strings.Repeat("x", spoolBlock+1)} {
				r := io.MultiReader(strings.NewReader(text), errReader{boom})
				if _, err := Spool(r, t.TempDir(), memory, 0); !errors.Is(err, boom) {
					t.Errorf("%d bytes, memory %d: err = %v", len(text), memory, err)
				}
			}
		}
	}
}

func TestSpoolAcrossTheFirstBlock(t *testing.T) {
	for _, size := range []int{0, 1, spoolBlock - 1, spoolBlock, spoolBlock + 1, 3 * spoolBlock} {
		text := strings.Repeat("0123456789abcde\n", size/16+1)[:size]
		for _, memory := range []int64{1, spoolBlock, 1 << 20} {
			c, err := Spool(iotest.DataErrReader(strings.NewReader(text)), t.TempDir(), memory, 0)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(c.NewReader())
			if err != nil || string(b) != text {
				t.Errorf("%d bytes, memory %d: read %d, %v", size, memory, len(b), err)
			}
			c.Close()
		}
	}
}

func BenchmarkSpool(b *testing.B) {
	text := strings.Repeat("0123456789abcde\n", 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Spool(strings.NewReader(text), "", 1<<20, 0); err != nil {
			b.Fatal(err)
		}
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestWithPrefixStacks(t *testing.T) {
	c := FromBytes([]byte("body"))
	d := c.WithPrefix([]byte("B: 2\r\n")).WithPrefix([]byte("A: 1\r\n"))
	b, _ := io.ReadAll(d.NewReader())
	if string(b) != "A: 1\r\nB: 2\r\nbody" || d.Size() != int64(len(b)) {
		t.Errorf("got %q, Size %d", b, d.Size())
	}
	if b, _ := io.ReadAll(c.NewReader()); string(b) != "body" {
		t.Errorf("the original changed: %q", b)
	}
}

func TestContentIsReadAtAnyOffset(t *testing.T) {
	c := FromBytes([]byte("body")).WithPrefix([]byte("two")).WithPrefix([]byte("one"))
	const whole = "onetwobody"
	for off := range len(whole) + 2 {
		for n := range len(whole) + 2 {
			p := make([]byte, n)
			got, err := c.ReadAt(p, int64(off))
			want := ""
			if off < len(whole) {
				want = whole[off:min(off+n, len(whole))]
			}
			if string(p[:got]) != want || (err != nil) != (len(want) < n) || err != nil && err != io.EOF {
				t.Errorf("%d bytes from %d: got %q, %v", n, off, p[:got], err)
			}
		}
	}
	if _, err := c.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset is read")
	}
}

func TestWithHeaderReplacesTheBeginning(t *testing.T) {
	c := FromBytes([]byte("body")).WithPrefix([]byte("prefix"))
	for off := range len("prefixbody") + 1 {
		d := c.WithHeader([]byte("new"), int64(off))
		b, err := io.ReadAll(d.NewReader())
		if want := "new" + "prefixbody"[off:]; string(b) != want || err != nil || d.Size() != int64(len(want)) {
			t.Errorf("from %d: got %q, %v, size %d", off, b, err, d.Size())
		}
	}
	if b, _ := io.ReadAll(c.NewReader()); string(b) != "prefixbody" {
		t.Errorf("the original changed: %q", b)
	}
}
