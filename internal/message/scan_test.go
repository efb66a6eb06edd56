package message

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scanString scans a message given as a string.
func scanString(t testing.TB, s string) *Part {
	t.Helper()
	p, err := Scan(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// describe writes what a scan found, for golden files.
func describe(p *Part) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ENVELOPE %s\n", quoteWire(p.AppendEnvelope(nil)))
	fmt.Fprintf(&b, "BODYSTRUCTURE %s\n", quoteWire(p.AppendBodyStructure(nil, true)))
	describeTree(&b, p, "")
	return b.String()
}

// quoteWire makes printable lines of wire data.
func quoteWire(b []byte) string {
	var out strings.Builder
	for _, c := range string(b) {
		switch {
		case c == '\n':
			out.WriteString("\n\t")
		case c < ' ' || c == 0xfffd:
			fmt.Fprintf(&out, "<%02x>", c)
		default:
			out.WriteRune(c)
		}
	}
	return strings.ReplaceAll(out.String(), "<0d>\n", "\n")
}

func describeTree(b *strings.Builder, p *Part, indent string) {
	fmt.Fprintf(b, "%s%s/%s header %d+%d (%d, %d lines) body %d+%d (%d, %d lines)\n", indent, p.Type, p.Subtype,
		p.HeaderStart, p.BodyStart-p.HeaderStart, p.HeaderVSize, p.HeaderLines,
		p.BodyStart, p.End-p.BodyStart, p.BodyVSize, p.BodyLines)
	for _, c := range p.Children {
		describeTree(b, c, indent+"  ")
	}
}

// TestScanGolden keeps what is found in each test message as it is.
func TestScanGolden(t *testing.T) {
	names, messages := messageFiles(t)
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			got := describe(scanString(t, string(messages[i])))
			file := "testdata/messages/" + name + ".golden"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// TestScanDoesNotSeeChunks writes each message in chunks of every small size.
func TestScanDoesNotSeeChunks(t *testing.T) {
	names, messages := messageFiles(t)
	for i, name := range names {
		want := scanString(t, string(messages[i]))
		for _, size := range []int{1, 2, 3, 5, 7, 11, 64, 83, 1000} {
			s := NewScanner()
			for chunk := messages[i]; len(chunk) > 0; {
				n := min(size, len(chunk))
				s.Write(chunk[:n])
				chunk = chunk[n:]
			}
			if got := s.Finish(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s in chunks of %d:\n%swant\n%s", name, size, describe(got), describe(want))
			}
		}
	}
}

// TestScanDoesNotSeeLineEnds compares each message with itself stored with CRLF.
func TestScanDoesNotSeeLineEnds(t *testing.T) {
	names, messages := messageFiles(t)
	for i, name := range names {
		if bytes.IndexByte(messages[i], '\r') >= 0 {
			continue
		}
		crlf := scanString(t, strings.ReplaceAll(string(messages[i]), "\n", "\r\n"))
		lf := scanString(t, string(messages[i]))
		if a, b := crlf.AppendBodyStructure(nil, true), lf.AppendBodyStructure(nil, true); !bytes.Equal(a, b) {
			t.Errorf("%s: BODYSTRUCTURE\nCRLF %s\nLF   %s", name, a, b)
		}
		if crlf.Size() != crlf.VSize() || crlf.VSize() != lf.VSize() {
			t.Errorf("%s: with CRLF %d bytes, virtual %d; with LF virtual %d", name, crlf.Size(), crlf.VSize(), lf.VSize())
		}
	}
}

// checkTree reports what is wrong with the offsets of a tree over size bytes.
func checkTree(p *Part, size int64) error {
	if p.HeaderStart != 0 || p.End != size {
		return fmt.Errorf("root is [%d,%d) of %d bytes", p.HeaderStart, p.End, size)
	}
	depth, parts := 0, 0
	return checkPart(p, &depth, &parts)
}

func checkPart(p *Part, depth, parts *int) error {
	if *depth++; *depth > MaxDepth {
		return fmt.Errorf("deeper than %d", MaxDepth)
	}
	if *parts++; *parts > MaxParts {
		return fmt.Errorf("more than %d parts", MaxParts)
	}
	switch {
	case p.HeaderStart > p.BodyStart || p.BodyStart > p.End:
		return fmt.Errorf("header at %d, body at %d, end at %d", p.HeaderStart, p.BodyStart, p.End)
	case p.HeaderVSize < p.BodyStart-p.HeaderStart || p.HeaderVSize > p.BodyStart-p.HeaderStart+p.HeaderLines:
		return fmt.Errorf("header of %d bytes and %d lines has virtual size %d", p.BodyStart-p.HeaderStart, p.HeaderLines, p.HeaderVSize)
	case p.BodyVSize < p.End-p.BodyStart || p.BodyVSize > p.End-p.BodyStart+p.BodyLines:
		return fmt.Errorf("body of %d bytes and %d lines has virtual size %d", p.End-p.BodyStart, p.BodyLines, p.BodyVSize)
	case p.Type == "" || p.Subtype == "":
		return fmt.Errorf("type %q/%q", p.Type, p.Subtype)
	case isMessageType(p.Type, p.Subtype) != (len(p.Children) == 1 && p.Children[0].Summary != nil):
		return fmt.Errorf("%s/%s with %d children", p.Type, p.Subtype, len(p.Children))
	}
	at := p.BodyStart
	for _, c := range p.Children {
		if c.HeaderStart < at || c.End > p.End {
			return fmt.Errorf("child [%d,%d) in the body [%d,%d), after %d", c.HeaderStart, c.End, p.BodyStart, p.End, at)
		}
		if err := checkPart(c, depth, parts); err != nil {
			return err
		}
		at = c.End
	}
	*depth--
	return nil
}

// nest wraps a message n times.
func nest(n int, head, tail string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, head, i)
	}
	b.WriteString("\ntext\n")
	for i := n - 1; i >= 0 && tail != ""; i-- {
		fmt.Fprintf(&b, tail, i)
	}
	return b.String()
}

func TestScanBoundsDepth(t *testing.T) {
	multi := nest(5000, "Content-Type: multipart/mixed; boundary=b%d.\n\n--b%[1]d.\n", "--b%d.--\n")
	for name, msg := range map[string]string{
		"multipart": multi,
		"message":   nest(5000, "Content-Type: message/rfc822; n=%d\n\n", ""),
	} {
		p := scanString(t, msg)
		if err := checkTree(p, int64(len(msg))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		depth := 0
		for q := range p.All() {
			if depth++; len(q.Children) == 0 && !q.Is("application", "octet-stream") {
				t.Errorf("%s: the deepest part is %s/%s", name, q.Type, q.Subtype)
			}
		}
		if depth != MaxDepth {
			t.Errorf("%s: depth %d, want %d", name, depth, MaxDepth)
		}
	}
}

func TestScanBoundsParts(t *testing.T) {
	head := "Content-Type: multipart/digest; boundary=b\n\n"
	for name, part := range map[string]string{"text": "--b\nContent-Type: text/plain\n\nx\n", "message": "--b\n\nSubject: x\n\nx\n", "empty": "--b\n"} {
		msg := head + strings.Repeat(part, 3*MaxParts)
		p := scanString(t, msg)
		if err := checkTree(p, int64(len(msg))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		parts := 0
		for range p.All() {
			parts++
		}
		if parts != MaxParts {
			t.Errorf("%s: %d parts, want %d", name, parts, MaxParts)
		}
	}
}

func TestScanBoundsHeaderMemory(t *testing.T) {
	field := "Subject: " + strings.Repeat("a", 10<<20) + "\n"
	p := scanString(t, field+"To: b@x\n\nbody\n")
	if n := len(p.Summary.Subject); n < maxField/2 || n > maxField {
		t.Errorf("kept %d bytes of the field, want at most %d", n, maxField)
	}
	if p.Summary.To != "b@x" {
		t.Errorf("To = %q behind a long field", p.Summary.To)
	}
	var b strings.Builder
	b.WriteString("Content-Type: multipart/mixed; boundary=b\n\n")
	for range 100 {
		b.WriteString("--b\nContent-Description: " + strings.Repeat("d ", 100<<10) + "\n\nx\n")
	}
	kept := 0
	for q := range scanString(t, b.String()).All() {
		kept += len(q.Description)
	}
	if kept == 0 || kept > maxHeaders {
		t.Errorf("kept %d bytes in all, want at most %d", kept, maxHeaders)
	}
}

// TestLongInputTakesLinearTime runs what once took quadratic time, or could: it
// would take minutes then.
func TestLongInputTakesLinearTime(t *testing.T) {
	const size = 1 << 18
	for _, piece := range []string{
		"To: a@b\n", "To:a\n", "a\n", " \n", "--\n", "Content-Type: x/y\n", "\x00", "\r", "\"", "\\", "\"\\\"", "(", ")", "[", "<", "<@", "@", ":", ",", ";", "=?",
		"=?a?q?", "=?a?q?b?= ", "[a]", "[a] ", "re:", "[fwd:", "fwd[a]:", "(fwd)", "a*0=b;", "a=\"", "\xc3", "é", "<a ", "<a b=\"", "&", "<!--", "<script>", "=", " ",
	} {
		text := strings.Repeat(piece, size/len(piece))
		msg := "Subject: " + text + "\nTo: " + text + "\nContent-Type: multipart/mixed; boundary=b; " + text + "\n\n--b\n" + text +
			"\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n" + text
		p := scanString(t, msg)
		p.AppendEnvelope(nil)
		p.AppendBodyStructure(nil, true)
		BaseSubject(text)
		DecodeText(text)
		ParseAddressList(text)
		ParseDate(text)
		MessageIDs(text)
		AppendHeaderFields(nil, []byte(msg), []string{"Subject"}, false)
		if found, err := p.MatchText(strings.NewReader(msg), NewMatcher("not in it at all")); found || err != nil {
			t.Errorf("%q: %v, %v", piece, found, err)
		}
	}
}

func TestScanPassesReadErrors(t *testing.T) {
	boom := errors.New("boom")
	if _, err := Scan(io.MultiReader(strings.NewReader("Subject: x\n"), iotest.ErrReader(boom))); !errors.Is(err, boom) {
		t.Errorf("err = %v", err)
	}
}

func TestScanKeepsNoReferenceToItsInput(t *testing.T) {
	msg := []byte("Subject: hello\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\nContent-Type: text/html\n\nx\n--bb--\n")
	s := NewScanner()
	s.Write(msg[:80])
	rest := bytes.Clone(msg[80:])
	clear(msg)
	s.Write(rest)
	p := s.Finish()
	if p.Summary.Subject != "hello" || len(p.Children) != 1 || p.Param("boundary") != "bb" {
		t.Errorf("got %s", describe(p))
	}
}

func FuzzScan(f *testing.F) {
	_, messages := messageFiles(f)
	for _, m := range messages {
		f.Add(m, uint8(7))
	}
	f.Fuzz(func(t *testing.T, msg []byte, size uint8) {
		p := scanString(t, string(msg))
		if err := checkTree(p, int64(len(msg))); err != nil {
			t.Fatal(err)
		}
		s := NewScanner()
		for b := msg; len(b) > 0; {
			n := min(int(size)+1, len(b))
			s.Write(b[:n])
			b = b[n:]
		}
		if got := s.Finish(); !reflect.DeepEqual(got, p) {
			t.Fatalf("in chunks of %d:\n%s\nwant\n%s", int(size)+1, describe(got), describe(p))
		}
		s.Reset()
		s.Write(msg)
		if got := s.Finish(); !reflect.DeepEqual(got, p) {
			t.Fatalf("after Reset:\n%s\nwant\n%s", describe(got), describe(p))
		}
		for q := range p.All() {
			wireFuzz(t, q)
			for _, e := range []Extent{q.Header(), q.Body(), q.Whole()} {
				n, err := io.Copy(io.Discard, e.Reader(bytes.NewReader(msg)))
				if err != nil || n != e.VSize {
					t.Fatalf("%v: read %d bytes, %v", e, n, err)
				}
			}
		}
	})
}

// wireFuzz checks the syntax of what a part writes.
func wireFuzz(t *testing.T, p *Part) {
	for _, b := range [][]byte{
		p.AppendEnvelope(nil), p.AppendEnvelopeUTF8(nil), p.AppendBodyStructure(nil, true),
		p.AppendBodyStructure(nil, false), p.AppendBodyStructureUTF8(nil, true),
	} {
		v, rest, err := parseWire(b)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%v, rest %q, in %q", err, rest, b)
		}
		if _, ok := v.([]any); !ok {
			t.Fatalf("%q is no list", b)
		}
	}
}

// message5MB is a mail with a text, an HTML part and a large attachment.
func message5MB() []byte {
	var b bytes.Buffer
	b.WriteString("From: Ann Example <ann@example.org>\nTo: bob@example.net\nSubject: the files\n" +
		"Date: Tue, 3 Mar 2026 10:11:12 +0100\nMessage-ID: <1@example.org>\nMIME-Version: 1.0\n" +
		"Content-Type: multipart/mixed; boundary=\"=_mixed\"\n\n--=_mixed\nContent-Type: text/plain; charset=utf-8\n\nHello\n" +
		"--=_mixed\nContent-Type: application/pdf; name=\"x.pdf\"\nContent-Transfer-Encoding: base64\n\n")
	line := strings.Repeat("QUJDREVGR0hJSktM", 5)[:76] + "\n"
	for b.Len() < 5<<20 {
		b.WriteString(line)
	}
	b.WriteString("--=_mixed--\n")
	return b.Bytes()
}

// message10KB is a usual mail: trace fields, alternative of text and HTML.
func message10KB() []byte {
	var b bytes.Buffer
	for i := range 8 {
		fmt.Fprintf(&b, "Received: from mx%d.example.org (mx%d.example.org [192.0.2.%d])\n\tby in.example.net with ESMTPS id abcdef%d\n\tfor <bob@example.net>; Tue, 3 Mar 2026 10:11:12 +0100\n", i, i, i, i)
	}
	b.WriteString("DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s1;\n\th=from:to:subject; bh=" + strings.Repeat("x", 44) + ";\n\tb=" + strings.Repeat("y", 300) + "\n" +
		"From: \"Example, Ann\" <ann@example.org>\nTo: Bob <bob@example.net>, carol@example.com\nCc: dave@example.com\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= and more\n" +
		"Date: Tue, 3 Mar 2026 10:11:12 +0100\nMessage-ID: <1@example.org>\nReferences: <0@example.org>\nMIME-Version: 1.0\n" +
		"Content-Type: multipart/alternative; boundary=\"=_alt\"\n\n--=_alt\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n")
	for range 40 {
		b.WriteString("This is a line of text as people write it, with some =C3=BC in it.\n")
	}
	b.WriteString("--=_alt\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<html><body>\n")
	for b.Len() < 10<<10 {
		b.WriteString("<p style=3D\"margin:0\">This is a <b>line</b> of text as people write it.</p>\n")
	}
	b.WriteString("</body></html>\n--=_alt--\n")
	return b.Bytes()
}

func BenchmarkScan(b *testing.B) {
	large := message5MB()
	for name, msg := range map[string][]byte{
		"10KB":     message10KB(),
		"5MB":      large,
		"5MB-CRLF": bytes.ReplaceAll(large, []byte("\n"), []byte("\r\n")),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				s := NewScanner()
				s.Write(msg)
				s.Finish()
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	p, err := Scan(bytes.NewReader(message10KB()))
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.Run("Envelope", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = p.AppendEnvelope(buf[:0])
		}
	})
	b.Run("BodyStructure", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = p.AppendBodyStructure(buf[:0], true)
		}
	})
}
