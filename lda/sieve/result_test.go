package sieve

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// sequence runs scripts one after the other.
func sequence(t *testing.T, env Env, scripts ...string) (*Result, error) {
	t.Helper()
	var list []*Script
	for _, s := range scripts {
		list = append(list, compile(t, s))
	}
	return RunAll(t.Context(), list, messageOf(plain), env)
}

func TestASequenceGoesOnWhileTheMessageIsKept(t *testing.T) {
	for _, c := range []struct {
		name    string
		scripts []string
		want    string
	}{
		{"nothing", nil, "keep (implicit)"},
		{"implicit keeps", []string{``, ``}, "keep (implicit)"},
		{"a keep goes on", []string{`keep;`, `discard;`}, "discard"},
		{"a keep is confirmed", []string{`keep;`, ``}, "keep (implicit)"},
		{"discard ends it", []string{`discard;`, `keep;`}, "discard"},
		{"fileinto ends it", []string{`require "fileinto"; fileinto "a";`, `keep;`}, `store in mailbox "a"`},
		{"a copy goes on", []string{`require ["fileinto", "copy"]; fileinto :copy "a";`, `require "fileinto"; fileinto "b";`}, `store in mailbox "a"; store in mailbox "b"`},
		{"stop ends one script", []string{`stop;`, `discard;`}, "discard"},
		{"flags live on", []string{`require "imap4flags"; setflag "x";`, `require "imap4flags"; addflag "y";`}, "keep (implicit), flags x y"},
		{"flags of a keep live on", []string{`require "imap4flags"; keep :flags "x";`, ``}, "keep (implicit), flags x"},
		{"variables do not", []string{`require "variables"; set "a" "1";`, `require ["variables", "fileinto"]; fileinto "[${a}]";`}, `store in mailbox "[]"`},
		{"a reject comes too late", []string{`require ["fileinto", "copy"]; fileinto :copy "a";`, `require "reject"; reject "no";`}, `store in mailbox "a"`},
		{"the first answer counts", []string{`require "vacation"; vacation :subject "one" "1";`, `require "vacation"; vacation :subject "two" "2";`}, "keep (implicit); answer <tim@example.org>"},
		{"no reject after an answer", []string{`require "vacation"; vacation "1";`, `require "reject"; reject "no";`}, "discard; answer <tim@example.org>"},
		{"edits live on", []string{`require "editheader"; addheader "X-A" "b";`, `if header "x-a" "b" { keep; }`}, "keep, with an edited header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := sequence(t, Env{From: "tim@example.org", To: "bob@example.com"}, c.scripts...)
			if err != nil || describe(res) != c.want {
				t.Errorf("%v, got %s, want %s", err, describe(res), c.want)
			}
		})
	}
}

func TestAnErrorKeepsTheMessage(t *testing.T) {
	for script, want := range map[string]string{
		`require "reject"; reject "a"; keep;`:                                                                         "test:1: reject and keep exclude each other",
		`require "reject"; keep; reject "a";`:                                                                         "test:1: keep and reject exclude each other",
		`require ["reject", "ereject"]; ereject "a"; reject "b";`:                                                     "test:1: ereject and reject exclude each other",
		"require [\"reject\", \"vacation\"];\nvacation \"a\";\nreject \"b\";":                                         "test:3: reject and vacation exclude each other",
		`require ["reject", "vacation"]; reject "b"; vacation "a";`:                                                   "test:1: reject and vacation exclude each other",
		`require "vacation"; vacation "a"; vacation "b";`:                                                             "test:1: vacation may be executed only once",
		`require "ihave"; error "no luck";`:                                                                           "test:1: the script gives up: no luck",
		`require ["variables", "encoded-character", "fileinto"]; set "a" "${hex:ff}"; fileinto "b"; fileinto "${a}";`: `test:1: "\xff" cannot name a mailbox: it is no UTF-8`,
		`require ["variables"]; set "a" "b"; redirect "${a}";`:                                                        `test:1: "b" is no address: the @ is missing`,
		`redirect "a@b.c"; redirect "b@b.c"; redirect "c@b.c"; redirect "d@b.c"; redirect "e@b.c";`:                   "test:1: the message leads to more than 4 redirects",
		`require ["editheader", "variables"]; set "a" "b c"; addheader "${a}" "b";`:                                   `test:1: "b c" cannot name a header field`,
		`require ["fileinto", "special-use", "variables"]; set "a" "b c"; fileinto :specialuse "${a}" "b";`:           `test:1: "b c" is no special use`,
	} {
		s := compile(t, script)
		res, err := s.Run(t.Context(), messageOf(plain), Env{From: "tim@example.org", To: "bob@example.com"})
		var run *RunError
		if !errors.As(err, &run) || err.Error() != want {
			t.Errorf("%s\ngot  %v\nwant %s", script, err, want)
		}
		if describe(res) != "keep (implicit)" {
			t.Errorf("%s\ngot %s", script, describe(res))
		}
	}
}

func TestAnErrorUndoesOnlyItsOwnScript(t *testing.T) {
	res, err := sequence(t, Env{}, `require ["fileinto", "copy", "duplicate"]; fileinto :copy "a"; if duplicate {}`,
		`require ["ihave", "fileinto", "duplicate"]; fileinto "b"; if duplicate :uniqueid "x" {} error "x";`)
	if err == nil || describe(res) != `store in mailbox "a"; keep (implicit)` || len(res.Remember) != 1 {
		t.Errorf("%v, %s, %v", err, describe(res), res.Remember)
	}
}

func TestErrorsOfHooksKeepTheMessage(t *testing.T) {
	broken := errors.New("disk on fire")
	env := Env{From: "tim@example.org", To: "bob@example.com",
		Seen:          func(context.Context, string) (bool, error) { return false, broken },
		MailboxExists: func(context.Context, string) (bool, error) { return false, broken },
		SpecialUse:    func(context.Context, string) (string, error) { return "", broken },
	}
	for _, script := range []string{
		`require ["duplicate", "fileinto"]; fileinto "a"; if duplicate { discard; }`,
		`require ["vacation", "fileinto"]; fileinto "a"; vacation "away";`,
		`require ["mailbox", "fileinto"]; fileinto "a"; if mailboxexists "a" { discard; }`,
		`require ["special-use", "fileinto"]; fileinto "a"; if specialuse_exists "\\Junk" { discard; }`,
	} {
		res, err := compile(t, script).Run(t.Context(), messageOf(plain), env)
		if !errors.Is(err, broken) || describe(res) != "keep (implicit)" {
			t.Errorf("%s: %v, %s", script, err, describe(res))
		}
	}
}

// shortReader has fewer bytes than it said.
type shortReader struct{ *strings.Reader }

func TestAMessageThatCannotBeReadIsKept(t *testing.T) {
	m := NewMessage(shortReader{strings.NewReader("Subject: a\r\n\r\n")}, 10000)
	res, err := compile(t, `discard;`).Run(t.Context(), m, Env{})
	if err == nil || describe(res) != "keep (implicit)" {
		t.Errorf("%v, %s", err, describe(res))
	}
}

func TestAnEndedContextKeepsTheMessage(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	script := "if true { discard; }" + strings.Repeat(`if header "a" "b" {}`, 1000)
	res, err := compile(t, script).Run(ctx, messageOf(plain), Env{})
	if !errors.Is(err, context.Canceled) || describe(res) != "keep (implicit)" {
		t.Errorf("%v, %s", err, describe(res))
	}
}

// panicTest stands for a bug of ours.
type panicTest struct{}

func (panicTest) eval(*run) (bool, error) { panic("a bug") }

func TestABugKeepsTheMessage(t *testing.T) {
	table := specTable{"bug": {name: "bug", test: func(*checker, *call) checked { return checked{test: panicTest{}} }}}
	for name, s := range builtin {
		table[name] = s
	}
	s, err := compileWith(t.Context(), "test", []byte(`if bug { discard; }`), Options{}, table)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Run(t.Context(), messageOf(plain), Env{})
	if err == nil || !strings.Contains(err.Error(), "a bug") || describe(res) != "keep (implicit)" {
		t.Errorf("%v, %s", err, describe(res))
	}
}

// A bug may also show when the result is made.
func TestABugAtTheEndKeepsTheMessage(t *testing.T) {
	env := Env{From: "tim@example.org", To: "bob@example.com", Seen: func(context.Context, string) (bool, error) { panic("a bug") }}
	res, err := compile(t, `require "vacation"; vacation "x"; discard;`).Run(t.Context(), messageOf(plain), env)
	if err == nil || !strings.Contains(err.Error(), "a bug") || describe(res) != "keep (implicit)" {
		t.Errorf("%v, %s", err, describe(res))
	}
}

func TestScriptsAreSafeForConcurrentUse(t *testing.T) {
	s := compile(t, `require ["variables", "fileinto", "regex", "imap4flags"]; addflag "x";
if allof(header :matches "subject" "* *", header :regex "to" "(a)(n)") { fileinto "${1}${2}"; }`)
	done := make(chan string)
	for range 8 {
		go func() {
			res, err := s.Run(context.Background(), messageOf(plain), Env{})
			if err != nil {
				done <- err.Error()
				return
			}
			done <- describe(res)
		}()
	}
	for range 8 {
		if got := <-done; got != `store in mailbox "An", flags x` {
			t.Error(got)
		}
	}
}

func TestActionsDescribeThemselves(t *testing.T) {
	for want, a := range map[string]Action{
		"keep": &Keep{},
		"keep (implicit), flags a b, with an edited header":       &Keep{Implicit: true, Flags: []string{"a", "b"}, Edit: &Edit{}},
		`store in mailbox "a" or that for \Junk, made if missing`: &FileInto{Mailbox: "a", SpecialUse: `\Junk`, Create: true},
		"redirect to <a@b>": &Redirect{Address: "a@b"}, "discard": &Discard{}, `reject: "no"`: &Reject{Text: "no"},
		"answer <a@b>": &Vacation{To: "a@b"},
	} {
		if a.String() != want {
			t.Errorf("got %s, want %s", a, want)
		}
		a.action()
	}
}

func TestFlagsAreCanonical(t *testing.T) {
	res := runOn(t, `require "imap4flags"; setflag ["\\SEEN \\flagged", "work WORK $Junk", "\\Recent", "\\", "a(b", "ä", ""]; addflag "\\seen";`, plain, Env{})
	if got := res.Actions[0].(*Keep).Flags; !slices.Equal(got, []string{`\Seen`, `\Flagged`, "work", "$Junk"}) {
		t.Errorf("got %q", got)
	}
}

func TestFlagsInVariables(t *testing.T) {
	for script, want := range map[string]string{
		`setflag "v" "a b"; addflag "v" ["c", "A"]; removeflag "v" "b"; fileinto "${v}";`:             "a c",
		`set "v" "x  y x"; addflag "v" ""; fileinto "${v}";`:                                          "x y",
		`setflag "v" "a"; if hasflag "v" "A" { fileinto "yes"; }`:                                     "yes",
		`setflag "v" "a"; setflag "w" "b"; if hasflag :count "eq" ["v", "w"] "2" { fileinto "two"; }`: "two",
		`setflag "v" "a"; if not hasflag "a" { fileinto "apart"; }`:                                   "apart",
		`setflag "Work"; if hasflag :contains "or" { fileinto "part"; }`:                              "part",
		`setflag "Work"; if hasflag :matches "*" { fileinto "any"; }`:                                 "any",
		`if not hasflag :matches "*" { fileinto "none"; }`:                                            "none",
		`setflag "a"; if not hasflag "" { fileinto "empty"; }`:                                        "empty",
		`setflag "a"; if hasflag "x a" { fileinto "split"; }`:                                         "split",
	} {
		res := runOn(t, `require ["imap4flags", "variables", "fileinto", "relational"];`+script, plain, Env{})
		if got := res.Actions[0].(*FileInto).Mailbox; got != want {
			t.Errorf("%s: got %s, want %s", script, got, want)
		}
	}
}

func TestTimesAreThoseOfTheEnv(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	env := Env{Now: time.Date(2025, 12, 31, 23, 30, 0, 0, time.UTC), Zone: zone}
	for test, want := range map[string]bool{
		`currentdate "year" "2026"`: true, `currentdate "hour" "01"`: true, `currentdate :zone "+0000" "year" "2025"`: true, `currentdate "zone" "+0200"`: true,
		`currentdate "iso8601" "2026-01-01T01:30:00+02:00"`: true, `currentdate "weekday" "4"`: true, `currentdate "julian" "61041"`: true,
	} {
		if holds(t, test, plain, env) != want {
			t.Errorf("%s: not %v", test, want)
		}
	}
}
