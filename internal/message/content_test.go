package message

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
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
	boom := errors.New("boom")
	r := io.MultiReader(strings.NewReader("abc"), errReader{boom})
	if _, err := Spool(r, t.TempDir(), 1, 0); !errors.Is(err, boom) {
		t.Errorf("err = %v", err)
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
