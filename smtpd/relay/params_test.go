package relay

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

func TestParameters(t *testing.T) {
	all := []string{"SIZE 1000000", "8BITMIME", "DSN", "SMTPUTF8", "PIPELINING"}
	dsn := func(e *message.Envelope) {
		e.Ret, e.EnvID = "HDRS", "a b+c=é"
		e.Recipients[0].Notify = []string{"SUCCESS", "delay", "x>\r\n"}
		e.Recipients[0].ORcpt = "rfc822;o r@x"
	}
	by := func(left time.Duration, back, trace bool) func(*message.Envelope) {
		return func(e *message.Envelope) {
			e.DeliverBy = message.DeliverBy{At: time.Now().Add(left), Return: back, Trace: trace}
		}
	}
	cases := []struct {
		name   string
		caps   []string
		change func(*message.Envelope)
		text   string
		from   string
		to     string // or the error
	}{
		{"plain", nil, nil, mailText, "FROM:<alice@example.org>", "TO:<bob@a.example>"},
		{"everything offered, nothing needed", all, nil, mailText, "FROM:<alice@example.org> SIZE=56", "TO:<bob@a.example>"},
		{"8-bit text", all, nil, "S: x\r\n\r\né\r\n", "FROM:<alice@example.org> SIZE=12 BODY=8BITMIME", "TO:<bob@a.example>"},
		{"8-bit header to a 7-bit host goes as it is", nil, nil, "S: é\r\n\r\nx\r\n", "FROM:<alice@example.org>", "TO:<bob@a.example>"},
		{"DSN", all, dsn, mailText, "FROM:<alice@example.org> SIZE=56 RET=HDRS ENVID=a+20b+2Bc+3D+C3+A9", "TO:<bob@a.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+20r@x"},
		{"DSN not offered", nil, dsn, mailText, "FROM:<alice@example.org>", "TO:<bob@a.example>"},
		{"null reverse-path", nil, func(e *message.Envelope) { e.ReversePath = "" }, mailText, "FROM:<>", "TO:<bob@a.example>"},
		{"UTF-8 address", all, func(e *message.Envelope) { e.ReversePath = "älice@bücher.example"; e.SMTPUTF8 = true }, mailText,
			"FROM:<älice@bücher.example> SIZE=56 SMTPUTF8", "TO:<bob@a.example>"},
		{"UTF-8 domain needs no SMTPUTF8", nil, func(e *message.Envelope) { e.ReversePath = "alice@bücher.example"; e.SMTPUTF8 = true }, mailText,
			"FROM:<alice@xn--bcher-kva.example>", "TO:<bob@a.example>"},
		{"UTF-8 header", all, func(e *message.Envelope) { e.SMTPUTF8 = true }, "Subject: é\r\n\r\nx\r\n",
			"FROM:<alice@example.org> SIZE=18 BODY=8BITMIME SMTPUTF8", "TO:<bob@a.example>"},
		{"raw 8-bit header without a word goes as it is", all, nil, "Subject: é\r\n\r\nx\r\n", "FROM:<alice@example.org> SIZE=18 BODY=8BITMIME", "TO:<bob@a.example>"},
		{"UTF-8 sender, not offered", nil, func(e *message.Envelope) { e.ReversePath = "älice@a.example"; e.SMTPUTF8 = true }, mailText, "", "553 5.6.7"},
		{"UTF-8 header, not offered", nil, func(e *message.Envelope) { e.SMTPUTF8 = true }, "Subject: é\r\n\r\nx\r\n", "", "553 5.6.7"},
		{"DELIVERBY with return", []string{"DELIVERBY 60"}, by(time.Hour, true, true), mailText, "FROM:<alice@example.org> BY=+;RT", "TO:<bob@a.example>"},
		{"DELIVERBY with notice", []string{"deliverby"}, by(-time.Hour, false, false), mailText, "FROM:<alice@example.org> BY=-;N", "TO:<bob@a.example>"},
		{"DELIVERBY with notice, not offered", nil, by(time.Hour, false, false), mailText, "FROM:<alice@example.org>", "TO:<bob@a.example>"},
		{"DELIVERBY with return, not offered", nil, by(time.Hour, true, false), mailText, "", "554 5.3.3"},
		{"DELIVERBY with return, too soon for the host", []string{"DELIVERBY 7200"}, by(time.Hour, true, false), mailText, "", "554 5.4.7"},
		{"too big", []string{"SIZE 20"}, nil, mailText, "", "552 5.3.4"},
		{"SIZE without a limit", []string{"SIZE"}, nil, mailText, "FROM:<alice@example.org> SIZE=56", "TO:<bob@a.example>"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSink(t, c.caps...)
			w := newWorld(t, map[string]*sink{"192.0.2.1": s})
			env := from("alice@example.org", "bob@a.example")
			if c.change != nil {
				c.change(&env)
			}
			out := w.sendEnv(t.Context(), env, c.text)[0]
			if c.from == "" {
				if e := status.From(out.Err); e == nil || !strings.HasPrefix(e.Reply(), c.to) {
					t.Errorf("%+v, want %s", out, c.to)
				}
				if len(s.heard("MAIL")) != 0 {
					t.Error("MAIL was said all the same")
				}
				return
			}
			got := s.got()
			if len(got) == 1 { // the seconds that are left are TestTheSecondsThatAreLeft's
				got[0].from = regexp.MustCompile(`BY=[0-9]+`).ReplaceAllString(regexp.MustCompile(`BY=-[0-9]+`).ReplaceAllString(got[0].from, "BY=-"), "BY=+")
			}
			if len(got) != 1 || got[0].from != c.from || got[0].to[0] != c.to || got[0].text != c.text {
				t.Errorf("%+v; outcome %+v", got, out)
			}
			if want := slices.Contains(c.caps, "DSN") && len(env.Recipients[0].Notify) > 0; out.Notifies != want {
				t.Errorf("Notifies = %v", out.Notifies)
			}
		})
	}
}

func TestTheSecondsThatAreLeft(t *testing.T) {
	now := time.Unix(1e9, 0)
	for want, by := range map[string]message.DeliverBy{
		"90;R":         {At: now.Add(90*time.Second + 999*time.Millisecond), Return: true},
		"1;R":          {At: now.Add(time.Millisecond), Return: true},
		"0;N":          {At: now.Add(time.Millisecond)},
		"-7;NT":        {At: now.Add(-7 * time.Second), Trace: true},
		"-999999999;N": {At: now.Add(-50 * 365 * 24 * time.Hour)},
	} {
		if got := byValue(by, now); got != want {
			t.Errorf("%+v: BY=%s, want %s", by, got, want)
		}
	}
}

func TestAUTF8RecipientDoesNotSpoilTheOthers(t *testing.T) {
	s := newSink(t)
	w := newWorld(t, map[string]*sink{"192.0.2.1": s})
	outs := w.send(t, "bob@a.example", "jörg@a.example")
	if outs[0].Err != nil || outs[1].Err == nil || status.From(outs[1].Err).Reply()[:9] != "553 5.6.7" {
		t.Errorf("%+v", outs)
	}
	if outs := w.send(t, "jörg@a.example"); status.IsTemporary(outs[0].Err) || outs[0].Err == nil {
		t.Errorf("%+v", outs)
	}
}

func TestSafeAddresses(t *testing.T) {
	for a, want := range map[string]bool{
		"": true, "a@b": true, `"a b"@c`: true, `"a\"b>"@c`: true, "jörg@b": true,
		"a b@c": false, "a>@c": false, "a@c>": false, "a@c\r\n": false, "\"a\r\n\"@b": false, `"a`: false, "\"a\\\r\"@b": false, "a\x7f@b": false,
	} {
		if got := safe(a); got != want {
			t.Errorf("safe(%q) = %v", a, got)
		}
	}
}
