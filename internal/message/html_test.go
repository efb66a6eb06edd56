package message

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

var htmlTests = []struct{ in, want string }{
	{"plain", "plain"},
	{"a<b>b</b>c", "abc"},
	{"a<br>b", "a\nb"},
	{"a<br/>b", "a\nb"},
	{"<P CLASS=x>a</P >b", "\na\nb"},
	{"<td>a</td><td>b</td>", "\na\n\nb\n"},
	{"a < b", "a < b"},
	{"a <3 b", "a <3 b"},
	{"a<", "a<"},
	{"a</", "a</"},
	{"a</>b", "ab"},
	{"a</ x>b", "ab"},
	{"a<?php echo '>' ?>b", "a' ?>b"},
	{"a<!DOCTYPE html>b", "ab"},
	{"a<!-- <b>x</b> -->b", "ab"},
	{"a<!-->b-->c", "ab-->c"},
	{"a<!--->b", "ab"},
	{"a<!-- -- > -->b", "ab"},
	{"a<!-- --!>b", "ab"},
	{"a<!-x>b", "ab"},
	{"a<!-- x", "a"},
	{"<a href=\"x>y\">a</a>", "a"},
	{"<a href='x>y'>a</a>", "a"},
	{"<a href = \"x>y\" title='>'>a</a>", "a"},
	{"<a href=x'y>a</a>", "a"},
	{"<a \"x\">a</a>", "a"},
	{"<a b", ""},
	{"<img src=\"data:xxx\">a", "\na"},
	{"&lt;b&gt; &amp; &quot;x&quot; &#65;&#x42;&#X43; &uuml; &nbsp;.", "<b> & \"x\" ABC ü \u00a0."},
	{"&amp", "&"},
	{"&ampx", "&x"},
	{"&nosuch; &; & &#; &#x; &x", "&nosuch; &; & &#; &#x; &x"},
	{"&" + strings.Repeat("a", 100) + ";", "&" + strings.Repeat("a", 100) + ";"},
	{"a&lt", "a<"},
	{"&lt<b>x", "<x"},
	{"a<script>var x = '<p>no</p>';</script>b", "ab"},
	{"a<SCRIPT type='x'>no</Script >b", "ab"},
	{"a<style>p { color: red }</style>b", "ab"},
	{"a<script>x</scripty>y</script>b", "ab"},
	{"a<script>x < y && z <!-- </script>b", "ab"},
	{"a<script>x</script", "a"},
	{"a<script>x", "a"},
	{"a<" + strings.Repeat("x", 100) + ">b", "a\nb"},
	{"<title>T &amp; t</title>", "\nT & t\n"},
}

func TestHTMLText(t *testing.T) {
	for _, tt := range htmlTests {
		for _, size := range []int{len(tt.in), 1, 2, 3} {
			d := new(htmlDecoder)
			var got []byte
			for _, chunk := range chunks(tt.in, size) {
				got = d.decode(got, []byte(chunk))
			}
			if got = d.finish(got); string(got) != tt.want {
				t.Errorf("%q in chunks of %d: %q, want %q", tt.in, size, got, tt.want)
			}
		}
	}
}

// referenceHTML is the text that the tokenizer of golang.org/x/net finds,
// without any white space.
func referenceHTML(s string) string {
	var out strings.Builder
	z := html.NewTokenizer(strings.NewReader(s))
	skip := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return strings.Join(strings.Fields(out.String()), "")
		case html.TextToken:
			if !skip {
				out.Write(z.Text())
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			skip = string(name) == "script" || string(name) == "style"
		default:
			skip = false
		}
	}
}

func TestHTMLAgreesWithTheTokenizer(t *testing.T) {
	for _, tt := range htmlTests {
		got := new(htmlDecoder).finish(nil)
		d := new(htmlDecoder)
		got = d.finish(d.decode(got, []byte(tt.in)))
		if text := strings.Join(strings.Fields(string(got)), ""); text != referenceHTML(tt.in) {
			t.Errorf("%q: %q, tokenizer %q", tt.in, text, referenceHTML(tt.in))
		}
	}
}

func FuzzHTML(f *testing.F) {
	for _, tt := range htmlTests {
		f.Add([]byte(tt.in), uint8(2))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		d := new(htmlDecoder)
		want := d.finish(d.decode(nil, in))
		pieces, err := io.ReadAll(newDecodeReader(io.MultiReader(
			bytes.NewReader(in[:min(int(size), len(in))]), bytes.NewReader(in[min(int(size), len(in)):])), new(htmlDecoder)))
		if err != nil || !bytes.Equal(pieces, want) {
			t.Fatalf("%q: %q, in pieces %q, %v", in, want, pieces, err)
		}
		d = new(htmlDecoder)
		var slow []byte
		for i := range in {
			slow = d.decode(slow, in[i:i+1])
		}
		if slow = d.finish(slow); !bytes.Equal(slow, want) {
			t.Fatalf("%q: %q, byte by byte %q", in, want, slow)
		}
		if len(want) > 2*len(in)+1 {
			t.Fatalf("%d bytes give %d", len(in), len(want))
		}
	})
}
