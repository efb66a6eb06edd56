package smtpd

import (
	"bytes"
	"errors"
	"io"
	"net/mail"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestReadHeaderFindsItsEnd(t *testing.T) {
	for _, c := range []struct{ in, block, rest string }{
		{"A: 1\r\nB: 2\r\n\r\nbody\r\n", "A: 1\r\nB: 2\r\n", "\r\nbody\r\n"},
		{"A: 1\r\n", "A: 1\r\n", ""},
		{"", "", ""},
		{"\r\nbody\r\n", "", "\r\nbody\r\n"},
		{"A: 1\r\n\r\n", "A: 1\r\n", "\r\n"},
		{"A: 1\r\n\r\n\r\nbody\r\n", "A: 1\r\n", "\r\n\r\nbody\r\n"},
	} {
		for name, src := range map[string]io.Reader{
			"at once":      strings.NewReader(c.in),
			"byte by byte": iotest.OneByteReader(strings.NewReader(c.in)),
			"data and EOF": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			block, rest, err := readHeader(src, 1000)
			more, _ := io.ReadAll(src)
			if got := string(rest) + string(more); string(block) != c.block || got != c.rest || err != nil {
				t.Errorf("%q %s: %q, %q, %v", c.in, name, block, got, err)
			}
		}
	}
}

func TestReadHeaderIsBounded(t *testing.T) {
	big := strings.Repeat("A: 1\r\n", 100)
	for in, want := range map[string]error{
		big + "\r\n":                       nil,
		big + "B: 2\r\n\r\n" + big:         errHeaderTooBig,
		big + "B: 2\r\n":                   errHeaderTooBig,
		strings.Repeat("no end ", 100_000): errHeaderTooBig,
	} {
		if _, _, err := readHeader(strings.NewReader(in), len(big)); !errors.Is(err, want) {
			t.Errorf("%.20q (%d): %v", in, len(in), err)
		}
	}
	boom := errors.New("boom")
	if _, _, err := readHeader(iotest.ErrReader(boom), 10); !errors.Is(err, boom) {
		t.Errorf("err = %v", err)
	}
}

func TestParseFields(t *testing.T) {
	for _, c := range []struct{ block, fields, junk string }{
		{"A: 1\r\nLong: x\r\n y\r\n\tz\r\nB:2\r\n", "a=1|long=x y\tz|b=2", ""},
		{"Old : x\r\n", "old=x", ""},
		{"A: 1\r\nno field\r\nB: 2\r\n", "a=1", "no field\r\nB: 2\r\n"},
		{" continued\r\nA: 1\r\n", "", " continued\r\nA: 1\r\n"},
		{": x\r\n", "", ": x\r\n"},
		{"From x@y Mon\r\nA: 1\r\n", "", "From x@y Mon\r\nA: 1\r\n"},
		{"caf\u00e9: x\r\n", "", "caf\u00e9: x\r\n"},
	} {
		fields, junk := parseFields([]byte(c.block))
		var got []string
		for _, f := range fields {
			got = append(got, f.name+"="+f.body())
		}
		if strings.Join(got, "|") != c.fields || string(junk) != c.junk {
			t.Errorf("%q: %q, junk %q", c.block, got, junk)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, s := range []string{"A: 1\r\n b\r\nFrom: alice@here.test\r\n\r\nbody\r\n", "From x\r\nFrom: alice@here.test\r\n", ":\r\n\r\n", "Bcc: x\r\n\ty\r\n\r\n", "From: alice@here.test\r\nBcc : x\r\njunk\r\nBcc: y\r\n"} {
		f.Add([]byte(s))
	}
	o := Options{Mode: Submission, Hostname: "mx.test", SenderAllowed: func(_, a string) bool { return a == "alice@here.test" }}
	s := &session{server: &Server{o: o.withDefaults()}}
	now := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	f.Fuzz(func(t *testing.T, in []byte) {
		text, err := io.ReadAll(&lineReader{src: bytes.NewReader(in), repair: true})
		if err != nil {
			return
		}
		block, rest, err := readHeader(bytes.NewReader(text), 64<<10)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if !bytes.HasPrefix(text, append(block[:len(block):len(block)], rest...)) {
			t.Fatalf("%q is split into %q and %q", text, block, rest)
		}
		fields, junk := parseFields(block)
		var joined []byte
		for _, f := range fields {
			joined = append(joined, f.raw...)
		}
		if !bytes.Equal(append(joined, junk...), block) {
			t.Fatalf("%q: fields lose bytes", block)
		}
		tx := &transaction{peer: peer{account: "alice"}}
		tx.env.ReversePath, tx.env.Trace = "alice@here.test", "t1"
		header, _, err := s.complete(tx, fields, junk, now)
		if err != nil {
			return
		}
		checkCompleted(t, header)
	})
}

// checkCompleted reads a header as a receiver does.
func checkCompleted(t *testing.T, header []byte) {
	t.Helper()
	block, _, err := readHeader(bytes.NewReader(header), len(header)+4)
	if err != nil {
		t.Fatal(err)
	}
	fields, junk := parseFields(block)
	if len(junk) > 0 {
		t.Fatalf("%q still has junk %q", header, junk)
	}
	for name, want := range map[string]int{"from": 1, "bcc": 0, "resent-bcc": 0} {
		if n := count(fields, name); n != want {
			t.Errorf("%d %s fields in %q", n, name, header)
		}
	}
	if count(fields, "date") == 0 || count(fields, "message-id") == 0 {
		t.Errorf("incomplete: %q", header)
	}
	m, err := mail.ReadMessage(bytes.NewReader(append(block, "\r\n"...)))
	if err != nil {
		return // net/mail is stricter about names
	}
	for _, a := range m.Header["From"] {
		if !strings.Contains(a, "alice@here.test") {
			t.Errorf("author %q", a)
		}
	}
}
