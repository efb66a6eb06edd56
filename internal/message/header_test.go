package message

import (
	"bytes"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestParseHeader(t *testing.T) {
	block := "From a@b Tue Mar\nSubject: one\r\n two\nto:\n no colon\nno colon\nX : y \n: nameless\nLast: z\n\nBody: not a field\n"
	var got [][2]string
	raw := ""
	for _, f := range ParseHeader([]byte(block)) {
		got = append(got, [2]string{f.Name, f.Value()})
		raw += string(f.Raw)
	}
	want := [][2]string{
		{"", "From a@b Tue Mar"}, {"Subject", "one two"}, {"to", "no colon"}, {"", "no colon"},
		{"X", "y"}, {"", ": nameless"}, {"Last", "z"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !strings.HasPrefix(block, raw+"\n") {
		t.Errorf("the raw fields are not the block: %q", raw)
	}
}

func TestParseHeaderOfOddBlocks(t *testing.T) {
	for block, want := range map[string]int{"": 0, "\n": 0, "\r\n": 0, "\nA: b\n": 0, "A": 1, "A:": 1, "A: b": 1, "A: b\n c": 1, "A: b\n\tc\nD: e": 2, " x": 1, "\r": 1, "A: b\r": 1} {
		if got := ParseHeader([]byte(block)); len(got) != want {
			t.Errorf("%q: %d fields %q, want %d", block, len(got), got, want)
		}
	}
}

func TestFieldsByName(t *testing.T) {
	fields := ParseHeader([]byte("Subject: =?utf-8?Q?=C3=BC?=\n x\nsubject: second\nTo: a@b\n"))
	if got := fields.Value("SUBJECT"); got != "=?utf-8?Q?=C3=BC?= x" {
		t.Errorf("Value = %q", got)
	}
	if got := fields.Text("subject"); got != "ü x" {
		t.Errorf("Text = %q", got)
	}
	if _, ok := fields.Get("Cc"); ok || fields.Value("Cc") != "" || fields.Text("Cc") != "" {
		t.Error("found a field that is not there")
	}
}

func TestAppendHeaderFields(t *testing.T) {
	block := "Received: a\n\tb\nSubject: x\r\nno colon\nTo: y\nreceived: c\n\n"
	for _, tt := range []struct {
		block string
		names []string
		not   bool
		want  string
	}{
		{block, []string{"SUBJECT"}, false, "Subject: x\r\n\r\n"},
		{block, []string{"received", "To"}, false, "Received: a\r\n\tb\r\nTo: y\r\nreceived: c\r\n\r\n"},
		{block, []string{"Cc"}, false, "\r\n"},
		{block, nil, false, "\r\n"},
		{block, []string{"", "no colon"}, false, "\r\n"},
		{block, []string{"Received"}, true, "Subject: x\r\nno colon\r\nTo: y\r\n\r\n"},
		{block, nil, true, "Received: a\r\n\tb\r\nSubject: x\r\nno colon\r\nTo: y\r\nreceived: c\r\n\r\n"},
		{"A: b", []string{"A"}, false, "A: b\r\n\r\n"},
		{"A: b", []string{"C"}, true, "A: b"},
		{"A: b\n", []string{"C"}, true, "A: b\r\n"},
		{"A: b\r\n\r\n", []string{"C"}, true, "A: b\r\n\r\n"},
		{"A: b\x00c\n\n", []string{"A"}, false, "A: b\x80c\r\n\r\n"},
		{"", []string{"A"}, false, "\r\n"},
		{"", nil, true, ""},
	} {
		if got := string(AppendHeaderFields(nil, []byte(tt.block), tt.names, tt.not)); got != tt.want {
			t.Errorf("%q %q %v: %q, want %q", tt.block, tt.names, tt.not, got, tt.want)
		}
	}
}

func TestReadHeader(t *testing.T) {
	msg := "A: b\nC: d\n\nbody\n"
	p := scanString(t, msg)
	for limit, want := range map[int64]string{100: "A: b\nC: d\n\n", 5: "A: b\n", 0: ""} {
		if got, err := p.ReadHeader(strings.NewReader(msg), limit); err != nil || string(got) != want {
			t.Errorf("limit %d: %q, %v", limit, got, err)
		}
	}
	if got, err := p.ReadHeader(strings.NewReader("A: b"), 100); err != io.ErrUnexpectedEOF || string(got) != "A: b" {
		t.Errorf("short file: %q, %v", got, err)
	}
}

func TestMessageIDs(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  []string
	}{
		{"<a@b>", []string{"a@b"}},
		{"<a@b> <c@d>\t<e@f>", []string{"a@b", "c@d", "e@f"}},
		{"<a@b><c@d>", []string{"a@b", "c@d"}},
		{"Your message of Tuesday <a@b> (x)", []string{"a@b"}},
		{"<a@ b>", []string{"a@b"}},
		{"<a <b@c>", []string{"b@c"}},
		{"<a@b", nil},
		{"<>", nil},
		{"a@b", []string{"a@b"}},
		{"from a@b", nil},
		{"word", nil},
		{"", nil},
	} {
		if got := MessageIDs(tt.value); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.value, got, tt.want)
		}
	}
}

func FuzzAppendHeaderFields(f *testing.F) {
	_, messages := messageFiles(f)
	for _, m := range messages {
		f.Add(m[:min(len(m), 2000)], "Subject")
	}
	f.Fuzz(func(t *testing.T, block []byte, name string) {
		fields := ParseHeader(block)
		raw := 0
		for _, field := range fields {
			if !bytes.HasPrefix(block[raw:], field.Raw) {
				t.Fatalf("field %q is not at %d", field.Raw, raw)
			}
			raw += len(field.Raw)
			field.Text()
		}
		in := AppendHeaderFields(nil, block, []string{name}, false)
		out := AppendHeaderFields(nil, block, []string{name}, true)
		// Together they are the block, field for field, and the blank line twice
		// or once.
		all := 0
		for _, field := range fields {
			all += len(appendCRLF(nil, field.Raw, field.Name != "" && field.Is(name)))
		}
		if extra := len(in) + len(out) - all; extra != 2 && extra != 4 {
			t.Fatalf("%q and %q of %q: %d bytes too many", in, out, block, extra)
		}
		if !bytes.HasSuffix(in, []byte("\r\n")) || bytes.IndexByte(in, 0) >= 0 {
			t.Fatalf("%q", in)
		}
	})
}

func BenchmarkAppendHeaderFields(b *testing.B) {
	msg := message10KB()
	p, _ := Scan(bytes.NewReader(msg))
	block := msg[:p.BodyStart]
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendHeaderFields(buf[:0], block, []string{"From", "To", "Cc", "Subject", "Date", "Message-ID", "Content-Type"}, false)
	}
}
