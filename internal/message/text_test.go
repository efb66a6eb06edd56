package message

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestTextReader(t *testing.T) {
	for _, tt := range []struct{ header, body, want string }{
		{"", "plain\n", "plain\n"},
		{"Content-Type: text/plain; charset=utf-8", "grün", "grün"},
		{"Content-Type: text/plain; charset=iso-8859-1", "gr\xfcn", "grün"},
		{"Content-Type: text/plain; charset=ISO-8859-1\nContent-Transfer-Encoding: quoted-printable", "gr=FCn", "grün"},
		{"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64", "Z3LDvG4=", "grün"},
		{"Content-Type: text/plain; charset=utf-16le\nContent-Transfer-Encoding: base64", "ZwByAPwAbgA=", "grün"},
		{"Content-Type: text/plain; charset*=''utf-8", "grün", "grün"},
		{"Content-Type: text/plain; charset=no-such", "gr\xfcn", "grün"},
		{"Content-Type: text/plain", "gr\xfcn \xc3\xbc \xe2\x82", "grün ü â‚"},
		{"Content-Type: text/plain\nContent-Transfer-Encoding: x-none", "as it is", "as it is"},
		{"Content-Type: text/html", "<p>a<b>b</b> &uuml; c<br>d</p>", "\nab ü c\nd\n"},
		{"Content-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable", "<a href=3D\"x\">gr=FC=\nn</a>", "grün"},
		{"Content-Type: message/delivery-status", "Status: 5.1.1\n", "Status: 5.1.1\n"},
		{"Content-Type: text/plain; charset=utf-8", "\xff\xfe", "ÿþ"},
	} {
		msg := "MIME-Version: 1.0\n" + tt.header + "\n\n" + tt.body
		if tt.header == "" {
			msg = "Subject: x\n\n" + tt.body
		}
		p := scanString(t, msg)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"":         func(r io.Reader) io.Reader { return r },
			"one byte": iotest.OneByteReader,
		} {
			got, err := io.ReadAll(wrap(p.TextReader(strings.NewReader(msg))))
			if err != nil || string(got) != tt.want || !utf8.Valid(got) {
				t.Errorf("%q %q %s: %q, %v, want %q", tt.header, tt.body, name, got, err, tt.want)
			}
		}
	}
}

func TestUTF8DecoderDoesNotSeeChunks(t *testing.T) {
	for text, want := range map[string]string{
		"grün €\U0001f600":  "grün €\U0001f600",
		"\xe2\x82x\xf0\x9f": "â‚xðŸ",
		"\xc3":              "Ã",
		"a\xfcb":            "aüb",
		"\x80\x80\x80\x80":  "€€€€",
		"\xf0\x9f\x98":      "ðŸ˜",
	} {
		for size := 1; size <= len(text); size++ {
			d := new(utf8Decoder)
			var got []byte
			for _, chunk := range chunks(text, size) {
				got = d.decode(got, []byte(chunk))
			}
			if got = d.finish(got); string(got) != want {
				t.Errorf("%q in chunks of %d: %q, want %q", text, size, got, want)
			}
		}
	}
}

func TestPreview(t *testing.T) {
	multi := "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n"
	for _, tt := range []struct{ name, msg, want string }{
		{"plain", "Subject: x\n\nHello,\n\n  this is\ttext.\n", "Hello, this is text."},
		{"long", "Subject: x\n\n" + strings.Repeat("ü", 500), strings.Repeat("ü", 200)},
		{"cut at a space", "Subject: x\n\n" + strings.Repeat("u", 199) + " more", strings.Repeat("u", 199)},
		{"none", "Content-Type: image/png\n\nx", ""},
		{"empty", "", ""},
		{"plain before html", multi + "--b\nContent-Type: text/html\n\n<p>html\n--b\n\nplain\n--b--\n", "plain"},
		{"html", multi + "--b\nContent-Type: text/html\n\n<style>x</style><p>html &amp; more\n--b--\n", "html & more"},
		{"html when plain is empty", multi + "--b\n\n \n\n--b\nContent-Type: text/html\n\n<p>html\n--b--\n", "html"},
		{"no attachment", multi + "--b\nContent-Type: text/plain\nContent-Disposition: attachment\n\nfile\n--b\n\nplain\n--b--\n", "plain"},
	} {
		p := scanString(t, tt.msg)
		if got, err := p.Preview(strings.NewReader(tt.msg)); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
	boom := errors.New("boom")
	if _, err := scanString(t, "\nbody").Preview(failingReaderAt{boom}); err != boom {
		t.Errorf("err = %v", err)
	}
}
