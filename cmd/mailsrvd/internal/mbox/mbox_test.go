package mbox

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// read returns all messages of an mbox and their texts.
func read(t testing.TB, file string) (list []Message, texts []string) {
	t.Helper()
	r := NewReader(strings.NewReader(file))
	for {
		m, err := r.Next()
		if err == io.EOF {
			return list, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list, texts = append(list, m), append(texts, string(text))
	}
}

func write(t testing.TB, m Message, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := errors.Join(w.Write(m, strings.NewReader(text)), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var day = time.Date(2026, 11, 25, 23, 5, 0, 0, time.UTC)

func TestRead(t *testing.T) {
	const from = "From ann@example.net Wed Nov 25 23:05:00 2026\n"
	long := strings.Repeat("x", 200<<10)
	for name, tt := range map[string]struct {
		file  string
		want  []Message
		texts []string
	}{
		"nothing":              {"", nil, nil},
		"empty lines":          {"\n\n", nil, nil},
		"two messages":         {from + "A: 1\n\none\n\n" + from + "A: 2\n\ntwo\n\n", []Message{{Sender: "ann@example.net", Date: day}, {Sender: "ann@example.net", Date: day}}, []string{"A: 1\n\none\n", "A: 2\n\ntwo\n"}},
		"no end of the line":   {from + "A: 1\n\none", []Message{{Sender: "ann@example.net", Date: day}}, []string{"A: 1\n\none"}},
		"a header alone":       {from + "A: 1", []Message{{Sender: "ann@example.net", Date: day}}, []string{"A: 1\n\n"}},
		"a body alone":         {from + "\none\n\n", []Message{{Sender: "ann@example.net", Date: day}}, []string{"\none\n"}},
		"quoted and not":       {from + "A: 1\n\n>From here\n>>From there\n> From\n\nFrom now on\n\n", []Message{{Sender: "ann@example.net", Date: day}}, []string{"A: 1\n\nFrom here\n>From there\n> From\n\nFrom now on\n"}},
		"no empty line before": {from + "A: 1\n\none\n" + from, []Message{{Sender: "ann@example.net", Date: day}}, []string{"A: 1\n\none\n" + from}},
		"flags":                {from + "Status: RO\nA: 1\nX-Status: AFTD\nX-Keywords: a b\nX-UID: 5\n\none\n\n", []Message{{Sender: "ann@example.net", Date: day, Seen: true, Answered: true, Flagged: true, Draft: true, Deleted: true, Keywords: []string{"a", "b"}}}, []string{"A: 1\n\none\n"}},
		"CRLF":                 {"From - Wed Nov 25 23:05:00 2026\r\nA: 1\r\nStatus: O\r\n\r\none\r\n\r\n", []Message{{Sender: "-", Date: day}}, []string{"A: 1\r\n\r\none\r\n"}},
		"UW-IMAP's note":       {"From MAILER-DAEMON Wed Nov 25 23:05:00 2026\nX-IMAP: 1 2\n\nDON'T DELETE\n\n" + from + "A: 1\n\n", []Message{{Sender: "ann@example.net", Date: day}}, []string{"A: 1\n\n"}},
		"long lines":           {from + "A: " + long + "\n\n" + long + "\n\n" + from + "A: 2\n\n", []Message{{Sender: "ann@example.net", Date: day}, {Sender: "ann@example.net", Date: day}}, []string{"A: " + long + "\n\n" + long + "\n", "A: 2\n\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, texts := read(t, tt.file)
			if !reflect.DeepEqual(got, tt.want) || !reflect.DeepEqual(texts, tt.texts) {
				t.Errorf("%+v %.300q\nwant %+v %.300q", got, texts, tt.want, tt.texts)
			}
		})
	}
}

func TestReadRefusesOtherFiles(t *testing.T) {
	for _, file := range []string{"Subject: x\n\ny\n", "From somewhere\n", "PK\x03\x04", strings.Repeat("x", 100<<10)} {
		if _, err := NewReader(strings.NewReader(file)).Next(); !errors.Is(err, ErrFormat) {
			t.Errorf("%.20q: %v", file, err)
		}
	}
}

func TestParseFrom(t *testing.T) {
	zone := time.FixedZone("", 3600)
	for line, want := range map[string]time.Time{
		"From a@b Wed Nov 25 23:05:00 2026\n":               day,
		"From a@b  Wed Nov  5 23:05:00 2026":                time.Date(2026, 11, 5, 23, 5, 0, 0, time.UTC),
		"From a@b Wed Nov 25 23:05 2026":                    day,
		"From a@b Thu Nov 26 00:05:00 2026 +0100":           time.Date(2026, 11, 26, 0, 5, 0, 0, zone),
		"From a@b Thu Nov 26 00:05:00 +0100 2026":           time.Date(2026, 11, 26, 0, 5, 0, 0, zone),
		"From a@b Wed Nov 25 23:05:00 UTC 2026":             day,
		"From \"a b\"@c Wed Nov 25 23:05:00 2026":           day,
		"From a@b Wed, 25 Nov 2026 23:05:00 +0000\r\n":      day,
		"From here on\n":                                    {},
		"From a@b Wed Nov 25 23:05:00 2026 and more text\n": {},
		"from a@b Wed Nov 25 23:05:00 2026\n":               {},
	} {
		if _, got, ok := parseFrom([]byte(line)); ok == want.IsZero() || ok && !got.Equal(want) {
			t.Errorf("%q: %v, %t", line, got, ok)
		}
	}
}

func TestWrite(t *testing.T) {
	m := Message{Sender: "ann@example.net", Date: day, Seen: true, Flagged: true, Keywords: []string{"x", "y"}}
	got := write(t, m, "Subject: a\r\nStatus: forged\r\n\r\nFrom me\r\n>From you\n\rthree\r")
	want := "From ann@example.net Wed Nov 25 23:05:00 2026\nStatus: RO\nX-Status: F\nX-Keywords: x y\nSubject: a\n\n>From me\n>>From you\n\rthree\n\n"
	if got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// TestHugeHeadersStayWhole: what lies behind the limit is text.
func TestHugeHeadersStayWhole(t *testing.T) {
	text := strings.Repeat("X-Field: "+strings.Repeat("y", 1000)+"\n", 2000) + "\nbody\n"
	_, texts := read(t, write(t, Message{Date: day}, text))
	if len(texts) != 1 || texts[0] != text {
		t.Errorf("%d messages", len(texts))
	}
}

// TestPythonReadsWhatWeWrite: an independent program sees the same messages and
// flags, and what it writes we read.
func TestPythonReadsWhatWeWrite(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("missing: python3")
	}
	file, copied := filepath.Join(t.TempDir(), "a.mbox"), filepath.Join(t.TempDir(), "b.mbox")
	mails := write(t, Message{Sender: "ann@example.net", Date: day, Seen: true}, "Subject: one\n\nFrom the start\n\nto the end\n") +
		write(t, Message{Date: day, Flagged: true, Answered: true}, "Subject: two\n\nx\n")
	if err := os.WriteFile(file, []byte(mails), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", `
import mailbox, sys
copy = mailbox.mbox(sys.argv[2])
for m in mailbox.mbox(sys.argv[1], create=False):
    print(m.get_from(), m.get_flags(), m['Subject'], repr(m.get_payload()))
    copy.add(m)
copy.flush()
`, file, copied).CombinedOutput()
	want := "ann@example.net Wed Nov 25 23:05:00 2026 RO one '>From the start\\n\\nto the end\\n'\n" +
		"MAILER-DAEMON Wed Nov 25 23:05:00 2026 OAF two 'x\\n'\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
	b, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	list, texts := read(t, string(b))
	if len(list) != 2 || !list[0].Seen || !list[1].Flagged || !list[1].Answered || !strings.Contains(texts[0], "\nto the end\n") {
		t.Errorf("%+v %q", list, texts)
	}
}

// FuzzMbox: any text comes back as it was written, but for the line ends; and any
// file is read without a fault.
func FuzzMbox(f *testing.F) {
	f.Add("Subject: a\n\nFrom b\n", uint8(3))
	f.Add("\n\n>From \r\n\r", uint8(0))
	f.Add("From a@b Wed Nov 25 23:05:00 2026\nStatus: R\n\n\nFrom a@b Wed Nov 25 23:05:00 2026\n\n", uint8(255))
	f.Fuzz(func(t *testing.T, text string, flags uint8) {
		r := NewReader(strings.NewReader(text))
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
		m := Message{Sender: "a@b", Date: day, Seen: flags&1 != 0, Answered: flags&2 != 0, Flagged: flags&4 != 0, Draft: flags&8 != 0, Deleted: flags&16 != 0}
		file := write(t, m, text)
		list, texts := read(t, file+write(t, m, "A: 1\n\nlast\n"))
		if len(list) != 2 || texts[1] != "A: 1\n\nlast\n" || !reflect.DeepEqual(list[0], m) {
			t.Fatalf("%d messages, %+v, of %q", len(list), list, file)
		}
		if again := write(t, list[0], texts[0]); again != file {
			t.Fatalf("%q\nwritten again is\n%q", file, again)
		}
	})
}
