package smtpd

import (
	"errors"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	long := strings.Repeat("x", 64)
	for _, c := range []struct {
		in, out string
		err     error
	}{
		{"a@b", "a@b", nil},
		{"a.b+c@d-e.f_g", "a.b+c@d-e.f_g", nil},
		{"A@B.Test", "A@B.Test", nil},
		{"a b@c", `"a b"@c`, nil}, // go-smtp has taken the quotes off
		{`a"b\@c`, `"a\"b\\"@c`, nil},
		{"a@b@c", `"a@b"@c`, nil},
		{".a@c", `".a"@c`, nil},
		{"a..b@c", `"a..b"@c`, nil},
		{"a,b@c", `"a,b"@c`, nil},
		{"jos\u00e9@caf\u00e9.test", "jos\u00e9@caf\u00e9.test", nil},
		{"a@[192.0.2.1]", "a@[192.0.2.1]", nil},
		{"a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]", nil},
		{long + "@c", long + "@c", nil},
		{"a", "", errNoAt},
		{"", "", errNoAt},
		{"@c", "", errLocalPart},
		{"a@", "", errDomain},
		{"a@b..c", "", errDomain},
		{"a@.b", "", errDomain},
		{"a@b.", "", errDomain},
		{"a@-b", "", errDomain},
		{"a@b c", "", errDomain},
		{"a@b;c", "", errDomain},
		{"a@" + long, "", errDomain},
		{"a@[192.0.2.1", "", errDomain},
		{"a@[2001:db8::1]", "", errDomain},
		{"a@[IPv6:192.0.2.1]", "", errDomain},
		{"a@[IPv6:fe80::1%eth0]", "", errDomain},
		{"a@[x]", "", errDomain},
		{"a\x00@b", "", errAddressArg},
		{"a\r\nb@c", "", errAddressArg},
		{"a\u0085@c", "", errAddressArg},
		{"\xff@c", "", errNotUTF8},
		{long + "x@c", "", errTooLong},
		{"a@" + strings.Repeat("b.", 130) + "c", "", errTooLong},
	} {
		a, err := parseAddress(c.in)
		if !errors.Is(err, c.err) || err == nil && a.String() != c.out {
			t.Errorf("%q: %q, %v", c.in, a, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@b", `a"b\@c`, "a b@c", "jos\u00e9@caf\u00e9.test", "a@[192.0.2.1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
		if err != nil {
			return
		}
		text := a.String()
		if hasControl(text) || strings.ContainsAny(a.domain, " <>\"\\@") {
			t.Errorf("%q is let through as %q", s, text)
		}
		if again, err := parseAddress(unquote(text)); err != nil || again != a {
			t.Errorf("%q is written as %q and read as %+v, %v", s, text, again, err)
		}
	})
}

// unquote does to an address what go-smtp does.
func unquote(s string) string {
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
			b.WriteByte(s[i])
		case '"':
			return b.String() + s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return ""
}
