package smtpd

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// readBody reads one message from wire bytes that come in the given way, and
// tells what is left after it.
func readBody(src io.Reader, read func(io.Reader) ([]byte, error)) (text string, rest string, err error) {
	in := newInput(src)
	b := &body{in: in, fill: in.fill}
	got, err := read(b)
	left, _ := io.ReadAll(src)
	return string(got), string(in.buffered()) + string(left), err
}

// ways are how bytes may come and be taken.
var ways = map[string]struct {
	src  func(io.Reader) io.Reader
	read func(io.Reader) ([]byte, error)
}{
	"at once":        {func(r io.Reader) io.Reader { return r }, io.ReadAll},
	"byte by byte":   {iotest.OneByteReader, io.ReadAll},
	"taken in bytes": {func(r io.Reader) io.Reader { return r }, func(r io.Reader) ([]byte, error) { return io.ReadAll(iotest.OneByteReader(r)) }},
	"in halves":      {iotest.HalfReader, func(r io.Reader) ([]byte, error) { return io.ReadAll(iotest.HalfReader(r)) }},
}

func TestBodyEndsOnlyAtCRLFDotCRLF(t *testing.T) {
	for _, c := range []struct{ wire, text, rest string }{
		{".\r\n", "", ""},
		{".\r\nNOOP\r\n", "", "NOOP\r\n"},
		{"a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n"},
		{"..\r\n.\r\n", ".\r\n", ""},
		{"..a\r\n...\r\n.\r\n", ".a\r\n..\r\n", ""},
		{".a\r\n.\r\n", "a\r\n", ""},
		{"a.\r\n.\r\n", "a.\r\n", ""},
		// What other servers may take for an end is not one.
		{"a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", ""},
		{"a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", ""},
		{"a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", ""},
		{"a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", ""},
		{"a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", ""},
		{"a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", ""},
		{"a\n.\rb\r\n.\r\n", "a\n.\rb\r\n", ""},
		// CR CR LF ends a line too: go-smtp waits here until it times out.
		{"a\r\r\n.\r\nRSET\r\n", "a\r\r\n", "RSET\r\n"},
		{"\r\r\n.\r\n", "\r\r\n", ""},
		{"\r\n\r\n.\r\n", "\r\n\r\n", ""},
	} {
		for name, way := range ways {
			text, rest, err := readBody(way.src(strings.NewReader(c.wire)), way.read)
			if text != c.text || rest != c.rest || err != nil {
				t.Errorf("%q %s: %q, rest %q, %v", c.wire, name, text, rest, err)
			}
		}
	}
}

func TestCutBodyIsNoMessage(t *testing.T) {
	for _, wire := range []string{"", "a", "a\r\n", "a\r\n.", "a\r\n.\r", ".", ".\r", "a\r"} {
		for name, way := range ways {
			if text, _, err := readBody(way.src(strings.NewReader(wire)), way.read); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q %s: %q, %v", wire, name, text, err)
			}
		}
	}
}

// slowBody is the definition that body must agree with, a byte at a time.
func slowBody(wire []byte) (text, rest []byte, ok bool) {
	atStart := true
	for i := 0; i < len(wire); {
		if atStart && wire[i] == '.' {
			if bytes.HasPrefix(wire[i:], []byte(".\r\n")) {
				return text, wire[i+3:], true
			}
			if len(wire[i:]) < 3 && strings.HasPrefix(".\r\n", string(wire[i:])) {
				return text, nil, false
			}
			i++
			atStart = false
			continue
		}
		text = append(text, wire[i])
		i++
		atStart = bytes.HasSuffix(wire[:i], []byte("\r\n"))
	}
	return text, nil, false
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{"a\r\n.\r\nQUIT\r\n", "..\r\n.\r\n", "a\r\r\n.\r\n", ".\r.\r\n.\r\n", "\n.\n\r\n..\r\n.\r\n"} {
		f.Add([]byte(s), uint64(1))
	}
	f.Fuzz(func(t *testing.T, wire []byte, seed uint64) {
		want, rest, ok := slowBody(wire)
		random := rand.New(rand.NewPCG(seed, 0))
		got, left, err := readBody(randomReader{bytes.NewReader(wire), random}, func(r io.Reader) ([]byte, error) {
			return io.ReadAll(randomReader{r, random})
		})
		if got != string(want) || ok != (err == nil) || ok && left != string(rest) {
			t.Errorf("%q: got %q, rest %q, %v; want %q, rest %q, %v", wire, got, left, err, want, rest, ok)
		}
	})
}

// randomReader reads pieces of random length.
type randomReader struct {
	r io.Reader
	*rand.Rand
}

func (r randomReader) Read(p []byte) (int, error) {
	if len(p) > 1 {
		p = p[:1+r.IntN(min(len(p), 8))]
	}
	return r.r.Read(p)
}

func TestInputLimitsLines(t *testing.T) {
	in := newInput(strings.NewReader(strings.Repeat("a", 2*maxLine)))
	var err error
	for err == nil {
		if err = in.grow(); err == nil {
			err = in.fill()
		}
	}
	if !errors.Is(err, errLineTooLong) || len(in.buf) != maxLine {
		t.Errorf("%d bytes buffered, %v", len(in.buf), err)
	}
}

func TestInputGivesItsLargeBufferBack(t *testing.T) {
	in := newInput(strings.NewReader("a\r\n.\r\nQUIT\r\n"))
	in.enlarge()
	b := &body{in: in, fill: in.fill}
	if _, err := io.ReadAll(b); err != nil {
		t.Fatal(err)
	}
	in.shrink()
	if len(in.buf) != smallInput || string(in.buffered()) != "QUIT\r\n" {
		t.Errorf("buffer of %d, holds %q", len(in.buf), in.buffered())
	}
}

func BenchmarkBody(b *testing.B) {
	wire := []byte(strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1<<14) + ".\r\n")
	b.SetBytes(int64(len(wire)))
	for b.Loop() {
		in := newInput(bytes.NewReader(wire))
		in.enlarge()
		io.Copy(io.Discard, &lineReader{src: &body{in: in, fill: in.fill}})
		in.shrink()
	}
}
