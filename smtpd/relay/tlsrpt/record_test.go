package tlsrpt

import (
	"slices"
	"strings"
	"testing"
)

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		name  string
		texts []string
		want  []string
	}{
		{"mail", []string{"v=TLSRPTv1; rua=mailto:r@a.example"}, []string{"mailto:r@a.example"}},
		{"web", []string{"v=TLSRPTv1;rua=https://r.a.example/v1/tls"}, []string{"https://r.a.example/v1/tls"}},
		{"both, spaced, with more", []string{" other", "v = TLSRPTv1 ; rua = mailto:r@a.example , https://r.a.example/ ; x=y"}, []string{"mailto:r@a.example", "https://r.a.example/"}},
		{"two records", []string{"v=TLSRPTv1; rua=mailto:r@a.example", "v=TLSRPTv1; rua=mailto:s@a.example"}, nil},
		{"another version", []string{"v=TLSRPTv2; rua=mailto:r@a.example"}, nil},
		{"no rua", []string{"v=TLSRPTv1;"}, nil},
		{"unusable addresses", []string{"v=TLSRPTv1; rua=ftp://a.example/,mailto:,mailto:nobody,http://a.example/,https:///x,https://u:p@a.example/,mailto:Bob <r@a.example>,mailto:a@b%0d%0aRCPT,mailto:ok@a.example"}, []string{"mailto:ok@a.example"}},
		{"too many", []string{"v=TLSRPTv1; rua=" + strings.Repeat("mailto:r@a.example,", 50)}, slices.Repeat([]string{"mailto:r@a.example"}, maxURIs)},
		{"the first rua", []string{"v=TLSRPTv1; rua=mailto:r@a.example; rua=mailto:s@a.example"}, []string{"mailto:r@a.example"}},
	} {
		if got := ParseRecord(c.texts); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMailAddresses(t *testing.T) {
	for uri, want := range map[string]string{
		"mailto:r@a.example": "r@a.example", "MAILTO:r@a.example": "r@a.example", "mailto:r%2Bx@a.example": "r+x@a.example",
		"mailto:r@a.example?subject=x&cc=victim@b.example": "r@a.example", "mailto:a@x,b@x": "", "mailto:%zz@a": "", "https://a.example/": "",
	} {
		if got := mailAddress(uri); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, s := range []string{"v=TLSRPTv1; rua=mailto:r@a.example,https://r.a.example/", "v=TLSRPTv1;rua=mailto:%", "v=;=", ";;;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		uris := ParseRecord([]string{s})
		if len(uris) > maxURIs {
			t.Errorf("%d addresses", len(uris))
		}
		for _, u := range uris {
			if a := mailAddress(u); strings.ContainsAny(a, "\r\n\x00") || a == "" && !webAddress(u) {
				t.Errorf("%q of %q", u, s)
			}
		}
	})
}
