package sieve

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// all tries tests on a message.
func tryTests(t *testing.T, msg string, env Env, tests map[string]bool) {
	t.Helper()
	for test, want := range tests {
		if got := holds(t, test, msg, env); got != want {
			t.Errorf("%s: %v", test, got)
		}
	}
}

func TestEnvelope(t *testing.T) {
	env := Env{From: "tim+news@example.org", To: `"ann lee"@example.com`, Auth: "tim"}
	tryTests(t, plain, env, map[string]bool{
		`envelope "from" "TIM+news@example.org"`: true, `envelope :user "from" "tim"`: true, `envelope :detail "from" "news"`: true,
		`envelope :localpart "to" "ann lee"`: true, `envelope :domain "to" "example.com"`: true, `envelope "auth" "tim"`: true,
		`envelope :count "eq" ["from", "to"] "2"`: true, `envelope :detail :contains "to" ""`: false,
	})
	tryTests(t, plain, Env{To: "odd"}, map[string]bool{
		`envelope "from" ""`: true, `envelope :localpart "from" ""`: true, `envelope :domain "from" ""`: true, `envelope :matches "from" "*"`: true,
		`envelope :contains "from" "a"`: false, `envelope :localpart "to" "odd"`: true, `envelope :domain "to" ""`: true, `envelope "auth" ""`: true,
	})
}

func TestDelimiterIsConfigurable(t *testing.T) {
	msg := "To: a-b_c+d@example.com\r\n\r\n"
	for delimiter, want := range map[string]string{"": "d", "+": "d", "-": "b_c+d", "_": "c+d", "+_": "c+d"} {
		if !holds(t, `address :detail "to" "`+want+`"`, msg, Env{Delimiter: delimiter}) {
			t.Errorf("%q: the detail is not %s", delimiter, want)
		}
	}
	if holds(t, `address :detail :contains "to" ""`, msg, Env{Delimiter: "%"}) {
		t.Error("there is a detail without a delimiter")
	}
}

func TestBodyOfHostileMessages(t *testing.T) {
	var deep, wide strings.Builder
	for i := range 300 {
		deep.WriteString("Content-Type: multipart/mixed; boundary=b" + strings.Repeat("x", i) + "\r\n\r\n--b" + strings.Repeat("x", i) + "\r\n")
	}
	deep.WriteString("\r\nneedle")
	wide.WriteString("Content-Type: multipart/mixed; boundary=b\r\n\r\n")
	for range 12000 {
		wide.WriteString("--b\r\n\r\nhay\r\n")
	}
	wide.WriteString("--b\r\n\r\nneedle\r\n--b--\r\n")
	for name, msg := range map[string]string{"deep": deep.String(), "wide": wide.String(), "no end": "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
		"bad base64": "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n====needle", "empty": "", "bad charset": "Content-Type: text/plain; charset=nope\r\n\r\nneedle\xff"} {
		for _, test := range []string{`body :raw :contains "needle"`, `body :text :contains "needle"`, `body :content "" :contains "needle"`, `body :content "multipart" :regex "needle"`, `body :matches "*needle*"`} {
			s := compile(t, requireAll+`if `+test+` { discard; }`)
			if _, err := s.Run(t.Context(), messageOf(msg), Env{}); err != nil {
				t.Errorf("%s: %s: %v", name, test, err)
			}
		}
	}
}

func TestBodyIsBounded(t *testing.T) {
	msg := "Subject: a\r\n\r\n" + strings.Repeat("0123456789abcdef", 1000) + "needle"
	s, err := Compile(t.Context(), "", []byte(`require "body"; if body :raw :contains "needle" { discard; } if body :contains "0123" { keep; }`), Options{Limits: Limits{Body: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	m := messageOf(msg)
	res, err := s.Run(t.Context(), m, Env{})
	if err != nil || describe(res) != "keep (implicit)" || m.bodies.size > 1000 {
		t.Errorf("%v, %s, %d bytes kept", err, describe(res), m.bodies.size)
	}
}

func TestBodiesAreDecodedOnce(t *testing.T) {
	m := messageOf("Content-Type: text/plain\r\n\r\nneedle\r\n")
	s := compile(t, `require "body"; if body :contains "x" {} if body :text :contains "y" {} if body :contains "needle" { discard; }`)
	if res, err := s.Run(t.Context(), m, Env{}); err != nil || describe(res) != "discard" || len(m.bodies.known) != 1 {
		t.Errorf("%v, %s, %d texts", err, describe(res), len(m.bodies.known))
	}
}

func TestLineEndsInBodiesAreCRLF(t *testing.T) {
	msg := "Subject: a\n\none\ntwo\n"
	tryTests(t, msg, Env{}, map[string]bool{
		"body :contains \"one\ntwo\"": true, "body :raw :contains \"one\ntwo\"": true, "body :content \"text\" :contains \"one\ntwo\"": true,
	})
	for in, want := range map[string]string{"a\nb": "a\r\nb", "a\r\nb": "a\r\nb", "a\r\nb\nc": "a\r\nb\r\nc", "": "", "\n": "\r\n", "\r": "\r"} {
		if got := crlf(in); got != want {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

// RFC 5173 section 6: a body may be too large to be kept in variables.
func TestBodySetsNoMatchVariables(t *testing.T) {
	res := runOn(t, `require ["body", "variables", "fileinto"]; if string :matches "before" "*" {} if body :matches "The *" { fileinto "${1}"; }`, plain, Env{})
	if got := describe(res); got != `store in mailbox "before"` {
		t.Error(got)
	}
}

func TestDates(t *testing.T) {
	msg := "Date: Fri, 29 Feb 2008 23:30:00 -0800\r\nReceived: a; b; Tue, 25 Nov 2025 10:20:30 +0100\r\nReceived: nonsense\r\nX: never\r\n\r\n"
	tryTests(t, msg, Env{Zone: time.UTC}, map[string]bool{
		`date :originalzone "date" "iso8601" "2008-02-29T23:30:00-08:00"`: true, `date "date" "date" "2008-03-01"`: true, `date :zone "+0530" "date" "time" "13:00:00"`: true,
		`date :zone "nonsense" "date" "hour" "07"`: true, `date "received" "hour" "09"`: true, `date :index 2 "received" "hour" "09"`: false, `date "x" "year" "2008"`: false,
		`date :originalzone "date" "std11" "Fri, 29 Feb 2008 23:30:00 -0800"`: true, `date :originalzone "date" "julian" "54525"`: true, `date "date" "nonsense" "1"`: false,
		`date :count "eq" "date" "year" "1"`: true, `date :count "eq" "x" "year" "0"`: true, `date :value "lt" "date" "year" "2009"`: true,
	})
	for s, want := range map[string]bool{"+0000": true, "-1200": true, "+2400": false, "0100": false, "+100": false, "+1a00": false, "+01:00": false} {
		if _, ok := parseZone(s); ok != want {
			t.Errorf("%s: not %v", s, want)
		}
	}
}

func TestZoneOfAVariable(t *testing.T) {
	tryTests(t, plain, Env{Zone: time.UTC}, map[string]bool{`date :zone "${x}" "date" "hour" "09"`: true})
}

func TestDuplicate(t *testing.T) {
	seen := map[string]bool{}
	env := Env{Seen: func(_ context.Context, id string) (bool, error) { return seen[id], nil }}
	try := func(args, msg string) (bool, []Memory) {
		res := runOn(t, requireAll+`if duplicate `+args+` { discard; }`, msg, env)
		return describe(res) == "discard", res.Remember
	}
	dup, mem := try("", plain)
	if dup || len(mem) != 1 || mem[0].For != 7*24*time.Hour {
		t.Fatalf("%v, %v", dup, mem)
	}
	seen[mem[0].ID] = true
	if dup, mem := try("", plain); !dup || len(mem) != 0 {
		t.Errorf("again: %v, %v", dup, mem)
	}
	if dup, mem := try(":last :seconds 60", plain); !dup || len(mem) != 1 || mem[0].For != time.Minute {
		t.Errorf("with :last: %v, %v", dup, mem)
	}
	if dup, _ := try(`:handle "other"`, plain); dup {
		t.Error("another handle is the same")
	}
	if dup, _ := try(`:uniqueid "<one@example.org>"`, plain); dup {
		t.Error("an identifier is a header")
	}
	if dup, mem := try(`:header "X-None"`, plain); dup || len(mem) != 0 {
		t.Errorf("without a header: %v, %v", dup, mem)
	}
	if _, mem := try(`:seconds 9223372036854775807`, strings.ReplaceAll(plain, "<one@", "<two@")); mem[0].For != maxDuplicatePeriod {
		t.Errorf("for %v", mem[0].For)
	}
	// A script that asks twice remembers once.
	res := runOn(t, requireAll+`if duplicate :uniqueid "a" {} if duplicate :uniqueid "a" :seconds 5 {}`, plain, Env{})
	if len(res.Remember) != 1 || res.Remember[0].For != 5*time.Second {
		t.Errorf("remember %v", res.Remember)
	}
}

func TestMailboxes(t *testing.T) {
	env := Env{
		MailboxExists: func(_ context.Context, name string) (bool, error) { return name == "Lists" || name == "INBOX", nil },
		SpecialUse: func(_ context.Context, use string) (string, error) {
			return map[string]string{`\Junk`: "Spam"}[use], nil
		},
	}
	tryTests(t, plain, env, map[string]bool{
		`mailboxexists "Lists"`: true, `mailboxexists ["Lists", "INBOX"]`: true, `mailboxexists ["Lists", "Other"]`: false, `mailboxexists ""`: false,
		`specialuse_exists "\\Junk"`: true, `specialuse_exists ["\\Junk", "\\Sent"]`: false, `specialuse_exists "Spam" "\\Junk"`: true, `specialuse_exists "Other" "\\Junk"`: false,
	})
	tryTests(t, plain, Env{}, map[string]bool{`mailboxexists "inbox"`: true, `mailboxexists "Lists"`: false, `specialuse_exists "\\Junk"`: false})
}

func TestEnvironment(t *testing.T) {
	env := Env{Hostname: "mail.example.com", Environment: map[string]string{"domain": "example.com", "location": "MTA"}}
	tryTests(t, plain, env, map[string]bool{
		`environment "host" "mail.example.com"`: true, `environment "DOMAIN" "example.com"`: true, `environment "location" "MTA"`: true, `environment "phase" "during"`: true,
		`environment "name" "mailsrvd"`: true, `environment :contains "remote-ip" ""`: false, `environment :count "eq" "remote-ip" "0"`: false, `environment :count "eq" "host" "1"`: true,
	})
	tryTests(t, plain, Env{}, map[string]bool{`environment "location" "MDA"`: true, `environment "host" ""`: true})
}

func TestSpamAndVirusVerdicts(t *testing.T) {
	num := `:comparator "i;ascii-numeric" `
	for _, c := range []struct {
		percent    float64
		ten, whole string
	}{{0, "1", "0"}, {-5, "1", "0"}, {50, "6", "50"}, {100, "10", "100"}, {150, "10", "100"}, {11, "2", "11"}, {94.4, "9", "94"}} {
		env := Env{Spam: &Spam{c.percent}}
		tryTests(t, plain, env, map[string]bool{
			`spamtest ` + num + `"` + c.ten + `"`: true, `spamtest :percent ` + num + `"` + c.whole + `"`: true, `spamtest :count "eq" "1"`: true, `spamtest "0"`: false,
		})
	}
	tryTests(t, plain, Env{}, map[string]bool{`spamtest "0"`: true, `spamtest :percent "0"`: true, `spamtest :percent :count "eq" "0"`: true, `virustest "0"`: true})
	tryTests(t, plain, Env{Virus: 5}, map[string]bool{`virustest "5"`: true, `virustest :value "ge" ` + num + `"4"`: true})
	tryTests(t, plain, Env{Virus: 9}, map[string]bool{`virustest "5"`: true})
}

func TestAddressesOfScripts(t *testing.T) {
	for s, want := range map[string]string{
		"a@b.example": "a@b.example", " a @ b.example ": "a@b.example", "A B <a@b.example>": "a@b.example", "<a@b.example>": "a@b.example",
		`"A, B" <a@b.example>`: "a@b.example", `"a b"@c.example`: `"a b"@c.example`, `"a\"b"@c.example`: `"a\"b"@c.example`, "a@[192.0.2.1]": "a@[192.0.2.1]",
		"jürgen@bücher.example": "jürgen@bücher.example", "a..b@c.example": "a..b@c.example", "a@localhost": "a@localhost",
	} {
		if a, err := parseSieveAddress(s); err != nil || a.String() != want {
			t.Errorf("%s: %v, %v", s, a, err)
		}
	}
	for _, s := range []string{"", "a", "@", "a@", "@b", "a b@c.d", "a@b c", "a@b,c@d", "A <a@b", "a@b>", "<>", "<a@b> x", "a@b..c", "a@.b", "a@b.", `"a@b.c`, `"a"b@c.d`, "a@[b\\]",
		"a@b.example, c@d.example", "x: a@b.example;", "a\n@b.c", "\"a\nb\"@c.d", "a@b\x00.c", strings.Repeat("a", 400) + "@b.c"} {
		if a, err := parseSieveAddress(s); err == nil {
			t.Errorf("%q is taken for %v", s, a)
		}
	}
}

func FuzzSieveAddress(f *testing.F) {
	for _, s := range []string{"a@b.c", `"a b" <c@d.e>`, `"a\"b"@c`, "a@[1]", "<", ">@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseSieveAddress(s)
		if err != nil {
			return
		}
		again, err := parseSieveAddress(a.String())
		if err != nil || again.Mailbox != a.Mailbox || again.Host != a.Host {
			t.Fatalf("%q: %q is read as %v, %v", s, a.String(), again, err)
		}
		if strings.ContainsAny(a.String(), "\r\n\x00") {
			t.Fatalf("%q: %q", s, a.String())
		}
	})
}

func TestRunErrorsTellTheirCause(t *testing.T) {
	cause := errors.New("cause")
	e := &RunError{Script: "a", Position: Position{Line: 3}, Text: "text", Cause: cause}
	if e.Error() != "a:3: text: cause" || !errors.Is(e, cause) {
		t.Error(e)
	}
}
