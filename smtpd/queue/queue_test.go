package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

const text = "From: alice@example.org\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n\r\nbody\r\n"

// script is a Transport that answers by function and remembers what it saw.
type script struct {
	answer func(ctx context.Context, address string, nth int) message.Outcome

	mu    sync.Mutex
	seen  []attemptSeen
	count map[string]int
}

type attemptSeen struct {
	at    time.Time
	rcpts []string
	text  string
}

func (s *script) Attempt(ctx context.Context, env message.Envelope, c *message.Content, rcpts []message.Recipient) []message.Outcome {
	b, _ := io.ReadAll(c.NewReader())
	a := attemptSeen{at: time.Now(), text: string(b)}
	var outs []message.Outcome
	for _, r := range rcpts {
		a.rcpts = append(a.rcpts, r.Address)
		s.mu.Lock()
		if s.count == nil {
			s.count = make(map[string]int)
		}
		s.count[r.Address]++
		n := s.count[r.Address]
		s.mu.Unlock()
		outs = append(outs, s.answer(ctx, r.Address, n))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, a)
	return outs
}

// attempts lists when each address was tried, since the bubble's beginning.
func (s *script) attempts(address string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var at []time.Time
	for _, a := range s.seen {
		if slices.Contains(a.rcpts, address) {
			at = append(at, a.at)
		}
	}
	return at
}

func always(out message.Outcome) func(context.Context, string, int) message.Outcome {
	return func(context.Context, string, int) message.Outcome { return out }
}

var (
	accepted = message.Outcome{Remote: "mx.example.net[192.0.2.1]", Reply: "250 2.0.0 queued as 77"}
	later    = message.Outcome{Err: status.New(451, 7, 1, "greylisted"), Remote: "mx.example.net[192.0.2.1]", Reply: "451 4.7.1 greylisted"}
	never    = message.Outcome{Err: status.New(550, 1, 1, "no such user"), Remote: "mx.example.net[192.0.2.1]", Reply: "550 5.1.1 no such user"}
	nobody   = message.Outcome{Err: status.New(451, 4, 1, "connection refused"), Unreachable: true}
)

// fixture is a queue with everything around it that a test wants to see.
type fixture struct {
	*Queue
	t       *testing.T
	script  *script
	dir     string
	mu      sync.Mutex
	reports []report
	bounce  func(ctx context.Context) error
}

type report struct {
	env  message.Envelope
	text string
	at   time.Time
}

func (f *fixture) options() Options {
	return Options{
		Dir: f.dir, Hostname: "mail.example.org", Transport: f.script,
		Bounce: func(ctx context.Context, env message.Envelope, c *message.Content) error {
			if f.bounce != nil {
				if err := f.bounce(ctx); err != nil {
					return err
				}
			}
			b, err := io.ReadAll(c.NewReader())
			f.mu.Lock()
			defer f.mu.Unlock()
			f.reports = append(f.reports, report{env, string(b), time.Now()})
			return err
		},
		Logger: slog.New(slog.NewTextHandler(testWriter{f.t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func (f *fixture) sent() []report {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reports)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

func newFixture(t *testing.T, answer func(context.Context, string, int) message.Outcome, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, script: &script{answer: answer}, dir: filepath.Join(t.TempDir(), "queue")}
	f.open(change...)
	return f
}

func (f *fixture) open(change ...func(*Options)) {
	f.t.Helper()
	o := f.options()
	for _, c := range change {
		c(&o)
	}
	q, err := Open(o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Queue = q
}

func (f *fixture) reopen(change ...func(*Options)) {
	f.t.Helper()
	f.Close()
	f.open(change...)
}

// run runs the queue for d of the bubble's time.
func (f *fixture) run(d time.Duration) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := f.Run(ctx); err != nil {
		f.t.Error(err)
	}
}

func envelope(to ...string) message.Envelope {
	env := message.Envelope{Trace: "t1", ReversePath: "alice@example.org", Trusted: true}
	for _, a := range to {
		env.Recipients = append(env.Recipients, message.Recipient{Address: a})
	}
	return env
}

func (f *fixture) put(env message.Envelope) string {
	f.t.Helper()
	id, err := f.EnqueueID(context.Background(), env, message.FromBytes([]byte(text)))
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

func (f *fixture) files() []string {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != lockName {
			names = append(names, e.Name())
		}
	}
	return names
}

func (f *fixture) empty() {
	f.t.Helper()
	if names := f.files(); len(names) != 0 {
		f.t.Errorf("files left: %v", names)
	}
	if s := f.Stats(); s != (Stats{}) {
		f.t.Errorf("left in memory: %+v", s)
	}
}

func TestDeliversAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(accepted))
		defer f.Close()
		if id := f.put(envelope("bob@a.example", "eve@a.example", "joe@b.example")); id != "t1" {
			t.Errorf("id = %q, want the trace", id)
		}
		f.run(time.Second)
		f.empty()
		if len(f.script.seen) != 2 {
			t.Errorf("%d attempts, want one for each destination: %v", len(f.script.seen), f.script.seen)
		}
		for _, a := range f.script.seen {
			if a.text != text {
				t.Errorf("message came as %q", a.text)
			}
		}
		if len(f.sent()) != 0 {
			t.Errorf("unwanted reports: %v", f.sent())
		}
	})
}

func TestRetriesWithGrowingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(later), func(o *Options) { o.DelayWarning = -1 })
		defer f.Close()
		f.put(envelope("bob@a.example"))
		f.run(24 * time.Hour)
		at := f.script.attempts("bob@a.example")
		want := time.Minute
		for i := 1; i < len(at); i++ {
			got := at[i].Sub(at[i-1])
			if got < want-want/8-time.Second || got > want+want/8+time.Second {
				t.Errorf("wait %d was %v, want about %v", i, got, want)
			}
			want = min(2*want, 2*time.Hour)
		}
		if len(at) < 15 {
			t.Errorf("only %d attempts in a day", len(at))
		}
	})
}

func TestGivesUpAtMaxAgeAndReturnsTheMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(later))
		defer f.Close()
		start := time.Now()
		f.put(envelope("bob@a.example"))
		f.run(10 * 24 * time.Hour)
		f.empty()
		at := f.script.attempts("bob@a.example")
		if last := at[len(at)-1].Sub(start); last < 5*24*time.Hour || last > 5*24*time.Hour+time.Minute {
			t.Errorf("last attempt after %v", last)
		}
		r := f.sent()
		if len(r) != 2 {
			t.Fatalf("%d reports, want a warning and a failure", len(r))
		}
		if d := r[0].at.Sub(start); d < 4*time.Hour || d > 4*time.Hour+time.Minute || !strings.Contains(r[0].text, "Action: delayed") {
			t.Errorf("warning after %v: %s", d, r[0].text)
		}
		if !strings.Contains(r[1].text, "Action: failed") || !strings.Contains(r[1].text, "Status: 4.4.7") {
			t.Errorf("failure: %s", r[1].text)
		}
	})
}

func TestReportsFailureAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(_ context.Context, a string, _ int) message.Outcome {
			if strings.HasPrefix(a, "no") {
				return never
			}
			return accepted
		})
		defer f.Close()
		f.put(envelope("no1@a.example", "bob@a.example", "no2@a.example"))
		f.run(time.Minute)
		f.empty()
		r := f.sent()
		if len(r) != 1 {
			t.Fatalf("%d reports, want one for both", len(r))
		}
		env := r[0].env
		if env.ReversePath != "" || len(env.Recipients) != 1 || env.Recipients[0].Address != "alice@example.org" {
			t.Errorf("envelope %+v", env)
		}
		for _, s := range []string{"rfc822; no1@a.example", "rfc822; no2@a.example", "Remote-MTA: dns; mx.example.net\r\n", "smtp; 550 5.1.1 no such user"} {
			if !strings.Contains(r[0].text, s) {
				t.Errorf("report lacks %q:\n%s", s, r[0].text)
			}
		}
		if strings.Contains(r[0].text, "bob@a.example") {
			t.Error("report names a recipient that got the mail")
		}
	})
}

func TestWhoIsTold(t *testing.T) {
	handed := accepted
	handed.Notifies = true
	local := message.Outcome{}
	cases := []struct {
		name    string
		out     message.Outcome
		notify  string
		change  func(*message.Envelope)
		actions []string // in time, over six days
	}{
		{"failure by default", never, "", nil, []string{"failed"}},
		{"failure when asked", never, "FAILURE", nil, []string{"failed"}},
		{"not when only success is asked", never, "SUCCESS", nil, nil},
		{"never", never, "NEVER", nil, nil},
		{"delay and failure by default", later, "", nil, []string{"delayed", "failed"}},
		{"only delay", later, "DELAY", nil, []string{"delayed"}},
		{"only failure", later, "FAILURE", nil, []string{"failed"}},
		{"no success by default", accepted, "", nil, nil},
		{"success relayed to a host without DSN", accepted, "SUCCESS", nil, []string{"relayed"}},
		{"success handed on", handed, "SUCCESS", nil, nil},
		{"success delivered here", local, "SUCCESS,FAILURE", nil, []string{"delivered"}},
		{"keyword in lower case", local, "success", nil, []string{"delivered"}},
		{"no bounce of a bounce", never, "", func(e *message.Envelope) { e.ReversePath = "" }, nil},
		{"no backscatter", never, "", func(e *message.Envelope) { e.Trusted = false }, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, always(c.out))
				defer f.Close()
				env := envelope("bob@a.example")
				if c.notify != "" {
					env.Recipients[0].Notify = strings.Split(c.notify, ",")
				}
				if c.change != nil {
					c.change(&env)
				}
				f.put(env)
				f.run(6 * 24 * time.Hour)
				f.empty()
				var got []string
				for _, r := range f.sent() {
					_, after, _ := strings.Cut(r.text, "Action: ")
					action, _, _ := strings.Cut(after, "\r\n")
					got = append(got, action)
				}
				if !slices.Equal(got, c.actions) {
					t.Errorf("reports %v, want %v", got, c.actions)
				}
			})
		})
	}
}

func TestAReportThatCannotBeSentIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(never))
		defer func() { f.Close() }()
		f.bounce = func(context.Context) error { return errors.New("disk trouble") }
		f.put(envelope("bob@a.example"))
		f.run(10 * time.Minute)
		if len(f.files()) != 2 {
			t.Fatalf("the debt is forgotten: %v", f.files())
		}
		f.bounce = nil
		f.reopen()
		f.run(time.Minute)
		f.empty()
		if len(f.sent()) != 1 || len(f.script.seen) != 1 {
			t.Errorf("%d reports after %d attempts, want one of each", len(f.sent()), len(f.script.seen))
		}
	})
}

func TestAReportThatNobodyTakesIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(never))
		defer f.Close()
		f.bounce = func(context.Context) error { return status.NoSuchUser("alice@example.org") }
		f.put(envelope("bob@a.example"))
		f.run(time.Minute)
		f.empty()
	})
}

func TestASlowDomainDelaysOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(ctx context.Context, a string, _ int) message.Outcome {
			if strings.HasSuffix(a, "@slow.example") {
				select {
				case <-time.After(10 * time.Minute):
				case <-ctx.Done():
					return later
				}
			}
			return accepted
		}, func(o *Options) { o.Concurrency, o.PerDestination = 6, 4 })
		defer f.Close()
		start := time.Now()
		for i := range 50 {
			f.put(envelope(fmt.Sprintf("u%d@slow.example", i)))
		}
		for i := range 20 {
			f.put(envelope(fmt.Sprintf("u@d%d.example", i)))
		}
		f.run(time.Minute)
		for i := range 20 {
			at := f.script.attempts(fmt.Sprintf("u@d%d.example", i))
			if len(at) != 1 || at[0].Sub(start) > time.Second {
				t.Errorf("d%d.example was tried at %v", i, at)
			}
		}
	})
}

func TestManyDeadDomainsDoNotHoldAllSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(ctx context.Context, a string, _ int) message.Outcome {
			if strings.Contains(a, "@dead") {
				time.Sleep(30 * time.Second)
				return nobody
			}
			return accepted
		}, func(o *Options) { o.Concurrency, o.PerDestination, o.DelayWarning = 4, 4, -1 })
		defer f.Close()
		for i := range 100 {
			f.put(envelope(fmt.Sprintf("u%d@dead%d.example", i, i%4)))
		}
		f.run(8 * time.Minute) // each dead domain is probed by one job at a time
		start := time.Now()
		f.put(envelope("bob@alive.example"))
		f.run(30 * time.Minute)
		at := f.script.attempts("bob@alive.example")
		if len(at) != 1 || at[0].Sub(start) > time.Minute {
			t.Errorf("the living domain was tried %v after its message came", at[0].Sub(start))
		}
		if n := len(f.script.seen); n > 120 {
			t.Errorf("%d attempts; the dead domains were not left alone", n)
		}
	})
}

func TestMailForADeadDomainComesBackInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(context.Context, string, int) message.Outcome {
			time.Sleep(time.Minute)
			return nobody
		})
		defer f.Close()
		start := time.Now()
		for i := range 200 {
			env := envelope(fmt.Sprintf("u%d@dead.example", i))
			env.User = "alice" // who hears of each of them
			f.put(env)
		}
		f.run(5*24*time.Hour + 30*time.Minute)
		f.empty()
		sent := f.sent()
		if len(sent) != 400 {
			t.Errorf("%d reports, want a warning and a failure for each", len(sent))
		}
		for _, r := range sent[:200] {
			if d := r.at.Sub(start); d < 4*time.Hour || d > 4*time.Hour+5*time.Minute || !strings.Contains(r.text, "Action: delayed") {
				t.Fatalf("warning after %v:\n%s", d, r.text)
			}
		}
		for _, r := range sent[200:] {
			if !strings.Contains(r.text, "connection refused") || r.at.Sub(start) < 5*24*time.Hour {
				t.Fatalf("report after %v:\n%s", r.at.Sub(start), r.text)
			}
		}
	})
}

func TestADomainThatComesBackGetsItsMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alive := time.Now().Add(3 * time.Hour)
		f := newFixture(t, func(context.Context, string, int) message.Outcome {
			if time.Now().Before(alive) {
				return nobody
			}
			return accepted
		})
		defer f.Close()
		for i := range 50 {
			f.put(envelope(fmt.Sprintf("u%d@back.example", i)))
		}
		f.run(6 * time.Hour)
		f.empty()
	})
}

func TestStopsOfTheDaemonAreNoFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(ctx context.Context, a string, n int) message.Outcome {
			if n > 1 || a == "done@a.example" {
				return accepted
			}
			<-ctx.Done()
			return message.Outcome{Err: ctx.Err(), Unreachable: true}
		})
		defer func() { f.Close() }()
		f.put(envelope("done@a.example", "bob@a.example"))
		start := time.Now()
		f.run(time.Minute)
		if d := time.Since(start); d != time.Minute+20*time.Second {
			t.Errorf("Run ended after %v, want the grace time", d)
		}
		it, err := f.Show(t.Context(), "t1")
		if err != nil || it.Recipients[0].State != Delivered || it.Recipients[1].Attempts != 0 || it.Recipients[1].State != Pending {
			t.Fatalf("%+v, %v", it, err)
		}
		f.reopen()
		f.run(time.Second)
		f.empty()
		if n := len(f.script.attempts("done@a.example")); n != 1 {
			t.Errorf("a delivered recipient was tried %d times", n)
		}
	})
}

func TestAPanickingTransportIsATemporaryFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(_ context.Context, _ string, n int) message.Outcome {
			if n == 1 {
				panic("bug")
			}
			return accepted
		})
		defer f.Close()
		f.put(envelope("bob@a.example"))
		f.run(2 * time.Minute)
		f.empty()
	})
}

type short struct{}

func (short) Attempt(context.Context, message.Envelope, *message.Content, []message.Recipient) []message.Outcome {
	return nil
}

func TestATransportWithoutAnAnswerIsATemporaryFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil, func(o *Options) { o.Transport = short{} })
		defer f.Close()
		f.put(envelope("bob@a.example"))
		f.run(time.Second)
		it, err := f.Show(t.Context(), "t1")
		if err != nil || it.Recipients[0].State != Pending || it.Recipients[0].Last.Code != 451 {
			t.Errorf("%+v, %v", it, err)
		}
	})
}

func TestEqualTracesGetTheirOwnIDs(t *testing.T) {
	f := newFixture(t, always(accepted))
	defer f.Close()
	var ids []string
	for range 3 {
		ids = append(ids, f.put(envelope("bob@a.example")))
	}
	if !slices.Equal(ids, []string{"t1", "t1-2", "t1-3"}) {
		t.Error(ids)
	}
	for _, bad := range []string{"", "../x", "a b", "-x", strings.Repeat("x", 65), "a.msg"} {
		env := envelope("bob@a.example")
		env.Trace = bad
		if id := f.put(env); !validID(id) || id == bad {
			t.Errorf("trace %q became id %q", bad, id)
		}
	}
}

func TestNoRecipientsIsRefused(t *testing.T) {
	f := newFixture(t, always(accepted))
	defer f.Close()
	err := f.Enqueue(t.Context(), envelope(), message.FromBytes([]byte(text)))
	if err == nil || status.IsTemporary(err) {
		t.Error(err)
	}
	f.empty()
}

func TestOnlyOneProcessRunsAQueue(t *testing.T) {
	f := newFixture(t, always(accepted))
	defer f.Close()
	if _, err := Open(f.options()); !errors.Is(err, ErrLocked) {
		t.Fatalf("second Open: %v", err)
	}
	f.Close()
	f.open()
}

func TestReportTellsWhatOthersFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(accepted))
		defer func() { f.Close() }()
		f.bounce = func(context.Context) error { return errors.New("disk trouble") }
		env := envelope("full@a.example", "got@a.example", "silent@a.example")
		env.Recipients[1].Notify = []string{"SUCCESS"}
		env.Recipients[2].Notify = []string{"NEVER"}
		c := message.FromBytes([]byte(text))
		outcome := []error{status.MailboxFull(nil), nil, status.NoSuchUser("silent@a.example")}
		if err := f.Report(t.Context(), env, c, outcome); err != nil {
			t.Fatal(err)
		}
		f.run(time.Second)
		f.bounce = nil
		f.reopen() // the debt survives
		f.run(time.Minute)
		f.empty()
		if len(f.script.seen) != 0 {
			t.Error("a report led to an attempt")
		}
		r := f.sent()
		if len(r) != 2 || !strings.Contains(r[0].text, "X-mailsrvd; 552 5.2.2 Mailbox is full") || !strings.Contains(r[1].text, "Action: delivered") {
			t.Fatalf("%v", r)
		}
		if strings.Contains(r[0].text, "silent@") || strings.Contains(r[0].text, "got@") {
			t.Error("the report names others")
		}
		env.Trusted = false
		if err := f.Report(t.Context(), env, c, outcome); err != nil {
			t.Fatal(err)
		}
		f.empty()
		if err := f.Report(t.Context(), env, c, nil); err == nil {
			t.Error("outcomes are missing")
		}
	})
}

func TestHoldNewHoldsBeforeAnyAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(accepted), func(o *Options) {
			o.HoldNew = func(env message.Envelope) bool { return env.User == "" }
		})
		defer func() { f.Close() }()
		f.put(envelope("bob@a.example"))
		f.run(time.Hour)
		f.reopen()
		f.run(10 * 24 * time.Hour)
		if it, err := f.Show(t.Context(), "t1"); err != nil || !it.Held || len(f.script.seen) != 0 {
			t.Fatalf("%+v, %v, %v", it, err, f.script.seen)
		}
		if n, err := f.Release(t.Context(), Filter{IDs: []string{"t1"}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		f.run(time.Second)
		f.empty()
	})
}
