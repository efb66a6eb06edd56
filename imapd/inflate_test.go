package imapd

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// What mbsync 1.4 sends for "3 NAMESPACE\r\n": a block, and the empty one of a
// partial flush, whose last bits share a byte with what comes next.
const mbsyncNamespace = "3256f073f4750d0e707476e5e50208"

// stalling gives what it has, and then fails as a deadline would.
type stalling struct{ r io.Reader }

func (s stalling) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err == io.EOF {
		err = errTest
	}
	return n, err
}

func TestInflateGivesAllThatHasCome(t *testing.T) {
	raw, err := hex.DecodeString(mbsyncNamespace)
	if err != nil {
		t.Fatal(err)
	}
	f := newInflater(stalling{bytes.NewReader(raw)})
	var got [100]byte
	n, err := f.Read(got[:])
	if string(got[:n]) != "3 NAMESPACE\r\n" || err != nil {
		t.Errorf("got %q, %v", got[:n], err)
	}
	if n, err := f.Read(got[:]); n != 0 || !errors.Is(err, errTest) {
		t.Errorf("then %q, %v", got[:n], err)
	}
}

// texts are of every kind that makes other blocks.
func texts() map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	words := strings.Repeat("a NOOP\r\nb FETCH 1:* (UID FLAGS)\r\n", 5000)
	return map[string][]byte{
		"nothing": nil, "one byte": {7}, "line": []byte("a NOOP\r\n"), "zeros": make([]byte, 200_000),
		"noise": noise, "words": []byte(words), "mixed": append([]byte(words[:40_000]), noise[:40_000]...),
	}
}

func TestInflateReadsWhatOthersWrite(t *testing.T) {
	for name, text := range texts() {
		for _, level := range []int{flate.NoCompression, flate.HuffmanOnly, flate.BestSpeed, flate.BestCompression} {
			var packed bytes.Buffer
			w, err := flate.NewWriter(&packed, level)
			if err != nil {
				t.Fatal(err)
			}
			for rest := text; len(rest) > 0; {
				n := min(len(rest), 7000)
				w.Write(rest[:n])
				w.Flush()
				rest = rest[n:]
			}
			w.Close()
			for reader, src := range map[string]io.Reader{
				"whole": bytes.NewReader(packed.Bytes()), "bytewise": iotest.OneByteReader(bytes.NewReader(packed.Bytes())),
			} {
				got, err := io.ReadAll(newInflater(src))
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("%s, level %d, %s: %d bytes, %v", name, level, reader, len(got), err)
				}
			}
		}
	}
}

func TestInflateRefusesBadData(t *testing.T) {
	for name, raw := range map[string]string{
		"unknown kind of block":   "\x07",
		"stored, wrong length":    "\x01\x05\x00\x00\x00hello",
		"too many codes":          "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"length symbol 286":       "\x1b\x03\x00",
		"repeat of nothing":       "\x05\x00\x10\x00\x00\x00\x00\x00\x00\x00\x00",
		"distance symbol 30 used": "\x03\x1e\xff\xff",
	} {
		if _, err := io.ReadAll(newInflater(strings.NewReader(raw))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzInflate compares with compress/flate: the same text, and an error where
// that has one. A distance beyond the beginning is text of zeros here, which
// harms nobody: the window belongs to the connection.
func FuzzInflate(f *testing.F) {
	for _, text := range texts() {
		var packed bytes.Buffer
		w, _ := flate.NewWriter(&packed, flate.DefaultCompression)
		w.Write(text[:min(len(text), 2000)])
		w.Close()
		f.Add(packed.Bytes())
	}
	raw, _ := hex.DecodeString(mbsyncNamespace)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw)), 1<<20))
		got, err := io.ReadAll(io.LimitReader(newInflater(bytes.NewReader(raw)), 1<<20))
		if wantErr == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%x: %d bytes, %v; want %d", raw, len(got), err, len(want))
		}
		if !bytes.HasPrefix(got, want) {
			t.Errorf("%x: other text", raw)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	text := texts()["words"]
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, flate.BestSpeed)
	w.Write(text)
	w.Close()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.Copy(io.Discard, newInflater(bytes.NewReader(packed.Bytes()))); err != nil {
			b.Fatal(err)
		}
	}
}
