package message

import (
	"fmt"
	"strings"
	"testing"
)

// showParams writes parameters as name=value.
func showParams(params []Param) string {
	var out []string
	for _, p := range params {
		out = append(out, fmt.Sprintf("%s=%s", p.Name, p.Value))
	}
	return strings.Join(out, " | ")
}

var contentTypeTests = []struct{ value, typ, params, boundary string }{
	{"text/plain", "text/plain", "", ""},
	{" Text / Html ; Charset = UTF-8 ", "Text/Html", "Charset=UTF-8", ""},
	{"text/plain (a (nested) comment); (x) charset (y) = (z) utf-8 (w)", "text/plain", "charset=utf-8", ""},
	{"text/plain charset=utf-8 format=flowed", "text/plain", "charset=utf-8 | format=flowed", ""},
	{"text/plain;;; charset=utf-8;", "text/plain", "charset=utf-8", ""},
	{"text/plain; charset=\"utf-8", "text/plain", "charset=utf-8", ""},
	{`text/plain; name="a\"b\\c;d"`, "text/plain", `name=a"b\c;d`, ""},
	{`text/plain; name=""`, "text/plain", "name=", ""},
	{"text/plain; name=", "text/plain", "name=", ""},
	{"text/plain; name; charset=x", "text/plain", "charset=x", ""},
	{"text/plain; =x; charset=y", "text/plain", "charset=y", ""},
	{"text/plain; name=a b c.txt; x=y", "text/plain", "name=a b c.txt | x=y", ""},
	{"text/plain; x=a b; y=z", "text/plain", "x=a | y=z", ""},
	{"text/plain; a=1; A=2", "text/plain", "a=1", ""},
	{"text/plain; name=a/b?c=d", "text/plain", "name=a/b?c=d", ""},
	{"text/plain; name=ü.txt", "text/plain", "name=ü.txt", ""},
	{"text/plain; n*1=b; n*0=a; x=y", "text/plain", "x=y | n=ab", ""},
	{"text/plain; n*0*=utf-8''a; N*1=b%c; n*2*=%64", "text/plain", "n*=utf-8''ab%25c%64", ""},
	{"text/plain; n*0=a; n*2=c", "text/plain", "n*0=a | n*2=c", ""},
	{"text/plain; n*0=a; n=b", "text/plain", "n=b", ""},
	{"text/plain; *0=a; *=b", "text/plain", "*0=a | *=b", ""},
	{"multipart/mixed; boundary=abc", "multipart/mixed", "boundary=abc", "abc"},
	{"multipart/mixed; boundary=\"a b \"", "multipart/mixed", "boundary=a b ", "a b"},
	{"multipart/mixed; boundary===x==", "multipart/mixed", "boundary===x==", "==x=="},
	{"multipart/mixed; boundary", "multipart/mixed", "", ""},
	{"text/plain; boundary=x", "text/plain", "boundary=x", ""},
	{"", "", "", ""},
	{"text", "", "", ""},
	{"text/", "", "", ""},
	{"/plain", "", "", ""},
	{"<text/plain>", "", "", ""},
	{"\"text/plain\"", "", "", ""},
	{"text;plain", "", "", ""},
}

func TestContentType(t *testing.T) {
	for _, tt := range contentTypeTests {
		var p Part
		boundary := string(p.setContentType([]byte(tt.value)))
		typ := p.Type + "/" + p.Subtype
		if typ == "/" {
			typ = ""
		}
		if typ != tt.typ || showParams(p.Params) != tt.params || boundary != tt.boundary {
			t.Errorf("%q: %s; %s; boundary %q, want %s; %s; %q", tt.value, typ, showParams(p.Params), boundary, tt.typ, tt.params, tt.boundary)
		}
	}
}

func TestContentTypeIsBounded(t *testing.T) {
	var p Part
	p.setContentType([]byte("text/plain" + strings.Repeat("; a*0=b; x*y=z", 100000)))
	if len(p.Params) > maxParams {
		t.Errorf("%d parameters", len(p.Params))
	}
	if got := parseLanguages([]byte(strings.Repeat("de,", 100000))); len(got) > maxParams {
		t.Errorf("%d languages", len(got))
	}
	if got := p.setContentType([]byte("multipart/x; boundary=" + strings.Repeat("b", 500))); len(got) != maxBoundary {
		t.Errorf("boundary of %d bytes", len(got))
	}
}

func TestLanguages(t *testing.T) {
	for value, want := range map[string]string{
		"": "", "de": "de", "de, en-GB": "de|en-GB", "de (German) , en": "de|en", ",de,,en,": "de|en", "de en": "de", "\"de\"": "",
	} {
		if got := strings.Join(parseLanguages([]byte(value)), "|"); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

func FuzzContentType(f *testing.F) {
	for _, tt := range contentTypeTests {
		f.Add(tt.value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var p Part
		p.setContentType([]byte(value))
		if (p.Type == "") != (p.Subtype == "") {
			t.Fatalf("%q: type %q/%q", value, p.Type, p.Subtype)
		}
		p.setDisposition([]byte(value))
		seen := map[string]bool{}
		for _, param := range p.Params {
			if name := strings.ToLower(param.Name); seen[name] {
				t.Fatalf("%q: %q twice", value, param.Name)
			} else {
				seen[name] = true
			}
			p.Param(strings.TrimSuffix(param.Name, "*"))
		}
		if len(p.Params) > maxParams {
			t.Fatalf("%d parameters", len(p.Params))
		}
	})
}
