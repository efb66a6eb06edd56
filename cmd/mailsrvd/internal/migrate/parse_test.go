package migrate

import (
	"slices"
	"strings"
	"testing"
)

func TestParseTextproto(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []field
		err        string
	}{
		{"nothing", " \n# only\n", nil, ""},
		{"kinds", "a: \"x\"\nb : 12 c:true", []field{{"a", "x", 1}, {"b", "12", 2}, {"c", "true", 2}}, ""},
		{"quotes and escapes", `a: 'it"s' b: "\"\\\x41\101\n"`, []field{{"a", `it"s`, 1}, {"b", "\"\\AA\n", 1}}, ""},
		{"strings side by side", "a: \"x\"\n  'y' # z\nb: 1", []field{{"a", "xy", 1}, {"b", "1", 3}}, ""},
		{"separators", "a: 1, b: 2; c: 3", []field{{"a", "1", 1}, {"b", "2", 1}, {"c", "3", 1}}, ""},
		{"UTF-8", `a: "ü"`, []field{{"a", "ü", 1}}, ""},
		{"no colon", "\na 1", nil, "line 2: expected"},
		{"no value", "a:", nil, "expected a value"},
		{"open string", "a: \"x\nb: 1", nil, "a string without end"},
		{"bad escape", `a: "\q"`, nil, "a bad escape"},
		{"a message", "a { b: 1 }", nil, "line 1: expected"},
	} {
		got, err := parseTextproto(tt.text)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestParseDoveconf(t *testing.T) {
	root, err := parseDoveconf("# c\na = b = c\nempty =\nq = \" x \\\"y\\\"\"\nnamespace inbox {\n  mailbox \"Sent Messages\" {\n    special_use = \\Sent\n  }\n  separator = /\n}\nplugin {\n  z = {\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(root.settings, []doveSetting{{"a", "b = c"}, {"empty", ""}, {"q", ` x "y"`}}) {
		t.Errorf("%q", root.settings)
	}
	ns := root.blocks[0]
	if ns.name != "namespace" || ns.arg != "inbox" || ns.get("separator") != "/" || ns.blocks[0].arg != "Sent Messages" || ns.blocks[0].get("special_use") != `\Sent` {
		t.Errorf("%+v", ns)
	}
	if p := root.blocks[1]; p.get("z") != "{" {
		t.Errorf("%+v", p)
	}
	for _, text := range []string{"}\n", "a {\n", "word\n"} {
		if _, err := parseDoveconf(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestOurPath(t *testing.T) {
	for in, want := range map[string]string{
		"~/Maildir": "~/Maildir", "%h/Maildir": "~/Maildir", "%{home}/mail": "~/mail", "/var/mail/%Lu": "/var/mail/%u", "/var/mail/%n": "/var/mail/%n",
		"/var/mail/%{user | username}": "/var/mail/%n", "/m/%d/%n": "/m/%d/%n",
	} {
		if got := ourPath(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func FuzzParseTextproto(f *testing.F) {
	f.Add("hostname: \"mx\"\nmax_data_size_mb: 50 # x")
	f.Add("a: 'b' \"\\x4\"")
	f.Fuzz(func(t *testing.T, text string) {
		fields, err := parseTextproto(text)
		if err != nil && fields != nil {
			t.Error("an error, and fields")
		}
		for _, x := range fields {
			if x.key == "" || x.line < 1 || x.line > strings.Count(text, "\n")+1 {
				t.Errorf("%+v", x)
			}
		}
	})
}

func FuzzParseDoveconf(f *testing.F) {
	f.Add("a = b\nnamespace inbox {\n  mailbox \"x y\" {\n  }\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		root, err := parseDoveconf(text)
		if (root == nil) != (err != nil) {
			t.Errorf("%v, %v", root, err)
		}
		if err == nil { // whatever it says, a plan can be made of it
			p := new(Plan)
			p.mailLocation(root)
			p.doveSettings(root, "")
			for _, b := range root.blocks {
				p.doveBlock(b)
			}
			p.finish()
			p.Text(true)
		}
	})
}
