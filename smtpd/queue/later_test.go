package queue

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

func TestMailIsHeldUntilItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(later), func(o *Options) { o.MaxAge, o.DelayWarning = 10*time.Hour, 4*time.Hour })
		env := envelope("bob@a.example")
		begun := time.Now()
		release := begun.Add(7 * 24 * time.Hour)
		env.ReleaseAt = release
		f.put(env)
		f.run(24 * time.Hour)
		f.reopen(func(o *Options) { o.MaxAge, o.DelayWarning = 10*time.Hour, 4*time.Hour }) // it is on disk
		if n, err := f.Retry(t.Context(), Filter{}); n != 0 || err != nil {
			t.Errorf("retry takes it: %d, %v", n, err)
		}
		f.run(7 * 24 * time.Hour)
		at := f.script.attempts("bob@a.example")
		if len(at) < 5 || !at[0].Equal(release) {
			t.Fatalf("attempts %v, release %v", at, release)
		}
		// From then on all is as with any message.
		if last := at[len(at)-1].Sub(release); last != 10*time.Hour {
			t.Errorf("the last attempt after %v", last)
		}
		reports := f.sent()
		if len(reports) != 2 || reports[0].at.Sub(release).Round(time.Minute) != 4*time.Hour || reports[1].at.Sub(release) != 10*time.Hour {
			t.Errorf("reports %+v", reports)
		}
		f.empty()
	})
}

func TestDeliverBy(t *testing.T) {
	returned := message.DeliverBy{Return: true}
	for _, c := range []struct {
		name     string
		by       message.DeliverBy
		notify   []string
		out      message.Outcome
		until    time.Duration // of the attempts
		reports  string        // "action at"
		reported string        // in each
	}{
		{"returned", returned, nil, later, time.Hour - 1, "failed 1h0m0s", "Status: 5.4.7"},
		{"returned, nobody there", returned, nil, nobody, time.Hour - 1, "failed 1h0m0s", "Status: 5.4.7"},
		{"returned, silently", returned, []string{"NEVER"}, later, time.Hour - 1, "", ""},
		{"delayed", message.DeliverBy{}, nil, later, 10 * time.Hour, "delayed 1h0m0s, failed 10h0m0s", "bob@a.example"},
		{"delayed, nobody there", message.DeliverBy{}, nil, nobody, 10 * time.Hour, "delayed 1h0m0s, failed 10h0m0s", "bob@a.example"},
		{"delayed, silently", message.DeliverBy{}, []string{"FAILURE"}, later, 10 * time.Hour, "failed 10h0m0s", ""},
		{"in time", returned, nil, accepted, time.Hour - 1, "", ""},
		{"traced", message.DeliverBy{Return: true, Trace: true}, nil, accepted, time.Hour - 1, "relayed 0s", "bob@a.example"},
		{"traced, silently", message.DeliverBy{Trace: true}, []string{"NEVER"}, accepted, time.Hour, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, always(c.out), func(o *Options) { o.MaxAge = 10 * time.Hour })
				env := envelope("bob@a.example")
				env.Recipients[0].Notify = c.notify
				begun := time.Now()
				c.by.At = begun.Add(time.Hour)
				env.DeliverBy = c.by
				f.put(env)
				f.run(20 * time.Hour)
				at := f.script.attempts("bob@a.example")
				if len(at) == 0 || at[len(at)-1].Sub(begun) > c.until {
					t.Errorf("attempts %v", at)
				}
				var reports []string
				for _, r := range f.sent() {
					_, action, _ := strings.Cut(r.text, "Action: ")
					action, _, _ = strings.Cut(action, "\r\n")
					reports = append(reports, action+" "+r.at.Sub(begun).String())
					if !strings.Contains(r.text, c.reported) {
						t.Errorf("%s", r.text)
					}
				}
				if got := strings.Join(reports, ", "); got != c.reports {
					t.Errorf("reports %q, want %q", got, c.reports)
				}
				f.empty()
			})
		})
	}
}

func TestTooLateAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(accepted))
		env := envelope("bob@a.example")
		env.DeliverBy = message.DeliverBy{At: time.Now().Add(time.Minute), Return: true}
		f.put(env)
		time.Sleep(time.Hour) // the server is down
		f.run(time.Minute)
		if len(f.script.attempts("bob@a.example")) != 0 || len(f.sent()) != 1 {
			t.Errorf("%d attempts, %d reports", len(f.script.attempts("bob@a.example")), len(f.sent()))
		}
		f.empty()
	})
}

func TestTheEnvelopeReachesTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []message.Envelope
		f := newFixture(t, always(accepted), func(o *Options) { o.Transport = envelopes{&seen} })
		env := envelope("bob@a.example")
		env.DeliverBy = message.DeliverBy{At: time.Now().Add(time.Hour).UTC(), Return: true}
		f.put(env)
		f.reopen(func(o *Options) { o.Transport = envelopes{&seen} })
		f.run(time.Minute)
		if len(seen) != 1 || seen[0].DeliverBy != env.DeliverBy {
			t.Errorf("%+v", seen)
		}
	})
}

// envelopes takes every message and keeps its envelope.
type envelopes struct{ seen *[]message.Envelope }

func (e envelopes) Attempt(_ context.Context, env message.Envelope, _ *message.Content, rcpts []message.Recipient) []message.Outcome {
	*e.seen = append(*e.seen, env)
	return slices.Repeat([]message.Outcome{accepted}, len(rcpts))
}
