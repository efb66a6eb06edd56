package sieve

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Every script here wants to cost more than it should. None may take long, and
// the message is kept whatever happens.
func TestGreedyScriptsAreStopped(t *testing.T) {
	header := "Subject: " + strings.Repeat("a", 900_000) + "\r\n"
	body := "\r\n" + strings.Repeat("aaaaaaaaaaaaaaab\r\n", 200_000)
	msg := header + body
	list := func(n int, f string) string {
		words := make([]string, n)
		for i := range words {
			words[i] = `"` + strings.ReplaceAll(f, "N", fmt.Sprint(i)) + `"`
		}
		return "[" + strings.Join(words, ",") + "]"
	}
	for name, script := range map[string]string{
		"wildcards":        strings.Repeat(`if header :matches "subject" "*`+strings.Repeat("a?a*", 200)+`b" {}`, 20),
		"question marks":   strings.Repeat(`if header :matches "subject" "*`+strings.Repeat("?", 500)+`b*" {}`, 20),
		"many keys":        strings.Repeat(`if header :contains "subject" `+list(20_000, "bN")+` {}`, 3),
		"many names":       strings.Repeat(`if exists `+list(20_000, "xN")+` {}`, 3),
		"regex":            strings.Repeat(`if header :regex "subject" "(a|aa|aaa)*(a|aa)*b{1,50}$" {}`, 50),
		"regex on bodies":  strings.Repeat(`if body :raw :regex "(a+)+(a+)+c" {}`, 50),
		"body types":       strings.Repeat(`if body :content `+list(20_000, "tN/x")+` "x" {}`, 3),
		"bodies":           strings.Repeat(`if body :contains ["b1", "b2", "b3"] {}`, 3000),
		"flags":            strings.Repeat(`addflag "`+strings.Repeat("a ", 10_000)+`";`, 40),
		"flag variables":   `set "a" "` + strings.Repeat("a b ", 1000) + `";` + strings.Repeat(`addflag "a" "${a}${a}${a}${a}${a}${a}${a}${a}";`, 5000),
		"long strings":     `set "a" "` + strings.Repeat("a", 4000) + `";` + strings.Repeat(`if string "`+strings.Repeat("${a}", 250)+`" "x" {}`, 800),
		"too long strings": `set "a" "` + strings.Repeat("a", 4000) + `"; set "b" "` + strings.Repeat("${a}", 300) + `";`,
		"edits":            strings.Repeat(`addheader "X" "y"; deleteheader "X"; if size :over 5 {}`, 10_000),
		"patterns":         `set "a" "` + strings.Repeat("(a|b)", 500) + `";` + strings.Repeat(`if string :regex "x" "${a}" {}`, 10_000),
		"lookups":          strings.Repeat(`if mailboxexists `+list(2000, "mN")+` {}`, 20),
		"commands":         strings.Repeat(`keep;`, 200_000),
		"comparisons":      strings.Repeat(`if string `+list(3000, "aN")+` `+list(3000, "bN")+` {}`, 15),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			env := Env{}
			s, err := Compile(t.Context(), "test", []byte(requireAll+script), Options{})
			if err != nil {
				t.Fatalf("%.300v", err)
			}
			compiled := time.Since(start)
			res, err := s.Run(t.Context(), messageOf(msg), env)
			var run *RunError
			if err != nil && !errors.As(err, &run) {
				t.Errorf("%v", err)
			}
			if len(res.Actions) == 0 {
				t.Error("the message is lost")
			}
			t.Logf("compiled in %v, ran for %v: %.80v", compiled, time.Since(start)-compiled, err)
		})
	}
}

// No script may take long, or much memory, to be refused.
func TestGreedySourcesAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"size":          {strings.Repeat("#", 1<<20+1), "the script is longer than 1048576 bytes"},
		"unknown words": {strings.Repeat("fileintu \"a\";", 80_000), `"fileintu" is no command; did you mean fileinto?`},
		"extensions":    {`require ["` + strings.Repeat(`fileintu", "`, 80_000) + `"];`, `there is no extension "fileintu"; did you mean fileinto?`},
		"braces":        {strings.Repeat("{", 1<<20), "a command must stand here, not '{'"},
		"brackets":      {strings.Repeat("[", 1<<20), "a command must stand here, not '['"},
		"blocks":        {strings.Repeat("if true {", 100_000), "blocks are nested more than 32 deep"},
		"tests":         {"if " + strings.Repeat("not ", 200_000), "tests are nested more than 32 deep"},
		"garbage":       {strings.Repeat("$", 1<<20), `"$" has no place outside of strings`},
		"expressions":   {`require "regex";` + strings.Repeat(`if header :regex "a" "(a|b)*c" {}`, 20_000), "there are too many regular expressions"},
		"variables":     {`require "variables";` + many(300, `set "vN" "";`), "there are more than 255 variables"},
		"arguments":     {"keep " + strings.Repeat("1 ", 100_000) + ";", `"keep" has more than 32 arguments`},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := Compile(t.Context(), "", []byte(c.source), Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %.200v", err)
			}
			t.Logf("%v", time.Since(start))
		})
	}
}

func many(n int, s string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(s, "N", fmt.Sprint(i)))
	}
	return b.String()
}

func TestLimitsHaveDefaults(t *testing.T) {
	l := Limits{Redirects: -1, Work: 5}.WithDefaults()
	if l.ScriptSize != 1<<20 || l.Redirects != -1 || l.Work != 5 || l.VariableSize != 4000 {
		t.Errorf("got %+v", l)
	}
	if got := problemsOf(t, `redirect "a@b.example";`, Options{Limits: Limits{Redirects: -1}}); len(got) != 1 || !strings.Contains(got[0], "redirect is not allowed here") {
		t.Errorf("got %q", got)
	}
}

func TestOnlySoMuchOfAHeaderIsLookedAt(t *testing.T) {
	msg := strings.Repeat("X-Filler: 0123456789\r\n", 60_000) + "X-Last: yes\r\n\r\nbody"
	tryTests(t, msg, Env{}, map[string]bool{`exists "x-filler"`: true, `exists "x-last"`: false, `header :count "gt" :comparator "i;ascii-numeric" "x-filler" "40000"`: true, `body :contains "body"`: true})
}

func TestMatchVariablesStopAtTheirNumber(t *testing.T) {
	if got := into(t, `if string :matches "`+strings.Repeat("ab", 40)+`" "`+strings.Repeat("a*b", 40)+`" {} fileinto "[${32}]";`); got != "[]" {
		t.Errorf("got %s", got)
	}
}
