package sieve

import (
	"strings"
	"testing"
)

func TestTraceExplainsEachStep(t *testing.T) {
	script := `require ["fileinto", "variables", "imap4flags", "envelope", "relational", "regex"];
if allof(header :contains "Subject" ["Zoo", "x"], not exists "X-None") {
	addflag "animals";
	if header :matches "Subject" "* from the *" { set "place" "${2}"; }
} elsif true {
	discard;
}
if address :count "ge" "to" "5" { stop; }
fileinto "Lists/${place}";
`
	want := `test:2    if
test:2        "Grüße from the zoo" contains "Zoo": yes
test:2      header: yes
test:2          there is no field "X-None"
test:2        exists: no
test:2      not: yes
test:2    allof: yes
test:3      addflag: now "animals"
test:4      if
test:4          "Grüße from the zoo" matches "* from the *": yes
test:4        header: yes
test:4        set place to "zoo"
test:8    if
test:8        "2" is at least "5": no
test:8      address: no
test:9    fileinto: store in mailbox "Lists/zoo", flags animals
test:9    result: store in mailbox "Lists/zoo", flags animals
`
	var got strings.Builder
	env := Env{Trace: func(s Step) { got.WriteString(strings.TrimRight(s.String(), " ") + "\n") }}
	runOn(t, script, plain, env)
	if squeeze(got.String()) != squeeze(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

// squeeze makes indentation not matter.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestTraceTellsWhatWasLeftOut(t *testing.T) {
	for script, want := range map[string]string{
		`require "vacation"; vacation "x";`:               "vacation: no answer: the reverse-path is null",
		`require "editheader"; deleteheader "Received";`:  "deleteheader: the field Received is protected",
		`require "environment"; if environment "x" "" {}`: `there is no item "x"`,
		`require "date"; if date "subject" "year" "x" {}`: `"=?utf-8?q?Gr=C3=BC=C3=9Fe?= from the zoo" is no date`,
		`require "mailbox"; if mailboxexists "x" {}`:      `mailbox "x": no`,
		`if size :over 1 {}`:                              "the message has",
		`stop;`:                                           "stop",
		`discard;`:                                        "discard: the message is not kept implicitly",
		`require "include"; return;`:                      "return",
		`require ["regex", "variables"]; set "a" "("; if header :regex "subject" "${a}" {}`: `the regular expression "(" is not valid: a ( is not closed`,
		`require "duplicate"; if duplicate :header "x-none" {}`:                             "the message has nothing to know it by",
	} {
		var got strings.Builder
		runOn(t, script, plain, Env{To: "bob@example.com", Trace: func(s Step) { got.WriteString(s.String() + "\n") }})
		if !strings.Contains(got.String(), want) {
			t.Errorf("%s\ngot  %s\nwant %s", script, got.String(), want)
		}
	}
}
