package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"
)

var transferTests = []struct{ encoding, body, want string }{
	{"", "a\nb\r\n", "a\r\nb\r\n"},
	{"7bit", "a\nb\n", "a\r\nb\r\n"},
	{"8BIT", "ü\n", "ü\r\n"},
	{"binary", "a\x00b\n", "a\x00b\r\n"},

	{"base64", "SGVsbG8=", "Hello"},
	{"Base64", "SGVsbG8=\n", "Hello"},
	{"base64", "SGVs\r\nbG8=\r\n", "Hello"},
	{"base64", "S G\tV\nsb\nG8", "Hello"},
	{"base64", "SGVs*bG-8_=", "Hello"},
	{"base64", "SGVsbA", "Hell"},
	{"base64", "SGVsbA==SGVsbA==", "Hell"},
	{"base64", "SGVsbA==\n--\nlist footer", "Hell"},
	{"base64", "S", ""},
	{"base64", "SGVsS", "Hel"},
	{"base64", "", ""},
	{"base64", "=", ""},
	{"base64", "+/+/", "\xfb\xff\xbf"},

	{"quoted-printable", "plain", "plain"},
	{"Quoted-Printable", "=41=42=c3=BC", "ABü"},
	{"quoted-printable", "a=\nb", "ab"},
	{"quoted-printable", "a=\r\nb", "ab"},
	{"quoted-printable", "a= \t\nb", "ab"},
	{"quoted-printable", "a=\t \r\nb", "ab"},
	{"quoted-printable", "a  \t\nb \n", "a\r\nb\r\n"},
	{"quoted-printable", "a b\tc", "a b\tc"},
	{"quoted-printable", "a  ", "a"},
	{"quoted-printable", "a=20\n", "a \r\n"},
	{"quoted-printable", "a=", "a"},
	{"quoted-printable", "a=\n", "a"},
	{"quoted-printable", "a= ", "a"},
	{"quoted-printable", "a=4", "a=4"},
	{"quoted-printable", "=4G", "=4G"},
	{"quoted-printable", "=G1", "=G1"},
	{"quoted-printable", "==41", "=A"},
	{"quoted-printable", "a=b=", "a=b"},
	{"quoted-printable", "= x", "= x"},
	{"quoted-printable", "=\rx", "=\rx"},
	{"quoted-printable", "a=0D=0Ab", "a\r\nb"},
	{"quoted-printable", "", ""},
}

// leaf makes a message with one body.
func leaf(encoding, body string) string {
	return "MIME-Version: 1.0\nContent-Transfer-Encoding: " + encoding + "\n\n" + body
}

func TestBinaryReader(t *testing.T) {
	for _, tt := range transferTests {
		msg := leaf(tt.encoding, tt.body)
		p := scanString(t, msg)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"":         func(r io.Reader) io.Reader { return r },
			"one byte": iotest.OneByteReader,
		} {
			r, err := p.BinaryReader(strings.NewReader(msg))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(wrap(r)); err != nil || string(got) != tt.want {
				t.Errorf("%s %q %s: %q, %v, want %q", tt.encoding, tt.body, name, got, err, tt.want)
			}
		}
		if n, err := p.BinarySize(strings.NewReader(msg)); err != nil || n != int64(len(tt.want)) {
			t.Errorf("%s %q: size %d, %v, want %d", tt.encoding, tt.body, n, err, len(tt.want))
		}
	}
}

func TestDecodersDoNotSeeChunks(t *testing.T) {
	for _, tt := range transferTests {
		for _, d := range []decoder{new(base64Decoder), new(qpDecoder)} {
			if _, isQP := d.(*qpDecoder); isQP != strings.EqualFold(tt.encoding, "quoted-printable") {
				continue
			}
			var got []byte
			for _, c := range []byte(strings.ReplaceAll(strings.ReplaceAll(tt.body, "\r\n", "\n"), "\n", "\r\n")) {
				got = d.decode(got, []byte{c})
			}
			if got = d.finish(got); (tt.encoding == "base64" || tt.encoding == "quoted-printable") && string(got) != tt.want {
				t.Errorf("%s %q byte by byte: %q, want %q", tt.encoding, tt.body, got, tt.want)
			}
		}
	}
}

func TestUnknownEncoding(t *testing.T) {
	msg := leaf("x-uuencode", "begin 644\n")
	p := scanString(t, msg)
	if _, err := p.BinaryReader(strings.NewReader(msg)); !errors.Is(err, ErrUnknownEncoding) {
		t.Errorf("BinaryReader: %v", err)
	}
	if _, err := p.BinarySize(strings.NewReader(msg)); !errors.Is(err, ErrUnknownEncoding) {
		t.Errorf("BinarySize: %v", err)
	}
}

func TestQuotedPrintableKeepsLittleBack(t *testing.T) {
	body := strings.Repeat(" ", 100000) + "x"
	d := new(qpDecoder)
	got := d.finish(d.decode(nil, []byte(body)))
	if string(got) != body {
		t.Errorf("%d bytes of %d", len(got), len(body))
	}
	if cap(d.space) > 4*maxSpace {
		t.Errorf("keeps %d bytes back", cap(d.space))
	}
}

func TestBinaryReaderPassesErrors(t *testing.T) {
	boom := errors.New("boom")
	for _, encoding := range []string{"7bit", "base64", "quoted-printable"} {
		p := scanString(t, leaf(encoding, "abc"))
		r, _ := p.BinaryReader(failingReaderAt{boom})
		if _, err := io.ReadAll(r); err != boom {
			t.Errorf("%s: %v", encoding, err)
		}
		if _, err := p.BinaryReader(strings.NewReader("")); err != nil {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}

func FuzzBase64(f *testing.F) {
	f.Add([]byte("Hello"), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		d := newDecodeReader(strings.NewReader(base64.StdEncoding.EncodeToString(data)), new(base64Decoder))
		if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%q, %v, want %q", got, err, data)
		}
		d1, d2 := new(base64Decoder), new(base64Decoder)
		whole := d1.finish(d1.decode(nil, data))
		n := min(int(size), len(data))
		if pieces := d2.finish(d2.decode(d2.decode(nil, data[:n]), data[n:])); !bytes.Equal(pieces, whole) {
			t.Fatalf("%q, in pieces %q", whole, pieces)
		}
	})
}

func FuzzQuotedPrintable(f *testing.F) {
	for _, tt := range transferTests {
		f.Add([]byte(tt.body), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		var encoded bytes.Buffer
		w := quotedprintable.NewWriter(&encoded)
		w.Binary = true
		w.Write(data)
		w.Close()
		d := new(qpDecoder)
		if got := d.finish(d.decode(nil, encoded.Bytes())); !bytes.Equal(got, data) {
			t.Fatalf("%q, want %q", got, data)
		}
		d1, d2 := new(qpDecoder), new(qpDecoder)
		whole := d1.finish(d1.decode(nil, data))
		n := min(int(size), len(data))
		if pieces := d2.finish(d2.decode(d2.decode(nil, data[:n]), data[n:])); !bytes.Equal(pieces, whole) {
			t.Fatalf("%q, in pieces %q", whole, pieces)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	data := bytes.Repeat([]byte("Some text, as it comes, with \xc3\xbc in it.\n"), 20000)
	var qp bytes.Buffer
	w := quotedprintable.NewWriter(&qp)
	w.Write(data)
	w.Close()
	b64 := []byte(strings.Join(chunks(base64.StdEncoding.EncodeToString(data), 76), "\r\n"))
	for _, bm := range []struct {
		name string
		src  []byte
		d    func() decoder
	}{
		{"base64", b64, func() decoder { return new(base64Decoder) }},
		{"quoted-printable", qp.Bytes(), func() decoder { return new(qpDecoder) }},
		{"utf8", data, func() decoder { return new(utf8Decoder) }},
		{"html", bytes.Repeat([]byte("<p class=\"x\">Some <b>text</b> &amp; more text as it comes</p>\n"), 20000), func() decoder { return new(htmlDecoder) }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(bm.src)))
			b.ReportAllocs()
			for b.Loop() {
				io.Copy(io.Discard, newDecodeReader(bytes.NewReader(bm.src), bm.d()))
			}
		})
	}
}

func chunks(s string, n int) []string {
	var out []string
	for len(s) > n {
		out, s = append(out, s[:n]), s[n:]
	}
	return append(out, s)
}
