package sieve

import (
	"bytes"
	"context"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"
)

// away runs vacation and returns its message; nil and the reason if there is
// none.
func away(t *testing.T, args, header string, env Env) (*mail.Message, string) {
	t.Helper()
	msg := strings.ReplaceAll(header, "\n", "\r\n") + "\r\n\r\nBody.\r\n"
	if env.From == "" {
		env.From = "tim@example.org"
	}
	if env.To == "" {
		env.To = "ann@example.com"
	}
	res := runOn(t, `require ["vacation", "vacation-seconds", "variables", "encoded-character"]; vacation `+args+`;`, msg, env)
	v, ok := res.Actions[len(res.Actions)-1].(*Vacation)
	if !ok {
		if res.Silent == "" || len(res.Remember) > 0 {
			t.Errorf("silent without a reason: %q, %v", res.Silent, res.Remember)
		}
		return nil, res.Silent
	}
	if v.To != env.From || res.Silent != "" || len(res.Remember) != 1 {
		t.Errorf("to %s, silent %q, remember %v", v.To, res.Silent, res.Remember)
	}
	for line := range strings.SplitSeq(string(v.Message), "\r\n") {
		if strings.ContainsAny(line, "\r\n") || len(line) > 998 {
			t.Errorf("line %q", line)
		}
	}
	m, err := mail.ReadMessage(bytes.NewReader(v.Message))
	if err != nil {
		t.Fatalf("%v\n%s", err, v.Message)
	}
	return m, ""
}

const toAnn = "From: Tim Tester <tim@example.org>\nTo: ann@example.com\nSubject: Hello\nMessage-ID: <one@example.org>\nReferences: <zero@example.org>"

func TestVacationAnswers(t *testing.T) {
	now := time.Date(2025, 11, 25, 10, 0, 0, 0, time.UTC)
	m, why := away(t, `"I am away."`, toAnn, Env{Hostname: "mail.example.com", Now: now})
	if why != "" {
		t.Fatal(why)
	}
	for name, want := range map[string]string{
		"From": "<ann@example.com>", "To": `"Tim Tester" <tim@example.org>`, "Subject": "Auto: Hello", "Date": "Tue, 25 Nov 2025 10:00:00 +0000",
		"In-Reply-To": "<one@example.org>", "References": "<zero@example.org> <one@example.org>", "Auto-Submitted": "auto-replied (vacation)",
		"Precedence": "bulk", "X-Auto-Response-Suppress": "All", "Mime-Version": "1.0", "Content-Type": "text/plain; charset=utf-8", "Content-Transfer-Encoding": "7bit",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if id := m.Header.Get("Message-ID"); !strings.HasSuffix(id, "@mail.example.com>") || len(id) < 30 {
		t.Errorf("Message-ID %s", id)
	}
	if body, _ := io.ReadAll(m.Body); string(body) != "I am away.\r\n" {
		t.Errorf("body %q", body)
	}
}

func TestVacationTakesItsArguments(t *testing.T) {
	m, _ := away(t, `:subject "Grüße aus dem Urlaub" :from "Ann Müller <other@example.com>" "Bin weg, käse!"`, toAnn, Env{})
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "Grüße aus dem Urlaub" {
		t.Errorf("subject %s, %v", subject, err)
	}
	from, err := m.Header.AddressList("From")
	if err != nil || from[0].Name != "Ann Müller" || from[0].Address != "other@example.com" {
		t.Errorf("from %v, %v", from, err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || string(body) != "Bin weg, käse!\r\n" {
		t.Errorf("body %q, %v", body, err)
	}
}

func TestVacationOfMIME(t *testing.T) {
	m, _ := away(t, ":mime \"Content-Type: text/html; charset=utf-8\nBcc: victim@example.net\nSubject: other\nX-Foo: bar\n\n<p>Away</p>\"", toAnn, Env{})
	if got := m.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %s", got)
	}
	if m.Header.Get("Bcc") != "" || m.Header.Get("X-Foo") != "" || len(m.Header["Subject"]) != 1 {
		t.Errorf("fields of the entity got into the header: %v", m.Header)
	}
	if body, _ := io.ReadAll(m.Body); string(body) != "<p>Away</p>\r\n" {
		t.Errorf("body %q", body)
	}
}

func TestNothingCanBeSmuggledIntoTheHeader(t *testing.T) {
	m, _ := away(t, "text:\nx\n.\n", toAnn, Env{})
	if m == nil {
		t.Fatal("no answer")
	}
	m, _ = away(t, `:subject "a${hex: 0d 0a}Bcc: victim@example.net" "x"`, toAnn, Env{})
	if m.Header.Get("Bcc") != "" || m.Header.Get("Subject") != "a Bcc: victim@example.net" {
		t.Errorf("%v", m.Header)
	}
	m, _ = away(t, `"x"`, "From: =?utf-8?q?a=0D=0ABcc:_victim@example.net?= <tim@example.org>\nTo: ann@example.com\nSubject: =?utf-8?q?b=0D=0ABcc:_x?=", Env{})
	if m.Header.Get("Bcc") != "" {
		t.Errorf("%v", m.Header)
	}
}

func TestVacationIsSilent(t *testing.T) {
	for _, c := range []struct {
		name, header, args string
		env                Env
		why                string
	}{
		{"null reverse-path", "To: ann@example.com", "", Env{From: "<>"}, "the reverse-path is no address"},
		{"mailer-daemon", "To: ann@example.com", "", Env{From: "MAILER-DAEMON@example.org"}, "the sender is a program"},
		{"listserv", "To: ann@example.com", "", Env{From: "listserv@example.org"}, "the sender is a program"},
		{"majordomo", "To: ann@example.com", "", Env{From: "Majordomo@example.org"}, "the sender is a program"},
		{"owner-", "To: ann@example.com", "", Env{From: "owner-list@example.org"}, "the sender is a program"},
		{"-request", "To: ann@example.com", "", Env{From: "list-request@example.org"}, "the sender is a program"},
		{"the user", "To: ann@example.com", "", Env{From: "ANN@example.com"}, "the sender is the user"},
		{"the owner", "To: ann@example.com", "", Env{From: "boss@example.com", Owner: "boss@example.com"}, "the sender is the user"},
		{"another of his", "To: ann@example.com", "", Env{From: "x@example.com", Addresses: []string{"x@example.com"}}, "the sender is the user"},
		{"an :addresses", "To: ann@example.com", `:addresses "Me <x@example.com>"`, Env{From: "x@example.com"}, "the sender is the user"},
		{"not addressed", "To: other@example.com", "", Env{}, "none of the user's addresses is in To, Cc or Bcc"},
		{"no To", "From: x@example.com", "", Env{}, "none of the user's addresses is in To, Cc or Bcc"},
		{"List-Id", "To: ann@example.com\nList-Id: <x.example.org>", "", Env{}, "it is from a mailing list"},
		{"List-Unsubscribe", "To: ann@example.com\nList-Unsubscribe: <mailto:x@example.org>", "", Env{}, "it is from a mailing list"},
		{"auto-generated", "To: ann@example.com\nAuto-Submitted: auto-generated", "", Env{}, "it was not written by a person"},
		{"auto-replied", "To: ann@example.com\nAuto-Submitted: no\nAuto-Submitted: auto-replied; x=y", "", Env{}, "it was not written by a person"},
		{"bulk", "To: ann@example.com\nPrecedence: Bulk", "", Env{}, "it is bulk mail"},
		{"list", "To: ann@example.com\nPrecedence: list", "", Env{}, "it is bulk mail"},
		{"suppressed", "To: ann@example.com\nX-Auto-Response-Suppress: DR, OOF", "", Env{}, "its sender wants no automatic answer"},
		{"answered", "To: ann@example.com", "", Env{Seen: func(context.Context, string) (bool, error) { return true, nil }}, "the sender was answered not long ago"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m, why := away(t, c.args+` "x"`, c.header, c.env); m != nil || why != c.why {
				t.Errorf("got %q, want %q", why, c.why)
			}
		})
	}
}

func TestVacationToTheNullPathIsSilent(t *testing.T) {
	res := runOn(t, `require "vacation"; vacation "x";`, plain, Env{To: "bob@example.com"})
	if res.Silent != "the reverse-path is null" {
		t.Errorf("got %q", res.Silent)
	}
}

func TestVacationKnowsTheUsersAddresses(t *testing.T) {
	for _, c := range []struct {
		header, args string
		env          Env
		from         string
	}{
		{"To: Ann <ANN@example.com>", "", Env{}, "ANN@example.com"},
		{"Cc: x@example.net, ann@example.com", "", Env{}, "ann@example.com"},
		{"Bcc: ann@example.com", "", Env{}, "ann@example.com"},
		{"Resent-To: ann@example.com", "", Env{}, "ann@example.com"},
		{"To: other@example.com", `:addresses ["x@example.com", "other@example.com"]`, Env{}, "other@example.com"},
		{"To: owner@example.com", "", Env{Owner: "owner@example.com"}, "owner@example.com"},
		{"To: alias@example.com", "", Env{Addresses: []string{"alias@example.com"}}, "alias@example.com"},
		{"To: ann@example.com\nAuto-Submitted: no", "", Env{}, "ann@example.com"},
	} {
		m, why := away(t, c.args+` "x"`, c.header, c.env)
		if m == nil {
			t.Errorf("%s: silent: %s", c.header, why)
			continue
		}
		if a, err := m.Header.AddressList("From"); err != nil || a[0].Address != c.from {
			t.Errorf("%s: from %v, %v", c.header, a, err)
		}
	}
}

func TestAnAnswerIsRememberedByWhatItSays(t *testing.T) {
	id := func(args, from string) string {
		res := runOn(t, `require "vacation"; vacation `+args+`;`, strings.ReplaceAll(toAnn, "\n", "\r\n")+"\r\n\r\n", Env{From: from, To: "ann@example.com"})
		return res.Remember[0].ID
	}
	same := [][2]string{
		{id(`"x"`, "tim@example.org"), id(`"x"`, "TIM@example.org")},
		{id(`:handle "h" "x"`, "tim@example.org"), id(`:handle "h" "y"`, "tim@example.org")},
		{id(`:days 3 "x"`, "tim@example.org"), id(`:days 5 "x"`, "tim@example.org")},
	}
	for i, p := range same {
		if p[0] != p[1] {
			t.Errorf("%d: differ", i)
		}
	}
	var all []string
	for _, args := range []string{`"x"`, `"y"`, `:subject "s" "x"`, `:from "a@b.c" "x"`, `:mime "x"`, `:handle "h" "x"`, `:handle "i" "x"`} {
		all = append(all, id(args, "tim@example.org"))
	}
	all = append(all, id(`"x"`, "tom@example.org"))
	slices.Sort(all)
	if len(slices.Compact(all)) != 8 {
		t.Error("different answers are taken for one")
	}
}

func TestPeriodsAreBounded(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		args string
		p    Period
		want time.Duration
	}{
		{"", Period{}, 7 * day}, {":days 3", Period{}, 3 * day}, {":days 0", Period{}, day}, {":days 1000", Period{}, 90 * day},
		{":days 9223372036854775807", Period{}, 90 * day}, {":seconds 9223372036854775807", Period{}, 90 * day},
		{":seconds 5", Period{}, day}, {":seconds 5", Period{Min: 1}, 5 * time.Second}, {":seconds 0", Period{Min: time.Minute}, time.Minute},
		{"", Period{Default: 2 * day}, 2 * day}, {":days 5", Period{Max: 2 * day}, 2 * day},
	} {
		s, err := Compile(t.Context(), "", []byte(`require "vacation-seconds"; vacation `+c.args+` "x";`), Options{Vacation: c.p})
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Run(t.Context(), messageOf(strings.ReplaceAll(toAnn, "\n", "\r\n")+"\r\n\r\n"), Env{From: "tim@example.org", To: "ann@example.com"})
		if err != nil || res.Remember[0].For != c.want {
			t.Errorf("%s, %v: got %v, want %v", c.args, c.p, res.Remember, c.want)
		}
	}
}

func TestLongSubjectsAreCut(t *testing.T) {
	m, _ := away(t, `"x"`, "To: ann@example.com\nSubject: "+strings.Repeat("ä", 1000), Env{})
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || len([]rune(subject)) != 256 || !strings.HasSuffix(subject, "…") {
		t.Errorf("%d characters, %v", len([]rune(subject)), err)
	}
}

func TestReferencesAreBounded(t *testing.T) {
	m, _ := away(t, `"x"`, "To: ann@example.com\nMessage-ID: <last@x>\nReferences: "+strings.Repeat("<a@x> ", 1000), Env{})
	refs := strings.Fields(m.Header.Get("References"))
	if len(refs) != 20 || refs[19] != "<last@x>" {
		t.Errorf("%d references", len(refs))
	}
}

func TestTextsAreFitForTheWire(t *testing.T) {
	for _, text := range []string{"", "a", "a\nb", "a\r\nb\r\n", strings.Repeat("x", 5000), "ä" + strings.Repeat("y", 5000), "a\xffb", "trailing \n", "."} {
		b := composeText(text)
		m, err := mail.ReadMessage(bytes.NewReader(append([]byte("A: b\r\n"), b...)))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(b), "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
				t.Errorf("%.20q: line of %d bytes", text, len(line))
			}
		}
		body := io.Reader(m.Body)
		if m.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(body)
		}
		got, err := io.ReadAll(body)
		want := strings.TrimSuffix(crlf(strings.ToValidUTF8(text, "\ufffd")), "\r\n") + "\r\n"
		if err != nil || string(got) != want {
			t.Errorf("%.20q: got %.40q, %v", text, got, err)
		}
	}
}

func TestFieldsAreFolded(t *testing.T) {
	for _, value := range []string{"", "short", strings.Repeat("word ", 100), strings.Repeat("x", 300), "a  b\tc", strings.Repeat("ö", 200), "a\r\n b\nc"} {
		raw := composeField("X-Test", value)
		if !bytes.HasSuffix(raw, []byte("\r\n")) || bytes.Count(raw, []byte("\n")) != bytes.Count(raw, []byte("\r\n")) {
			t.Errorf("%.20q: %q", value, raw)
		}
		for i, line := range bytes.Split(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
			if i > 0 && (len(line) == 0 || line[0] != ' ' && line[0] != '\t') || len(line) > 78 && !strings.HasPrefix(value, "xxx") {
				t.Errorf("%.20q: line %q", value, line)
			}
		}
		f := &field{name: "x-test", raw: raw}
		want := strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(value, "\r\n ", " "), "\n", " "))
		if got := f.Text(); got != want {
			t.Errorf("got %.40q, want %.40q", got, want)
		}
	}
}
