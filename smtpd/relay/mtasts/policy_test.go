package mtasts

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	const good = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
	cases := []struct {
		name, text string
		mode       Mode
		mx         []string
		age        time.Duration
		err        string
	}{
		{"RFC 8461 section 3.2", good, Enforce, []string{"mail.example.com", "*.example.net"}, 7 * 24 * time.Hour, ""},
		{"LF only, no blanks, upper case names", "version:STSv1\nmode:testing\nmx:Mail.Example.COM.\nmax_age:1", Testing, []string{"mail.example.com"}, time.Second, ""},
		{"none needs no mx", "version: STSv1\nmode: none\nmax_age: 60\n", None, nil, time.Minute, ""},
		{"the first of a key counts", good + "mode: none\nversion: STSv9\nmax_age: 1\n", Enforce, []string{"mail.example.com", "*.example.net"}, 7 * 24 * time.Hour, ""},
		{"unknown keys and junk", "hello\n\n" + good + "colour: blue\n", Enforce, []string{"mail.example.com", "*.example.net"}, 7 * 24 * time.Hour, ""},
		{"max_age is bounded by a year", strings.Replace(good, "604800", "18446744073709551615", 1), Enforce, []string{"mail.example.com", "*.example.net"}, maxMaxAge * time.Second, ""},
		{"names that are none are left out", "version: STSv1\nmode: enforce\nmx: a b\nmx: *\nmx: *.\nmx: x.example\nmax_age: 60\n", Enforce, []string{"x.example"}, time.Minute, ""},
		{"empty", "", "", nil, 0, "version"},
		{"a web page", "<!DOCTYPE html><a href=\"http://x\">version: STSv1</a>", "", nil, 0, "version"},
		{"other version", strings.Replace(good, "STSv1", "STSv2", 1), "", nil, 0, "version"},
		{"other mode", strings.Replace(good, "enforce", "report", 1), "", nil, 0, "mode"},
		{"no mx", "version: STSv1\nmode: enforce\nmax_age: 60\n", "", nil, 0, "no mx"},
		{"no max_age", "version: STSv1\nmode: enforce\nmx: a.example\n", "", nil, 0, "max_age"},
		{"negative max_age", strings.Replace(good, "604800", "-1", 1), "", nil, 0, "max_age"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := Parse(c.text)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%+v, %v; want an error about %s", p, err, c.err)
				}
				return
			}
			if err != nil || p.Mode != c.mode || !slices.Equal(p.MX, c.mx) || p.MaxAge != c.age {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

func TestLists(t *testing.T) {
	p := Policy{MX: []string{"mail.example.com", "*.example.net"}}
	for host, want := range map[string]bool{
		"mail.example.com": true, "MAIL.example.com.": true, "x.mail.example.com": false, "example.com": false,
		"a.example.net": true, "example.net": false, "a.b.example.net": false, "aexample.net": false, "": false,
	} {
		if got := p.Lists(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

func TestRecordID(t *testing.T) {
	cases := []struct {
		texts []string
		id    string
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{[]string{"v=STSv1;id=1"}, "1"},
		{[]string{"v=spf1 -all", "v=STSv1; x=y; id=1; id=2"}, "1"},
		{[]string{"v=STSv1; id=1", "v=STSv1; id=2"}, ""},
		{[]string{"v=STSv1; id="}, ""},
		{[]string{"v=STSv1; id=a b"}, ""},
		{[]string{"v=STSv1; id=" + strings.Repeat("1", 33)}, ""},
		{[]string{"v=STSv10; id=1"}, ""},
		{[]string{"id=1; v=STSv1"}, ""},
		{nil, ""},
	}
	for _, c := range cases {
		if id, ok := RecordID(c.texts); id != c.id || ok != (c.id != "") {
			t.Errorf("%q: %q, %v", c.texts, id, ok)
		}
	}
}

// FuzzParse: what is taken has the form that the rest relies on.
func FuzzParse(f *testing.F) {
	f.Add("version: STSv1\r\nmode: enforce\r\nmx: *.example.net\r\nmax_age: 604800\r\n")
	f.Add("version:STSv1\nmode:none\nmax_age:0")
	f.Add("mx: \xff\nmx: *.*.example\nversion: STSv1\nmode: testing\nmax_age: 99999999999999999999\n")
	f.Add("v=STSv1; id=20261125;")
	f.Fuzz(func(t *testing.T, text string) {
		if id, ok := RecordID([]string{text}); ok != validID(id) {
			t.Errorf("id %q of %q", id, text)
		}
		p, err := Parse(text)
		if err != nil {
			return
		}
		if p.MaxAge < 0 || p.MaxAge > maxMaxAge*time.Second || len(p.MX) > maxMX || p.Mode != None && len(p.MX) == 0 {
			t.Errorf("%+v", p)
		}
		for _, m := range p.MX {
			if again, ok := pattern(m); !ok || again != m {
				t.Errorf("%q is no stable pattern", m)
			}
		}
	})
}
