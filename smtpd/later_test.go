package smtpd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

func TestTimesOfMAIL(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	at := func(d time.Duration) time.Time { return now.Add(d) }
	for line, want := range map[string]struct {
		rest  string
		times times
		reply string
	}{
		"MAIL FROM:<a@b>":                                       {rest: "MAIL FROM:<a@b>"},
		"MAIL FROM:<a@b> SIZE=7 BODY=8BITMIME":                  {rest: "MAIL FROM:<a@b> SIZE=7 BODY=8BITMIME"},
		"MAIL FROM:<a@b> SIZE=7 HOLDFOR=60  RET=FULL":           {rest: "MAIL FROM:<a@b> SIZE=7 RET=FULL", times: times{release: at(time.Minute)}},
		"mail from: <a@b> holdfor=2592000":                      {rest: "mail from: <a@b>", times: times{release: at(30 * day)}},
		"MAIL FROM:<a@b> HOLDUNTIL=2026-11-25T13:00:00Z":        {rest: "MAIL FROM:<a@b>", times: times{release: at(time.Hour)}},
		"MAIL FROM:<a@b> HOLDUNTIL=2026-11-25T13:00:00.5+01:00": {rest: "MAIL FROM:<a@b>", times: times{release: at(time.Second / 2)}},
		"MAIL FROM:<a@b> HOLDUNTIL=2020-01-01T00:00:00Z":        {rest: "MAIL FROM:<a@b>", times: times{release: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"MAIL FROM:<a@b> BY=120;R":                              {rest: "MAIL FROM:<a@b>", times: times{by: message.DeliverBy{At: at(2 * time.Minute), Return: true}}},
		"MAIL FROM:<a@b> by=+120;nt":                            {rest: "MAIL FROM:<a@b>", times: times{by: message.DeliverBy{At: at(2 * time.Minute), Trace: true}}},
		"MAIL FROM:<a@b> BY=-5;N":                               {rest: "MAIL FROM:<a@b>", times: times{by: message.DeliverBy{At: at(-5 * time.Second)}}},
		"MAIL FROM:<a@b> HOLDFOR=60 BY=120;R":                   {rest: "MAIL FROM:<a@b>", times: times{release: at(time.Minute), by: message.DeliverBy{At: at(2 * time.Minute), Return: true}}},
		"MAIL FROM:<\"> HOLDFOR=5 \\\">\"@b> SIZE=7":            {rest: "MAIL FROM:<\"> HOLDFOR=5 \\\">\"@b> SIZE=7"},
		"MAIL FROM:a@b HOLDFOR=60":                              {rest: "MAIL FROM:a@b HOLDFOR=60"}, // go-smtp refuses it

		"MAIL FROM:<a@b> HOLDFOR":                                               {reply: "501 5.5.4 Bad HOLDFOR"},
		"MAIL FROM:<a@b> HOLDFOR=":                                              {reply: "501 5.5.4 Bad HOLDFOR"},
		"MAIL FROM:<a@b> HOLDFOR=0":                                             {reply: "501 5.5.4 Bad HOLDFOR"},
		"MAIL FROM:<a@b> HOLDFOR=-5":                                            {reply: "501 5.5.4 Bad HOLDFOR"},
		"MAIL FROM:<a@b> HOLDFOR=1h":                                            {reply: "501 5.5.4 Bad HOLDFOR"},
		"MAIL FROM:<a@b> HOLDFOR=9999999999":                                    {reply: "501 5.5.4 Bad HOLDFOR"},
		"MAIL FROM:<a@b> HOLDFOR=2592001":                                       {reply: "501 5.5.4 Mail is held for 2592000 seconds at most"},
		"MAIL FROM:<a@b> HOLDUNTIL=2027-01-01T00:00:00Z":                        {reply: "501 5.5.4 Mail is held for 2592000 seconds at most"},
		"MAIL FROM:<a@b> HOLDUNTIL=tomorrow":                                    {reply: "501 5.5.4 Bad HOLDUNTIL"},
		"MAIL FROM:<a@b> HOLDUNTIL=2026-11-25":                                  {reply: "501 5.5.4 Bad HOLDUNTIL"},
		"MAIL FROM:<a@b> HOLDFOR=1 HOLDFOR=2":                                   {reply: "501 5.5.4 Bad HOLDFOR"},
		"MAIL FROM:<a@b> HOLDFOR=1 HOLDUNTIL=2026-11-25T13:00:00Z":              {reply: "501 5.5.4 Give HOLDFOR or HOLDUNTIL"},
		"MAIL FROM:<a@b> BY=0;R":                                                {reply: "501 5.5.4 Bad BY"},
		"MAIL FROM:<a@b> BY=-1;R":                                               {reply: "501 5.5.4 Bad BY"},
		"MAIL FROM:<a@b> BY=60":                                                 {reply: "501 5.5.4 Bad BY"},
		"MAIL FROM:<a@b> BY=60;X":                                               {reply: "501 5.5.4 Bad BY"},
		"MAIL FROM:<a@b> BY=60;RTT":                                             {reply: "501 5.5.4 Bad BY"},
		"MAIL FROM:<a@b> BY=1234567890;N":                                       {reply: "501 5.5.4 Bad BY"},
		"MAIL FROM:<a@b> HOLDFOR=60 BY=60;R":                                    {reply: "501 5.5.4 BY is over before the message is released"},
		"MAIL FROM:<a@b> SIZE=1 BY=60;R HOLDFOR=1 BY=60;R SIZE=1 BODY=8BITMIME": {reply: "501 5.5.4 Bad BY"},
	} {
		rest, got, reply := cutTimes(line, now, 30*day)
		if rest != want.rest || !got.release.Equal(want.times.release) || !got.by.At.Equal(want.times.by.At) ||
			got.by.Return != want.times.by.Return || got.by.Trace != want.times.by.Trace || !strings.HasPrefix(reply, want.reply) || (reply == "") != (want.reply == "") {
			t.Errorf("%s:\n got %q, %+v, %q\nwant %q, %+v, %q", line, rest, got, reply, want.rest, want.times, want.reply)
		}
	}
}

func FuzzTimesOfMAIL(f *testing.F) {
	f.Add("MAIL FROM:<a@b> HOLDFOR=60 BY=120;RT SIZE=5")
	f.Add(`MAIL FROM:<"a\" >"@b> HOLDUNTIL=2026-11-25T13:00:00Z`)
	f.Fuzz(func(t *testing.T, line string) {
		now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
		rest, got, reply := cutTimes(line, now, time.Hour)
		if reply != "" {
			if rest != "" || got != (times{}) || !strings.HasPrefix(reply, "501 5.5.4 ") || strings.ContainsAny(reply, "\r\n") {
				t.Errorf("%q: %q, %+v, %q", line, rest, got, reply)
			}
			return
		}
		if got.release.After(now.Add(time.Hour)) || got.by.Return && !got.by.At.After(now) {
			t.Errorf("%q: %+v", line, got)
		}
		if end := pathEnd(line); !strings.HasPrefix(rest, line[:end]) {
			t.Errorf("%q became %q", line, rest)
		}
		if again, more, reply := cutTimes(rest, now, time.Hour); again != rest || more != (times{}) || reply != "" {
			t.Errorf("%q has still some: %q, %+v, %q", rest, again, more, reply)
		}
	})
}

// keywords are those of EHLO on a new connection, before TLS.
func keywords(t *testing.T, h *house) string {
	t.Helper()
	c := h.dial(t)
	fmt.Fprint(c, "EHLO laptop\r\n")
	buf := make([]byte, 4096)
	var all string
	for !strings.Contains(all, "250 ") {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		all += string(buf[:n])
	}
	return all
}

func TestOnlyUsersMayAskForATime(t *testing.T) {
	if all := keywords(t, build(t, Submission, nil)); !strings.Contains(all, "250-DELIVERBY\r\n") || !strings.Contains(all, "250-FUTURERELEASE 2592000 20") {
		t.Errorf("%s", all)
	}
	h := build(t, MX, nil)
	if all := keywords(t, h); strings.Contains(all, "DELIVERBY") || strings.Contains(all, "FUTURERELEASE") {
		t.Errorf("%s", all)
	}
	talk(t, h.dial(t), `
	S* 220
	C: EHLO client.example
	S* 250
	C: MAIL FROM:<a@there.test> HOLDFOR=60
	S: 555 5.5.4 Unknown parameter of MAIL
	C: MAIL FROM:<a@there.test> BY=60;R
	S: 555 5.5.4 Unknown parameter of MAIL
	C: MAIL FROM:<a@there.test>
	S* 250
	`)
}

func TestMailForLaterIsQueuedWhole(t *testing.T) {
	h := build(t, Submission, nil)
	c := talk(t, h.dial(t), login+`
	C: MAIL FROM:<alice@here.test> HOLDFOR=soon
	S: 501 5.5.4 Bad HOLDFOR: HOLDFOR=seconds
	C: MAIL FROM:<alice@here.test> HOLDFOR=3600 BY=7200;RT BODY=8BITMIME
	S* 250
	C: RCPT TO:<bob@here.test>
	S* 250
	C: RCPT TO:<list@here.test>
	S* 250
	C: RCPT TO:<both@here.test>
	S* 250
	C: RCPT TO:<null@here.test>
	S* 250
	C: RCPT TO:<x@there.test>
	S* 250
	C: RCPT TO:<nobody@here.test>
	S* 550
	C: DATA
	S* 354
	C: From: alice@here.test
	C: 
	C: later
	C: .
	S* 250
	C: MAIL FROM:<alice@here.test>
	S* 250
	C: RCPT TO:<bob@here.test>
	S* 250
	C: DATA
	S* 354
	C: From: alice@here.test
	C: 
	C: now
	C: .
	S* 250
	C: MAIL FROM:<alice@here.test> HOLDFOR=1
	S* 250
	C: RSET
	S* 250
	C: MAIL FROM:<alice@here.test> HOLDFOR=60
	S* 250
	C: RCPT TO:<null@here.test>
	S* 250
	C: DATA
	S* 354
	C: From: alice@here.test
	C: 
	C: nobody reads this
	C: .
	S* 250
	C: QUIT
	S* 221
	`)
	c.Close()
	delivered, queued, _ := h.mail()
	if len(delivered) != 1 || !strings.Contains(delivered[0].text, "now") || !delivered[0].env.ReleaseAt.IsZero() {
		t.Errorf("delivered at once: %+v", delivered)
	}
	if len(queued) != 1 {
		t.Fatalf("queued %+v", queued)
	}
	q := queued[0]
	slices.Sort(q.to)
	if want := []string{"alice@here.test", "bob@here.test", "bob@there.test", "x@there.test"}; !slices.Equal(q.to, want) {
		t.Errorf("queued for %v, want %v", q.to, want)
	}
	hold, by := time.Until(q.env.ReleaseAt), q.env.DeliverBy
	if hold < 50*time.Minute || hold > time.Hour || !by.Return || !by.Trace || by.At.Sub(q.env.ReleaseAt) != time.Hour || !q.env.EightBit {
		t.Errorf("%+v", q.env)
	}
}

func TestMailForLaterThatCannotBeQueuedIsRefused(t *testing.T) {
	h := build(t, Submission, nil)
	h.enqueue = fmt.Errorf("no disk")
	talk(t, h.dial(t), login+`
	C: MAIL FROM:<alice@here.test> HOLDFOR=3600
	S* 250
	C: RCPT TO:<bob@here.test>
	S* 250
	C: DATA
	S* 354
	C: From: alice@here.test
	C: 
	C: later
	C: .
	S* 451
	`)
}
