package sieve

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// problemsOf compiles a script and returns what is wrong with it.
func problemsOf(t *testing.T, script string, o Options) []string {
	t.Helper()
	_, err := Compile(t.Context(), "s", []byte(script), o)
	var list Problems
	if err != nil && !errors.As(err, &list) {
		t.Fatalf("%s: %v", script, err)
	}
	var all []string
	for _, p := range list {
		all = append(all, strings.TrimPrefix(p.String(), "s:"))
	}
	return all
}

func TestProblemsSayWhereAndHowToMend(t *testing.T) {
	for _, c := range []struct {
		script string
		want   []string
	}{
		{`foo;`, []string{`1:1: error: "foo" is no command`}},
		{`kepe;`, []string{`1:1: error: "kepe" is no command; did you mean keep?`}},
		{`if heder "a" "b" {}`, []string{`1:4: error: "heder" is no test; did you mean header?`}},
		{`true;`, []string{`1:1: error: "true" is a test, but a command must stand here`}},
		{`if keep {}`, []string{`1:4: error: "keep" is a command, but a test must stand here`}},
		{`fileinto "a";`, []string{`1:1: error: the command "fileinto" is not in use; begin the script with require "fileinto";`}},
		{`fileinto "a"; fileinto "b";`, []string{`1:1: error: the command "fileinto" is not in use; begin the script with require "fileinto";`}},
		{`require "filinto";`, []string{`1:9: error: there is no extension "filinto"; did you mean fileinto?`}},
		{`require "comparator-i;foo";`, []string{`1:9: error: there is no comparator "i;foo"`}},
		{"keep;\nrequire \"copy\";", []string{`2:1: error: require must stand before all other commands; move it to the beginning of the script`}},
		{"keep\ndiscard;", []string{`1:5: error: a ; is missing before "discard"`}},
		{`keep "a";`, []string{`1:6: error: "keep" takes no further argument, but a string stands here`}},
		{`redirect;`, []string{`1:9: error: "redirect" wants a string here`}},
		{`redirect ["a@b.c"];`, []string{`1:10: error: "redirect" wants a string here, not a string list`}},
		{`keep {}`, []string{`1:5: error: "keep" takes no block; end it with ;`}},
		{`if true;`, []string{`1:8: error: "if" needs a block; write its commands in braces: { ... }`}},
		{`if {}`, []string{`1:3: error: "if" wants one test; join tests as in allof(test, test) or anyof(test, test)`}},
		{`if (true, true) {}`, []string{`1:16: error: "if" wants one test; join tests as in allof(test, test) or anyof(test, test)`}},
		{`if allof true {}`, []string{`1:14: error: "allof" wants a list of tests in parentheses`}},
		{`if true (true) {}`, []string{`1:10: error: "true" takes no test`}},
		{`else { keep; }`, []string{`1:1: error: "else" must follow the block of an if or elsif`}},
		{`if true {} else {} elsif true {}`, []string{`1:20: error: "elsif" stands behind the else`}},
		{`if header matches "a" "b" {}`, []string{
			`1:11: error: "header" takes no test; did you mean :matches?`}},
		{`if header :foo "a" "b" {}`, []string{`1:11: error: "header" knows no tag :foo`}},
		{`if header "a" :is "b" {}`, []string{`1:15: error: :is stands behind the other arguments of "header"; write it before them`}},
		{`if header :is :is "a" "b" {}`, []string{`1:15: error: :is is there twice`}},
		{`if header :is :contains "a" "b" {}`, []string{`1:15: error: :contains and :is exclude each other`}},
		{`if header :count "ge" "a" "1" {}`, []string{`1:11: error: the tag :count is not in use; begin the script with require "relational";`}},
		{`if header :comparator "i;ascii-numeric" "a" "1" {}`, []string{`1:23: error: the comparator i;ascii-numeric is not in use; begin the script with require "comparator-i;ascii-numeric";`}},
		{`if header :comparator "i;x" "a" "1" {}`, []string{`1:23: error: there is no comparator "i;x"`}},
		{`if header :comparator 1 "a" "1" {}`, []string{
			`1:11: error: behind :comparator a string must stand`,
			`1:23: error: "header" wants a string list here, not a number`,
			`1:29: error: "header" takes no further argument, but a string stands here`}},
		{`if address "subject" "x" {}`, []string{`1:12: error: the header field "subject" holds no addresses; use the test header for it`}},
		{`if size 1M {}`, []string{`1:9: error: "size" takes no further argument, but a number stands here`}},
		{`redirect "nobody";`, []string{`1:10: error: "nobody" is no address: the @ is missing`}},
		{`require "relational"; if header :value "xx" "a" "b" {}`, []string{`1:40: error: "xx" is no relation; write one of "gt", "ge", "lt", "le", "eq", "ne"`}},
		{`require "envelope"; if envelope "subject" "b" {}`, []string{`1:33: error: an envelope has no part "subject"; the parts are "from", "to" and "auth"`}},
		{`require "index"; if header :last "a" "b" {}`, []string{`1:28: error: :last needs :index; write :index 1 :last for the last one`}},
		{`require "index"; if header :index 0 "a" "b" {}`, []string{`1:35: error: there is no :index 0; the first is :index 1`}},
		{`require "fileinto"; fileinto "";`, []string{`1:30: error: "" cannot name a mailbox: it is empty`}},
		{"require \"fileinto\"; fileinto \"a\xff\";", []string{`1:30: error: "a\xff" cannot name a mailbox: it is no UTF-8`}},
		{"require \"fileinto\"; fileinto \"a\nb\";", []string{`1:30: error: "a\r\nb" cannot name a mailbox: it has control characters`}},
		{`require ["fileinto", "special-use"]; fileinto :specialuse "Junk" "a";`, []string{`1:59: error: "Junk" is no special use; a special use is a flag such as "\\Junk"`}},
		{`require "regex"; if header :regex "a" "(" {}`, []string{`1:39: error: the regular expression "(" is not valid: a ( is not closed`}},
		{`require "variables"; set "1" "a";`, []string{`1:26: error: the numbered variables cannot be set`}},
		{`require "variables"; set "a.b" "a";`, []string{`1:26: error: there is no namespace "a" for variables`}},
		{`require "variables"; set "${x}" "a";`, []string{`1:26: error: "${x}" cannot name a variable; a name begins with a letter, goes on with letters, digits and _, and has at most 64`}},
		{`require "variables"; if string "${33}" "" {}`, []string{`1:32: error: the highest numbered variable is ${32}`}},
		{`require "imap4flags"; setflag "v" "a";`, []string{`1:31: error: a variable for flags needs the extension variables; begin the script with require "variables";`}},
		{`require "include"; include "a";`, []string{`1:28: error: there is no script "a"; add it, or write :optional`}},
		{`require "include"; include "a/b";`, []string{`1:28: error: "a/b" cannot name a script`}},
		{`require "include"; global "a";`, []string{`1:20: error: global needs the extension variables; begin the script with require "variables";`}},
		{`require ["include", "variables"]; set "a" "b"; global "a";`, []string{`1:55: error: the variable "a" was used before; write global before its first use`}},
		{`require "encoded-character"; redirect "${unicode:D800}@b.example";`, []string{
			`1:39: error: there is no character U+D800`}},
		{`require "editheader"; addheader "a:" "b";`, []string{`1:33: error: "a:" cannot name a header field; write the name without a colon`}},
		{`require ["editheader", "encoded-character"]; addheader "a" "b${hex:00}";`, []string{`1:60: error: this cannot be the value of a header field: it has a control character`}},
		{`require "vacation"; vacation :from "me" "x";`, []string{`1:36: error: "me" is no address: the @ is missing`}},
		{`require "duplicate"; if duplicate :header "a b" {}`, []string{`1:43: error: "a b" cannot name a header field; write the name without a colon`}},
		{`if size {}`, []string{`1:4: error: size needs :over or :under; write size :over 1M or size :under 1M`}},
		{"if true {\n\tif true {\n", []string{`1:9: error: the block that begins here does not end; close it with }`, `2:10: error: the block that begins here does not end; close it with }`}},
		{"# käse\nif header \"ä\" “x” {}", []string{
			`2:15: error: "“" has no place outside of strings; strings are written between straight double quotes: "text"`,
			`2:16: error: "header" takes no test`,
			`2:17: error: "”" has no place outside of strings; strings are written between straight double quotes: "text"`}},
	} {
		if got := problemsOf(t, c.script, Options{}); !slices.Equal(got, c.want) {
			t.Errorf("%s\ngot  %s\nwant %s", c.script, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
	}
}

func TestWarningsDoNotKeepAScriptFromWorking(t *testing.T) {
	for script, want := range map[string]string{
		`if header "Subject:" "x" {}`:                              `1:11: warning: no header field can have the name "Subject:"; write the name without a colon`,
		`require "imap4flags"; setflag "\\Foo";`:                   `1:31: warning: "\\Foo" is no flag and is ignored; a system flag is written "\\Seen", a keyword without a backslash`,
		`require "date"; if date :zone "CET" "date" "hour" "1" {}`: `1:31: warning: "CET" is no time zone and is ignored; write it as in "+0100"`,
		`require "date"; if date "date" "hours" "1" {}`:            `1:32: warning: a date has no part "hours"`,
		`require "vacation"; vacation :addresses "me" "x";`:        `1:41: warning: "me" is no address and is ignored: the @ is missing`,
		`require "editheader"; deleteheader "Received";`:           `1:36: warning: the header field "Received" stays as it is`,
		`require "mailbox"; if mailboxexists "" {}`:                `1:37: warning: "" cannot name a mailbox: it is empty`,
	} {
		s, err := Compile(t.Context(), "s", []byte(script), Options{})
		if err != nil {
			t.Errorf("%s: %v", script, err)
			continue
		}
		if w := s.Warnings(); len(w) != 1 || strings.TrimPrefix(w[0].String(), "s:") != want {
			t.Errorf("%s\ngot  %v\nwant %s", script, w, want)
		}
	}
}

func TestAllProblemsAreToldInOrder(t *testing.T) {
	script := "foo;\nif bar { baz; }\nredirect 1;\nkeep"
	got := problemsOf(t, script, Options{})
	var lines string
	for _, p := range got {
		lines += p[:1]
	}
	if lines != "12234" {
		t.Errorf("got %q", got)
	}
	if got := problemsOf(t, strings.Repeat("foo;\n", 1000), Options{}); len(got) != maxProblems {
		t.Errorf("%d problems are told", len(got))
	}
}

func TestProblemNamesTheScript(t *testing.T) {
	for want, p := range map[string]Problem{
		"a:3:7: error: wrong; do right": {Script: "a", Position: Position{3, 7}, Text: "wrong", Mend: "do right"},
		"a: warning: odd":               {Script: "a", Text: "odd", Warning: true},
		"error: wrong":                  {Text: "wrong"},
	} {
		if got := p.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	list := Problems{{Text: "one"}, {Text: "two"}}
	if got := list.Error(); got != "error: one\nerror: two" {
		t.Errorf("got %q", got)
	}
}

func TestExtensionsMayBeWithheld(t *testing.T) {
	o := Options{Without: []string{"fileinto", "regex", "copy"}}
	for script, want := range map[string]string{
		`require "fileinto";`:                `1:9: error: there is no extension "fileinto"`,
		`fileinto "a";`:                      `1:1: error: "fileinto" is no command`,
		`redirect :copy "a@b.example";`:      `1:10: error: "redirect" knows no tag :copy`,
		`if header :regex "a" "b" { keep; }`: `1:11: error: "header" knows no tag :regex`,
	} {
		if got := problemsOf(t, script, o); len(got) != 1 || got[0] != want {
			t.Errorf("%s: got %q, want %s", script, got, want)
		}
	}
	list := o.Extensions()
	if slices.Contains(list, "fileinto") || !slices.Contains(list, "vacation") || !slices.IsSorted(list) {
		t.Errorf("offered: %q", list)
	}
	if got := problemsOf(t, `require "ihave"; if ihave "fileinto" { fileinto "a"; }`, o); got != nil {
		t.Errorf("ihave: %q", got)
	}
}

func TestRequiresListsWhatAScriptUses(t *testing.T) {
	s := compile(t, `require ["vacation-seconds", "fileinto"]; require "ihave"; if ihave "copy" {}`)
	want := []string{"copy", "fileinto", "ihave", "vacation", "vacation-seconds"}
	if got := s.Requires(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if s.Name() != "test" {
		t.Errorf("name %q", s.Name())
	}
}

func TestEveryExtensionBringsSomething(t *testing.T) {
	brings := map[string]bool{"encoded-character": true}
	note := func(ext string) {
		for e := range strings.SplitSeq(ext, "|") {
			brings[e] = true
		}
	}
	for _, s := range builtin {
		note(s.ext)
		for _, tag := range s.tags {
			note(tag.ext)
		}
		if (s.command == nil) == (s.test == nil) {
			t.Errorf("%s is neither command nor test", s.name)
		}
		if s.optional && len(s.args) == 0 {
			t.Errorf("%s has no argument that could be left out", s.name)
		}
	}
	for _, ext := range extensions {
		if !brings[ext] && !strings.HasPrefix(ext, "comparator-") {
			t.Errorf("extension %s brings nothing", ext)
		}
		delete(brings, ext)
	}
	delete(brings, "")
	if len(brings) > 0 {
		t.Errorf("cannot be required: %q", sortedKeys(brings))
	}
	if !slices.IsSorted(extensions) {
		t.Error("the extensions are not sorted")
	}
}

func TestErrorOfTheIncludeHookIsNoProblem(t *testing.T) {
	broken := errors.New("disk on fire")
	o := Options{Include: func(context.Context, Location, string) ([]byte, error) { return nil, broken }}
	if _, err := Compile(t.Context(), "s", []byte(`require "include"; include "a";`), o); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	o.Include = func(context.Context, Location, string) ([]byte, error) { return nil, fs.ErrNotExist }
	var list Problems
	if _, err := Compile(t.Context(), "s", []byte(`require "include"; include "a";`), o); !errors.As(err, &list) {
		t.Errorf("got %v", err)
	}
}

func TestSpellingDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"keep", "keep", 0}, {"kepe", "keep", 2}, {"fileinto", "filinto", 1}, {"abc", "xyz", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
