package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// countingWriter counts the writes, since each is a system call or a TLS record.
type countingWriter struct {
	bytes.Buffer
	writes int
	err    error
}

func (w *countingWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.writes++
	return w.Buffer.Write(p)
}

func TestEncoderWrites(t *testing.T) {
	zone := time.FixedZone("", -8*3600)
	for _, c := range []struct {
		name  string
		utf8  bool
		write func(*Encoder)
		want  string
	}{
		{"line", false, func(e *Encoder) { e.Raw("* ").Number(3).SP().Raw("EXISTS").CRLF() }, "* 3 EXISTS\r\n"},
		{"quoted", false, func(e *Encoder) { e.String(`a "b" \c`) }, `"a \"b\" \\c"`},
		{"empty string", false, func(e *Encoder) { e.String("") }, `""`},
		{"line end as literal", false, func(e *Encoder) { e.String("a\r\nb") }, "{4}\r\na\r\nb"},
		{"8-bit as literal", false, func(e *Encoder) { e.String("ü") }, "{2}\r\nü"},
		{"UTF-8 quoted", true, func(e *Encoder) { e.String("ü") }, `"ü"`},
		{"not UTF-8 as literal", true, func(e *Encoder) { e.String("\xfc") }, "{1}\r\n\xfc"},
		{"NIL", false, func(e *Encoder) { e.NString("x", false) }, "NIL"},
		{"nstring", false, func(e *Encoder) { e.NString("NIL", true) }, `"NIL"`},
		{"atom", false, func(e *Encoder) { e.AString("INBOX") }, "INBOX"},
		{"no atom", false, func(e *Encoder) { e.AString("a b") }, `"a b"`},
		{"wildcard is no atom", false, func(e *Encoder) { e.AString("a%") }, `"a%"`},
		{"name NIL", false, func(e *Encoder) { e.AString("Nil") }, `"Nil"`},
		{"empty astring", false, func(e *Encoder) { e.AString("") }, `""`},
		{"mailbox", false, func(e *Encoder) { e.Mailbox("Füß & x") }, `"F&APwA3w- &- x"`},
		{"mailbox in UTF-8", true, func(e *Encoder) { e.Mailbox("Füß & x") }, `"Füß & x"`},
		{"text is one line of ASCII", false, func(e *Encoder) { e.Text("a\r\n* BYE ü") }, "a  * BYE ?"},
		{"text in UTF-8", true, func(e *Encoder) { e.Text("ü\x00") }, "ü "},
		{"literal", false, func(e *Encoder) { e.Literal(3, strings.NewReader("abcdef")) }, "{3}\r\nabc"},
		{"literal8", false, func(e *Encoder) { e.Literal8(1, strings.NewReader("\x00")) }, "~{1}\r\n\x00"},
		{"date-time", false, func(e *Encoder) {
			e.Bytes(AppendDateTime(nil, time.Date(1994, 2, 1, 21, 52, 25, 0, zone)))
		}, `" 1-Feb-1994 21:52:25 -0800"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w countingWriter
			e := NewEncoder(&w)
			e.SetUTF8(c.utf8)
			c.write(e)
			if err := e.Flush(); err != nil {
				t.Fatal(err)
			}
			if w.String() != c.want {
				t.Errorf("got %q, want %q", w.String(), c.want)
			}
		})
	}
}

func TestEncoderFlushesOncePerBatch(t *testing.T) {
	var w countingWriter
	e := NewEncoder(&w)
	for range 100 {
		e.Raw("* 1 EXISTS\r\n")
	}
	if e.Flush(); w.writes != 1 {
		t.Errorf("%d writes for 1,200 bytes", w.writes)
	}
	for range 100_000 {
		e.Raw("* 1 EXISTS\r\n")
	}
	if e.Flush(); w.writes > 1+1_200_000/encoderSize+1 {
		t.Errorf("%d writes for 1.2 MB", w.writes)
	}
	if e.pool != nil {
		t.Error("the buffer is held after Flush")
	}
}

func TestEncoderStreamsLargeThings(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 20_000)
	var w countingWriter
	e := NewEncoder(&w)
	e.Raw("a").Literal(int64(len(big)), strings.NewReader(big)).Bytes([]byte(big)).String(big + "\n").Raw("z")
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "a{320000}\r\n" + big + big + "{320001}\r\n" + big + "\nz"
	if w.String() != want {
		t.Error("large parts were damaged")
	}
}

func TestShortLiteralIsAnError(t *testing.T) {
	e := NewEncoder(io.Discard)
	e.Literal(10, strings.NewReader("abc")).Raw(")\r\n")
	if err := e.Flush(); !errors.Is(err, ErrShortLiteral) {
		t.Errorf("Flush: %v, want ErrShortLiteral", err)
	}
}

func TestEncoderErrorIsSticky(t *testing.T) {
	broken := errors.New("broken pipe")
	w := countingWriter{err: broken}
	e := NewEncoder(&w)
	e.Raw("x")
	if err := e.Flush(); err != broken {
		t.Fatal(err)
	}
	w.err = nil
	e.Raw("y").Literal(1, strings.NewReader("z"))
	if err := e.Flush(); err != broken || w.Len() > 0 {
		t.Errorf("wrote %q after an error, Flush: %v", w.String(), err)
	}
}

func TestDecodeMailbox(t *testing.T) {
	for _, c := range []struct {
		raw  string
		utf8 bool
		want string
		bad  bool
	}{
		{"inbox", false, "INBOX", false},
		{"Inbox/Sub", false, "INBOX/Sub", false},
		{"inboxes", false, "inboxes", false},
		{"F&APw-r", false, "Für", false},
		{"F&APw-r", true, "F&APw-r", false},
		{"Für", true, "Für", false},
		{"Für", false, "Für", false},
		{"Für &- x", false, "Für & x", false},
		{"Für &- x", true, "Für &- x", false},
		{"A&B", false, "", true},
		{"A&B", true, "A&B", false},
		{"\xfc", false, "", true},
	} {
		got, err := DecodeMailbox(c.raw, c.utf8, '/')
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("DecodeMailbox(%q, %v) = %q, %v", c.raw, c.utf8, got, err)
		}
	}
}
