package auth

import (
	"strings"
	"testing"
)

func TestUserName(t *testing.T) {
	s := newDomainSet([]string{"svc.plus"})
	cases := []struct {
		login, want string
		ok          bool
	}{
		{"support", "support", true},
		{"support@svc.plus", "support", true},
		{"a.b-c_d+e", "a.b-c_d+e", true},
		{"grüße", "grüße", true},
		{`DOMAIN\user`, `DOMAIN\user`, true},
		{"a@b@svc.plus", "", false},
		{"support@", "", false},
		{"", "", false},
		{".", "", false},
		{"..@svc.plus", "", false},
		{"-rf", "", false},
		{"a/b", "", false},
		{"a:b", "", false},
		{"a\x00b", "", false},
		{"a\nb", "", false},
		{"a\x7fb", "", false},
		{"a\u0085b", "", false},
		{"a\xffb", "", false},
		{strings.Repeat("a", 255), strings.Repeat("a", 255), true},
		{strings.Repeat("a", 256), "", false},
	}
	for _, c := range cases {
		got, err := s.userName(c.login)
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("%q: %q, %v", c.login, got, err)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for pw, ok := range map[string]bool{"x": true, "grüße \xff": true, "": false, "a\x00b": false, strings.Repeat("x", 1024): true, strings.Repeat("x", 1025): false} {
		if err := checkPassword(pw); (err == nil) != ok {
			t.Errorf("%.20q: %v", pw, err)
		}
	}
}

// FuzzUserName wants every accepted name to be safe in a path and a log line.
func FuzzUserName(f *testing.F) {
	for _, s := range []string{"support", "support@svc.plus", "../x", "a\x00", "a@b@svc.plus", "\u202e"} {
		f.Add(s)
	}
	set := newDomainSet([]string{"svc.plus"})
	f.Fuzz(func(t *testing.T, login string) {
		name, err := set.userName(login)
		if err != nil {
			return
		}
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00\n\r:@") || len(name) > maxLogin {
			t.Errorf("%q became %q", login, name)
		}
	})
}
