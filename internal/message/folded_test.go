package message

import (
	"bytes"
	"strings"
	"testing"
)

// foldedTexts collects what FoldText emits, text by text.
func foldedTexts(t *testing.T, p *Part, text string) [][]byte {
	t.Helper()
	var texts [][]byte
	err := p.FoldText(strings.NewReader(text), func(chunk []byte, first bool) {
		if first {
			texts = append(texts, nil)
		}
		texts[len(texts)-1] = append(texts[len(texts)-1], chunk...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// FuzzFoldText holds FoldText to its promise: a needle is in one of the texts if
// and only if MatchText finds it.
func FuzzFoldText(f *testing.F) {
	f.Add("Subject: =?utf-8?q?Stra=C3=9Fe?=\nContent-Type: text/html; charset=utf-8\nMIME-Version: 1.0\n\n<p>gro\xc3\x9f</p>", "STRASSE")
	f.Add("Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\n\none\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\ntwo\n--b--\n", "in")
	f.Add("Content-Transfer-Encoding: base64\nMIME-Version: 1.0\n\nYWJj\nZGVm\n", "abcdef")
	f.Add("A: b\n\n"+strings.Repeat("x \n", 9000)+"e\xcc\x81nd", "x \xc3\xa9nd")
	f.Add("A: b\n\n\xff\xe4\n", "\xc3\xa4")
	f.Fuzz(func(t *testing.T, text, needle string) {
		p, err := Scan(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		m := NewMatcher(needle)
		want, err := p.MatchText(strings.NewReader(text), m)
		if err != nil {
			t.Fatal(err)
		}
		got := false
		for _, folded := range foldedTexts(t, p, text) {
			got = got || bytes.Contains(folded, m.Needle())
		}
		if got != want {
			t.Errorf("%q: in a text %v, found %v", needle, got, want)
		}
	})
}

func TestFoldedFormsAgree(t *testing.T) {
	for _, s := range []string{"", "Straße", "e\u0301 LE\u00adVE", " a \t b ", "会議", "\xff"} {
		if got := string(AppendFolded([]byte("x"), s)); got != "x"+FoldString(s) {
			t.Errorf("%q: %q, want %q", s, got[1:], FoldString(s))
		}
		if m := NewMatcher(s); string(m.Needle()) != FoldString(s) || !m.MatchFolded(AppendFolded(nil, "__"+s+"__")) {
			t.Errorf("%q: needle %q", s, m.Needle())
		}
	}
}

func FuzzEachField(f *testing.F) {
	f.Add([]byte("A: b\n c\nfrom x\n\td\nE : f\r\n\r\nbody"))
	f.Fuzz(func(t *testing.T, block []byte) {
		want := ParseHeader(block)
		i := 0
		for name, raw := range EachField(block) {
			if i == len(want) || want[i].Name != string(name) || !bytes.Equal(want[i].Raw, raw) {
				t.Fatalf("field %d: %q %q, want %+v", i, name, raw, want)
			}
			i++
		}
		if i != len(want) {
			t.Fatalf("%d fields, want %d", i, len(want))
		}
	})
}
