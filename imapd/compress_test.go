package imapd

import (
	"compress/flate"
	"io"
	"strings"
	"testing"
)

// writes collects each write apart.
type writes [][]byte

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, append([]byte(nil), p...))
	return len(p), nil
}

func TestDeflaterSendsEachFlushInOneWrite(t *testing.T) {
	var out writes
	d := &deflater{w: &out}
	texts := []string{"* OK short\r\n", strings.Repeat("* 1 FETCH (FLAGS ())\r\n", 5000), "a OK done\r\n"}
	for i, text := range texts {
		if n, err := io.WriteString(d, text); err != nil || n != len(text) {
			t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
		}
		if len(out) != i+1 {
			t.Fatalf("flush %d took %d writes", i, len(out)-i)
		}
		d.release() // as while the connection waits
	}
	var all []byte
	for _, w := range out {
		all = append(all, w...)
	}
	got := make([]byte, len(strings.Join(texts, "")))
	if _, err := io.ReadFull(flate.NewReader(strings.NewReader(string(all))), got); err != nil {
		t.Fatal(err)
	}
	if string(got) != strings.Join(texts, "") {
		t.Error("the text changed on its way")
	}
}
