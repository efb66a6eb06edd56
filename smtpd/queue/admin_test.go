package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/message"
)

func (f *fixture) fill() {
	for i, c := range []struct{ from, to string }{
		{"alice@example.org", "bob@a.example"}, {"", "eve@a.example"}, {"carol@example.org", "Bob@A.example,joe@b.example"}, {"dave@example.org", "x@bücher.example"},
	} {
		env := envelope(strings.Split(c.to, ",")...)
		env.Trace, env.ReversePath = fmt.Sprintf("q%d", i), c.from
		f.put(env)
	}
}

func ids(items []Item) []string {
	var out []string
	for _, it := range items {
		out = append(out, it.ID)
	}
	slices.Sort(out)
	return out
}

func TestFilters(t *testing.T) {
	f := newFixture(t, always(accepted))
	defer f.Close()
	f.fill()
	if _, err := f.Hold(t.Context(), Filter{IDs: []string{"q3"}}); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		f    Filter
		want []string
	}{
		{Filter{}, []string{"q0", "q1", "q2", "q3"}},
		{Filter{IDs: []string{"q1", "q9"}}, []string{"q1"}},
		{Filter{Sender: "Alice@example.org"}, []string{"q0"}},
		{Filter{Sender: "<>"}, []string{"q1"}},
		{Filter{Recipient: "bob@a.example"}, []string{"q0", "q2"}},
		{Filter{Domain: "A.EXAMPLE"}, []string{"q0", "q1", "q2"}},
		{Filter{Domain: "xn--bcher-kva.example"}, []string{"q3"}},
		{Filter{Domain: "a.example", Sender: "carol@example.org"}, []string{"q2"}},
		{Filter{Held: true}, []string{"q3"}},
		{Filter{Domain: "nowhere.example"}, nil},
	}
	for _, c := range cases {
		items, err := f.List(t.Context(), c.f)
		if err != nil || !slices.Equal(ids(items), c.want) {
			t.Errorf("%+v: %v, %v; want %v", c.f, ids(items), err, c.want)
		}
	}
}

func TestHoldReleaseRetryRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := false
		f := newFixture(t, func(context.Context, string, int) message.Outcome {
			if open {
				return accepted
			}
			return later
		})
		defer func() { f.Close() }()
		ctx := t.Context()
		f.fill()
		f.run(time.Second)
		if n, err := f.Hold(ctx, Filter{Domain: "a.example"}); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		if n, _ := f.Hold(ctx, Filter{}); n != 1 {
			t.Errorf("held %d more", n)
		}
		before := len(f.script.seen)
		f.run(8 * 24 * time.Hour) // held items do not expire
		f.reopen()                // and stay held
		f.run(time.Hour)
		if len(f.script.seen) != before || len(f.sent()) != 0 {
			t.Error("held items were worked on")
		}
		if n, _ := f.Retry(ctx, Filter{}); n != 0 {
			t.Errorf("retry took %d held items", n)
		}
		open = true
		if n, err := f.Release(ctx, Filter{IDs: []string{"q0", "q1"}}); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		f.run(time.Second)
		if items, _ := f.List(ctx, Filter{}); !slices.Equal(ids(items), []string{"q2", "q3"}) {
			t.Errorf("left: %v", ids(items))
		}
		if n, err := f.Remove(ctx, Filter{IDs: []string{"q2"}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if _, err := f.Show(ctx, "q2"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Show of a removed item: %v", err)
		}
		if _, err := f.Content("q2"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Content of a removed item: %v", err)
		}
		f.Release(ctx, Filter{})
		f.run(time.Second)
		f.empty()
	})
}

func TestRetryNow(t *testing.T) {
	for name, out := range map[string]message.Outcome{"deferred": later, "destination down": nobody} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open := false
				f := newFixture(t, func(context.Context, string, int) message.Outcome {
					if open {
						return accepted
					}
					return out
				})
				defer f.Close()
				f.put(envelope("bob@a.example"))
				f.run(10 * time.Hour)
				open = true
				if n, err := f.Retry(t.Context(), Filter{Recipient: "bob@a.example"}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				f.run(time.Second)
				f.empty()
			})
		})
	}
}

func TestChangesDuringAnAttempt(t *testing.T) {
	cases := []struct {
		name  string
		do    func(*fixture) (int, error)
		left  int
		again bool // after the attempt has failed
	}{
		{"hold", func(f *fixture) (int, error) { return f.Hold(context.Background(), Filter{}) }, 1, false},
		{"hold and release", func(f *fixture) (int, error) {
			f.Hold(context.Background(), Filter{})
			return f.Release(context.Background(), Filter{})
		}, 1, true},
		{"retry", func(f *fixture) (int, error) { return f.Retry(context.Background(), Filter{}) }, 1, true},
		{"remove", func(f *fixture) (int, error) { return f.Remove(context.Background(), Filter{}) }, 0, false},
		{"return", func(f *fixture) (int, error) { return f.Return(context.Background(), Filter{}) }, 0, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, func(context.Context, string, int) message.Outcome {
					time.Sleep(time.Minute)
					return later
				})
				defer func() { f.Close() }()
				f.put(envelope("bob@a.example"))
				go func() {
					time.Sleep(10 * time.Second)
					if it, err := f.Show(context.Background(), "t1"); err != nil || !it.Active {
						t.Errorf("during the attempt: %+v, %v", it, err)
					}
					if n, err := c.do(f); n != 1 || err != nil {
						t.Error(n, err)
					}
				}()
				f.run(30 * time.Minute)
				if n := len(f.files()) / 2; n != c.left {
					t.Errorf("%d items left", n)
				}
				if again := len(f.script.seen) > 1; again != c.again {
					t.Errorf("%d attempts", len(f.script.seen))
				}
				at := f.script.attempts("bob@a.example")
				for i := 1; i < len(at); i++ {
					if at[i].Sub(at[i-1]) < time.Minute {
						t.Error("two attempts at the same time")
					}
				}
			})
		})
	}
}

func TestReturnTellsTheSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(_ context.Context, address string, _ int) message.Outcome {
			if strings.HasPrefix(address, "good") {
				return accepted
			}
			return later
		})
		defer func() { f.Close() }()
		put := func(trace, from string, trusted bool, to ...message.Recipient) {
			f.put(message.Envelope{Trace: trace, ReversePath: from, Trusted: trusted, Recipients: to})
		}
		put("q1", "alice@example.org", true, message.Recipient{Address: "good@a.example"}, message.Recipient{Address: "bob@a.example"})
		put("q2", "alice@example.org", true, message.Recipient{Address: "eve@b.example", Notify: []string{"NEVER"}})
		put("q3", "stranger@example.net", false, message.Recipient{Address: "bob@a.example"})
		put("q4", "", true, message.Recipient{Address: "bob@a.example"})
		put("q5", "carol@example.org", true, message.Recipient{Address: "bob@a.example"})
		f.run(time.Second)
		if n, err := f.Hold(t.Context(), Filter{IDs: []string{"q1"}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := f.Return(t.Context(), Filter{Domain: "b.example"}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		f.reopen() // what is owed is on disk
		if n, err := f.Return(t.Context(), Filter{Recipient: "bob@a.example"}); n != 4 || err != nil {
			t.Fatal(n, err)
		}
		if left, _ := f.List(t.Context(), Filter{}); !slices.Equal(ids(left), []string{"q1", "q5"}) {
			t.Errorf("with a report to send: %v", ids(left))
		}
		f.reopen()
		f.run(time.Second)
		f.empty()
		var to []string
		for _, r := range f.sent() {
			to = append(to, r.env.Recipients[0].Address)
			if r.env.ReversePath != "" || !strings.Contains(r.text, "Final-Recipient: rfc822; bob@a.example\r\nAction: failed\r\nStatus: 5.3.0\r\n") || strings.Contains(r.text, "good@a.example") {
				t.Errorf("report %s", r.text)
			}
		}
		slices.Sort(to)
		if !slices.Equal(to, []string{"alice@example.org", "carol@example.org"}) {
			t.Errorf("told: %v", to)
		}
	})
}

func TestReturnThatCannotBeWrittenChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := false
		f := newFixture(t, always(accepted), func(o *Options) {
			o.Fault = func(string, string) error {
				if broken {
					return errors.New("no disk")
				}
				return nil
			}
		})
		f.put(envelope("bob@a.example"))
		broken = true
		if n, err := f.Return(t.Context(), Filter{}); n != 0 || err == nil {
			t.Error(n, err)
		}
		broken = false
		f.run(time.Second)
		if f.empty(); len(f.sent()) != 0 || len(f.script.attempts("bob@a.example")) != 1 {
			t.Errorf("%v", f.sent())
		}
	})
}

func TestReadDirNeedsNoLock(t *testing.T) {
	f := newFixture(t, always(accepted))
	defer f.Close()
	f.fill()
	os.WriteFile(filepath.Join(f.dir, "bad.env"), []byte("{"), 0o600)
	items, err := ReadDir(f.dir)
	if err == nil || !strings.Contains(err.Error(), "bad") || len(items) != 4 {
		t.Errorf("%v, %v", ids(items), err)
	}
	if items, err := ReadDir(filepath.Join(f.dir, "missing")); err != nil || len(items) != 0 {
		t.Errorf("a queue that never was: %v, %v", items, err)
	}
}

func TestContentOfAnItem(t *testing.T) {
	f := newFixture(t, always(accepted))
	defer f.Close()
	id := f.put(envelope("bob@a.example"))
	c, err := f.Content(id)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, _ := io.ReadAll(c.NewReader()); string(b) != text {
		t.Errorf("content %q", b)
	}
}

func TestTheFileIsTheJSONOfTheItem(t *testing.T) {
	f := newFixture(t, always(accepted))
	defer f.Close()
	f.put(envelope("bob@a.example"))
	b, err := os.ReadFile(filepath.Join(f.dir, "t1.env"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if env := m["envelope"].(map[string]any); env["recipients"] != nil {
		t.Errorf("recipients stand twice: %s", b)
	}
	if _, ok := m["active"]; ok || m["version"] != 1.0 {
		t.Errorf("%s", b)
	}
	fi, err := os.Stat(filepath.Join(f.dir, "t1.msg"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

func TestMetricsByDestinationAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := newFixture(t, always(accepted), func(o *Options) { o.Registerer = reg })
		defer f.Close()
		values := func(name string) map[string]float64 {
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			v := map[string]float64{}
			for _, m := range families {
				for _, one := range m.Metric {
					if m.GetName() == name {
						label := ""
						for _, l := range one.Label {
							label += l.GetValue() + " "
						}
						v[label] = one.Counter.GetValue() + one.Gauge.GetValue()
					}
				}
			}
			return v
		}
		const more = 30
		for i := range maxNamed + more {
			f.put(envelope(fmt.Sprintf("u@d%d.example", i)))
		}
		time.Sleep(time.Hour)
		f.put(envelope("u@d0.example"))
		if age := values("mailsrvd_queue_oldest_seconds")[""]; age != 3600 {
			t.Errorf("the oldest is %v seconds old", age)
		}
		f.run(time.Second)
		v := values("mailsrvd_queue_destination_results_total")
		sum := 0.0
		for _, n := range v {
			sum += n
		}
		if other := v["other delivered "]; len(v) != maxNamed+1 || sum != maxNamed+more+1 || other < more || other > more+1 {
			t.Errorf("%d series, %v in all, %v others", len(v), sum, other)
		}
		if age := values("mailsrvd_queue_oldest_seconds")[""]; age != 0 {
			t.Errorf("of an empty queue: %v", age)
		}
	})
}

func TestMetricsCountAndGoAway(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := newFixture(t, always(accepted), func(o *Options) { o.Registerer = reg })
	f.put(envelope("bob@a.example"))
	families, err := reg.Gather()
	if err != nil || len(families) < 4 {
		t.Fatalf("%v, %v", families, err)
	}
	for _, m := range families {
		if m.GetName() == "mailsrvd_queue_items" && m.Metric[0].Gauge.GetValue() != 1 {
			t.Errorf("items %v", m)
		}
	}
	f.reopen(func(o *Options) { o.Registerer = reg }) // on the same registry
	f.Close()
	if families, _ := reg.Gather(); len(families) != 0 {
		t.Errorf("left: %v", families)
	}
}

func TestCheckFindsEveryProblem(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o755)
	o := Options{Dir: dir, RetryMin: time.Hour, RetryMax: time.Minute, MaxAge: time.Second}
	err := o.Check(t.Context())
	for _, want := range []string{"no host name", "retry_max", "max_age", "open to others"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if _, err := Open(o); err == nil {
		t.Error("Open takes it")
	}
	if err := (Options{Dir: filepath.Join(dir, "new"), Hostname: "mail.example.org"}).Check(t.Context()); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	if err := (Options{Dir: file, Hostname: "mail.example.org"}).Check(t.Context()); err == nil {
		t.Error("a file is no directory")
	}
}

func TestByDomain(t *testing.T) {
	for a, want := range map[string]string{
		"bob@A.Example": "a.example", "bob@bücher.example": "xn--bcher-kva.example", `"a@b"@c.example`: "c.example",
		"bob@[192.0.2.1]": "[192.0.2.1]", "postmaster": "postmaster", "bob@a.example.": "a.example", "": "",
	} {
		if got := ByDomain(a); got != want {
			t.Errorf("ByDomain(%q) = %q", a, got)
		}
	}
}
