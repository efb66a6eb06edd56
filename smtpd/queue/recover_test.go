package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// nthFault fails the nth call of a step, for good or once.
type nthFault struct {
	step string
	n    int
	once bool
	err  error
	seen int
}

func (f *nthFault) fault(step, _ string) error {
	if step != f.step {
		return nil
	}
	f.seen++
	if f.seen == f.n || !f.once && f.seen > f.n {
		return f.err
	}
	return nil
}

var steps = []string{"create", "write", "sync", "rename", "syncdir"}

func TestEnqueueThatFailsLeavesNothing(t *testing.T) {
	for _, step := range steps {
		for n := 1; n <= 2; n++ {
			if n == 2 && (step == "rename" || step == "syncdir") {
				continue // there is one of these
			}
			for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
				t.Run(fmt.Sprint(step, n, cause), func(t *testing.T) {
					nf := &nthFault{step: step, n: n, err: cause}
					f := newFixture(t, always(accepted), func(o *Options) { o.Fault = nf.fault })
					defer f.Close()
					err := f.Enqueue(t.Context(), envelope("bob@a.example"), message.FromBytes([]byte(text)))
					if e := status.From(err); err == nil || !e.Temporary() || !errors.Is(err, cause) || (e.Code == 452) != (cause == syscall.ENOSPC) {
						t.Errorf("err = %v", err)
					}
					f.empty()
				})
			}
		}
	}
}

// TestResultsSurviveFailingWrites lets each step of the envelope's rewriting
// fail once, or for a while: nobody who got the message gets it again, and
// nobody is forgotten.
func TestResultsSurviveFailingWrites(t *testing.T) {
	for _, step := range steps {
		for _, once := range []bool{true, false} {
			t.Run(fmt.Sprint(step, once), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					nf := &nthFault{step: step, n: 1 << 30, once: once, err: syscall.ENOSPC}
					f := newFixture(t, func(_ context.Context, a string, n int) message.Outcome {
						switch {
						case strings.HasPrefix(a, "no"):
							return never
						case strings.HasPrefix(a, "later") && n < 3:
							return later
						}
						return accepted
					}, func(o *Options) { o.Fault = nf.fault })
					defer f.Close()
					f.put(envelope("bob@a.example", "later@a.example", "no@b.example", "eve@c.example"))
					nf.n = nf.seen + 1
					f.run(time.Hour)
					nf.n = 1 << 30 // the disk has room again
					f.run(time.Hour)
					f.empty()
					for a, want := range map[string]int{"bob@a.example": 1, "later@a.example": 3, "no@b.example": 1, "eve@c.example": 1} {
						if n := len(f.script.attempts(a)); n != want {
							t.Errorf("%s: %d attempts, want %d", a, n, want)
						}
					}
					if len(f.sent()) != 1 {
						t.Errorf("%d reports", len(f.sent()))
					}
				})
			})
		}
	}
}

// logged is a log that a test can look into.
type logged struct{ bytes.Buffer }

func (l *logged) options(o *Options) { o.Logger = slog.New(slog.NewTextHandler(l, nil)) }

func TestRecoveryPutsTheDirectoryInOrder(t *testing.T) {
	good := func(f *fixture) []string { return []string{"t1.env", "t1.msg"} }
	cases := []struct {
		name  string
		spoil func(dir string) error
		left  func(f *fixture) []string
		log   string
	}{
		{"nothing wrong", func(string) error { return nil }, good, ""},
		{"a message without an envelope", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "t9.msg"), []byte("half"), 0o600)
		}, good, "never acknowledged"},
		{"a temporary envelope", func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "t9.env.tmp"), []byte("{"), 0o600), os.WriteFile(filepath.Join(dir, "t1.env.tmp"), []byte("{"), 0o600))
		}, good, ""},
		{"a broken envelope", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "t1.env"), []byte(`{"version":1,"id":`), 0o600)
		}, func(*fixture) []string { return []string{"t1.env.broken", "t1.msg"} }, "setting a broken queue file aside"},
		{"an empty envelope", func(dir string) error { return os.Truncate(filepath.Join(dir, "t1.env"), 0) },
			func(*fixture) []string { return []string{"t1.env.broken", "t1.msg"} }, "setting a broken queue file aside"},
		{"an envelope of another item", func(dir string) error {
			return os.Rename(filepath.Join(dir, "t1.env"), filepath.Join(dir, "t2.env"))
		}, func(*fixture) []string { return []string{"t2.env.broken"} }, "setting a broken queue file aside"},
		{"a message that is gone", func(dir string) error { return os.Remove(filepath.Join(dir, "t1.msg")) },
			func(*fixture) []string { return []string{"t1.env.broken"} }, "setting a broken queue file aside"},
		{"a message that is short", func(dir string) error { return os.Truncate(filepath.Join(dir, "t1.msg"), 5) },
			func(*fixture) []string { return []string{"t1.env.broken", "t1.msg"} }, "its message has 5 bytes"},
		{"an envelope of a later version", func(dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, "t1.env"))
			b = bytes.Replace(b, []byte(`"version":1`), []byte(`"version":99,"new":{}`), 1)
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "t1.env"), b, 0o600))
		}, good, "later version"},
		{"a foreign file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "README"), nil, 0o600) },
			func(*fixture) []string { return []string{"README", "t1.env", "t1.msg"} }, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, always(accepted))
			defer func() { f.Close() }()
			f.put(envelope("bob@a.example"))
			if err := c.spoil(f.dir); err != nil {
				t.Fatal(err)
			}
			log := new(logged)
			for range 2 { // the second start finds the order of the first
				f.reopen(log.options)
				if got, want := f.files(), c.left(f); !slices.Equal(got, want) {
					t.Errorf("files %v, want %v", got, want)
				}
			}
			if c.log == "" && log.Len() > 0 || !strings.Contains(log.String(), c.log) {
				t.Errorf("log: %s", log)
			}
		})
	}
}

func TestStateSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(later))
		defer func() { f.Close() }()
		env := envelope("bob@a.example", "eve@b.example")
		env.EnvID, env.Ret, env.User, env.SMTPUTF8, env.EightBit, env.RequireTLS = "e1", "HDRS", "alice", true, true, true
		env.Recipients[0].ORcpt, env.Recipients[0].Notify = "rfc822;bob@x", []string{"FAILURE", "DELAY"}
		f.put(env)
		f.run(30 * time.Minute)
		before, err := f.Show(t.Context(), "t1")
		if err != nil {
			t.Fatal(err)
		}
		f.reopen()
		after, err := f.Show(t.Context(), "t1")
		if err != nil || fmt.Sprintf("%+v", before.Envelope) != fmt.Sprintf("%+v", after.Envelope) || after.Recipients[0].Attempts != before.Recipients[0].Attempts {
			t.Errorf("before %+v\nafter %+v, %v", before, after, err)
		}
		if !after.Recipients[0].Next.Equal(before.Recipients[0].Next) || after.Recipients[0].ORcpt != "rfc822;bob@x" || after.Envelope.Ret != "HDRS" || !after.Envelope.RequireTLS {
			t.Errorf("after %+v", after)
		}
		n := len(f.script.attempts("bob@a.example"))
		f.run(time.Until(after.Recipients[0].Next) - time.Second)
		if d := len(f.script.attempts("bob@a.example")) - n; d > 0 {
			t.Errorf("the restart led to %d early attempts", d)
		}
	})
}

func TestConcurrentWritersShareTheDirectorySync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		d := dirSync{sync: func() error { calls++; time.Sleep(time.Second); return nil }}
		for range 20 {
			go func() {
				if err := d.wait(); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait() // the first is in its round; all others join the next
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if calls != 2 {
			t.Errorf("%d syncs for 20 writers", calls)
		}
	})
}

func TestDirSyncTellsEveryWaiter(t *testing.T) {
	boom := errors.New("boom")
	d := dirSync{sync: func() error { return boom }}
	d.soon()
	for range 3 {
		if err := d.wait(); !errors.Is(err, boom) {
			t.Error(err)
		}
	}
}

func TestContentThatDoesNotKeepItsLengthIsRefused(t *testing.T) {
	f := newFixture(t, always(accepted))
	defer f.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(file, "hello")
	c, err := message.FromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	file.Truncate(2)
	if err := f.Enqueue(t.Context(), envelope("bob@a.example"), c); err == nil {
		t.Error("a cut message was taken")
	}
	f.empty()
}

func FuzzDecode(f *testing.F) {
	it := newItem("t1", envelope("bob@a.example", "eve@a.example"), 7, time.Unix(1e9, 0))
	it.Recipients[0].Last = resultOf(never, time.Unix(1e9, 0))
	it.Recipients[0].Owed = ReportFailure
	b, err := it.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1,"id":"t1","created":"2026-01-01T00:00:00Z","envelope":{},"recipients":[{"address":"a","state":"pending"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		it, err := decode("t1", b)
		if err != nil {
			return
		}
		if it.ID != "t1" || it.Version != version || len(it.Recipients) == 0 || it.Active {
			t.Fatalf("accepted %+v", it)
		}
		again, err := it.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode("t1", again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if third, _ := back.encode(); !bytes.Equal(again, third) {
			t.Fatalf("not stable: %s, %s", again, third)
		}
	})
}
