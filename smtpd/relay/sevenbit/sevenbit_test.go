package sevenbit

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
)

func convert(text string) (string, error) {
	m, err := New(message.FromBytes([]byte(text)))
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = m.Send(&out)
	return out.String(), err
}

// crlf writes a message's lines as they are on the wire.
func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

func TestConversions(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing to do",
			"Subject: x\n\nhello\n",
			"Subject: x\n\nhello\n"},
		{"8-bit header stays",
			"Subject: é\n\nhello\n",
			"Subject: é\n\nhello\n"},
		{"labelled text",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding:\n 8bit\nSubject: x\n\nGrüße=\nx \n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nSubject: x\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe=3D\nx=20\n"},
		{"no MIME fields at all",
			"Subject: x\n\né\n",
			"Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n"},
		{"no header at all",
			"\né\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n"},
		{"a label without MIME-Version means nothing",
			"Content-Transfer-Encoding: base64\n\né\n",
			"MIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n"},
		{"no text",
			"MIME-Version: 1.0\nContent-Type: image/png\nContent-Transfer-Encoding: 8bit\n\n\x89PNG\n",
			"MIME-Version: 1.0\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw0K"},
		{"binary text",
			"MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: BINARY\n\né\n",
			"MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nw6kNCg=="},
		{"label without need",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n\nplain\n",
			"MIME-Version: 1.0\nContent-Transfer-Encoding: 7bit\n\nplain\n"},
		{"badly quoted",
			"MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9 é=\n.\n",
			"MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9 =C3=A9.\n"},
		{"base64 with dirt",
			"MIME-Version: 1.0\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBé\nORw0K\n",
			"MIME-Version: 1.0\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw0K"},
		{"multipart",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\nprä\n--b\nContent-Transfer-Encoding: 8bit\n\né\n--b\n\nplain\n--b\nContent-Type: text/html\n\n<p>é\n--b é\nContent-Type: application/x\n\né\n--b--\nepilog é\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\npr**\n--b\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--b\n\nplain\n--b\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p>=C3=A9\n--b **\nContent-Type: application/x\nContent-Transfer-Encoding: base64\n\nw6k=\n--b--\nepilog **\n"},
		{"a message inside",
			"MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: é\n\né\n",
			"MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: é\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n"},
		{"a digest",
			"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: x\n\né\n--b--\n",
			"Content-Type: multipart/digest; boundary=b\nMIME-Version: 1.0\n\n--b\n\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9\n--b--\n"},
		{"a message in UTF-8 inside is encoded as a whole",
			"MIME-Version: 1.0\nContent-Type: message/global\n\nSubject: é\n\nx\n",
			"MIME-Version: 1.0\nContent-Type: message/global\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogw6kNCg0KeA0K"},
		{"long lines are broken, and no break makes a boundary",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\né" + strings.Repeat("x", 69) + "--b\n--b--\n",
			"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9" + strings.Repeat("x", 69) + "=\n=2D-b\n--b--\n"},
		{"a bare CR is no line end",
			"MIME-Version: 1.0\nContent-Type: text/plain\n\né\rx\n",
			"MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9=0Dx\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := convert(crlf(c.text))
			if err != nil || got != crlf(c.want) {
				t.Errorf("%v\n got %q\nwant %q", err, got, crlf(c.want))
			}
			if again, err := convert(got); err != nil || again != got {
				t.Errorf("converted again: %q, %v", again, err)
			}
		})
	}
}

func TestWhatCannotBeConverted(t *testing.T) {
	nested := func(depth int) string {
		var b strings.Builder
		for i := range depth {
			b.WriteString("Content-Type: multipart/mixed; boundary=b" + strings.Repeat("x", i) + "\n\n--b" + strings.Repeat("x", i) + "\n")
		}
		return b.String() + "\né\n"
	}
	many := func(parts int) string {
		return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", parts) + "--b\n\né\n"
	}
	for _, c := range []struct{ name, text, why string }{
		{"a piece of a message", "Content-Type: message/partial; id=x; number=1\n\né\n", "piece"},
		{"no boundary", "Content-Type: multipart/mixed\n\né\n", "no parts"},
		{"boundary never met", "Content-Type: multipart/mixed; boundary=b\n\né\n", "no parts"},
		{"8-bit boundary", "Content-Type: multipart/mixed; boundary=é\n\n--é\n\nx\n", "boundary"},
		{"unknown encoding", "Content-Type: text/plain\nContent-Transfer-Encoding: x-uuencode\n\né\n", `"x-uuencode"`},
		{"too deep", nested(message.MaxDepth), "deep"},
		{"too many", many(message.MaxParts), "parts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := convert(crlf(c.text))
			if !errors.Is(err, ErrStructure) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v", err)
			}
			seven := strings.ReplaceAll(crlf(c.text), "é", "e")
			if got, err := convert(seven); err != nil || got != seven {
				t.Errorf("without 8-bit text: %.80q, %v", got, err)
			}
		})
	}
	if _, err := convert(crlf(nested(message.MaxDepth - 2))); err != nil {
		t.Errorf("deep enough: %v", err)
	}
}

func TestReadErrorsAreNoWordOnTheMessage(t *testing.T) {
	text := crlf("Content-Type: text/plain\n\né\n")
	c := message.FromBytes([]byte(text))
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.c = message.FromBytes([]byte(text[:len(text)-3])) // not the file that was scanned
	if err := m.Send(io.Discard); err == nil || errors.Is(err, ErrStructure) {
		t.Errorf("%v", err)
	}
}

// leaves gives every leaf of a message as "type: contents", walking it as the
// conversion does.
func leaves(t testing.TB, text []byte) []string {
	root, err := message.Scan(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	var walk func(p *message.Part)
	walk = func(p *message.Part) {
		if walked(p) {
			for _, c := range p.Children {
				walk(c)
			}
			return
		}
		list = append(list, p.Type+"/"+p.Subtype+": "+string(contents(t, p, text)))
	}
	walk(root)
	return list
}

func contents(t testing.TB, p *message.Part, text []byte) []byte {
	r, err := p.BinaryReader(bytes.NewReader(text))
	if errors.Is(err, message.ErrUnknownEncoding) {
		return text[p.BodyStart:p.End]
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// check holds a conversion to its promises.
func check(t testing.TB, in []byte) {
	m, err := New(message.FromBytes(in))
	if errors.Is(err, ErrStructure) {
		return
	}
	var buf bytes.Buffer
	if err != nil || m.Send(&buf) != nil {
		t.Fatalf("%v", err)
	}
	out := buf.Bytes()
	if want, got := leaves(t, in), leaves(t, out); !slices.Equal(want, got) {
		t.Fatalf("contents changed:\n was %q\nnow %q\n out %q", want, got, out)
	}
	root, _ := message.Scan(bytes.NewReader(out))
	for p := range root.All() {
		if !walked(p) && has8bit(out[p.BodyStart:p.End]) && (p.IsMultipart() || !p.Is("message", "")) {
			t.Fatalf("a body of %s/%s has 8-bit bytes: %q", p.Type, p.Subtype, out)
		}
	}
	for line := range bytes.Lines(out) {
		if has8bit(line) && !bytes.Contains(in, line) {
			t.Fatalf("new 8-bit bytes: %q", line)
		}
		if len(line) > maxLine+2 && !bytes.Contains(in, bytes.TrimRight(line, "\r\n")) && !bytes.Contains(line, []byte("*")) {
			t.Fatalf("a long line: %q", line)
		}
	}
	if !has8bit(in) && bytes.IndexByte(in, '\r') < 0 && len(out) > len(in)+1000 {
		t.Fatalf("much ado about nothing: %q", out)
	}
}

func FuzzConvert(f *testing.F) {
	for _, s := range []string{
		"Subject: x\n\né\n",
		"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\nprä\n--b\nContent-Transfer-Encoding: 8bit\n\né\n--b\nContent-Type: application/x\n\né\n--b--\nepilog é\n",
		"MIME-Version: 1.0\nContent-Type: message/rfc822\nContent-Transfer-Encoding: binary\n\nSubject: é\n\n--é\n",
		"Content-Type: multipart/digest; boundary=\"a b\"\n\n--a b\n\nSubject: x\n\né\n--a b--\n",
		"MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A9 é=\n.\n",
		"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\niVBé\nORw0K\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		// On the wire every CR and LF is part of CRLF.
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r"), nil), []byte("\n"), []byte("\r\n"))
		check(t, text)
	})
}
