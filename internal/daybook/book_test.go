package daybook

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// desk is a Book with a clock, which notes what is sent.
type desk struct {
	*Book[int]
	dir  string
	now  time.Time
	on   bool
	err  error // of Send
	sent []string
}

func newDesk(t *testing.T, dir string) *desk {
	d := &desk{dir: dir, now: time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC), on: true}
	d.Book = New(Options[int]{
		Store: Store[int]{Dir: dir}, About: "test", MaxDomains: 3, Delay: time.Hour, Now: func() time.Time { return d.now }, On: func() bool { return d.on },
		Send: func(_ context.Context, start time.Time, domain string, n *int) error {
			if d.err == nil {
				d.sent = append(d.sent, fmt.Sprintf("%s %s %d", start.Format(time.DateOnly), domain, *n))
			}
			*n += 100
			return d.err
		},
	})
	return d
}

func (d *desk) count(domains ...string) {
	for _, domain := range domains {
		d.Count(domain, func(n *int) { *n++ })
	}
}

// round is one of Run's at a time, of which d.sent has the reports.
func (d *desk) round(t *testing.T, at string) []string {
	t.Helper()
	var err error
	if d.now, err = time.Parse("2006-01-02 15:04", at); err != nil {
		t.Fatal(err)
	}
	d.sent = nil
	d.Round(t.Context())
	slices.Sort(d.sent)
	return d.sent
}

func TestDaysAreReportedWhenTheyAreOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "days")
	d := newDesk(t, dir)
	d.count("a.example", "b.example", "a.example", "c.example", "d.example") // the last is beyond MaxDomains
	if got := d.round(t, "2026-03-04 23:59"); got != nil {
		t.Errorf("before the end: %q", got)
	}
	d = newDesk(t, dir) // a restart goes on
	d.count("b.example", "d.example")
	d.now = d.now.Add(24 * time.Hour)
	d.count("a.example")
	if got := d.round(t, "2026-03-05 00:59"); got != nil {
		t.Errorf("before the delay: %q", got)
	}
	want := []string{"2026-03-04 a.example 2", "2026-03-04 b.example 2", "2026-03-04 c.example 1"}
	if got := d.round(t, "2026-03-05 01:00"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := d.round(t, "2026-03-05 23:00"); got != nil {
		t.Errorf("again: %q", got)
	}
	if got := d.round(t, "2026-03-06 01:00"); !slices.Equal(got, []string{"2026-03-05 a.example 1"}) {
		t.Errorf("the next day: %q", got)
	}
	if left := d.o.Dates(); left != nil {
		t.Errorf("left: %q", left)
	}
}

func TestWhatFailsIsTriedAgainForADayAndAHalf(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.count("a.example")
	d.err = errors.New("no way out")
	d.round(t, "2026-03-05 01:00")
	d.err = nil
	if got := d.round(t, "2026-03-05 01:59"); got != nil {
		t.Errorf("before an hour is over: %q", got)
	}
	// What Send has written into the counts is there at the next try.
	if got := d.round(t, "2026-03-05 02:00"); !slices.Equal(got, []string{"2026-03-04 a.example 101"}) {
		t.Errorf("after an hour: %q", got)
	}
	d.count("b.example")
	d.err = errors.New("no way out")
	d.round(t, "2026-03-06 01:00")
	if left := d.o.Dates(); len(left) != 1 {
		t.Errorf("given up at once: %q", left)
	}
	d.round(t, "2026-03-07 12:01")
	if left := d.o.Dates(); left != nil {
		t.Errorf("not given up: %q", left)
	}
}

func TestNothingIsCountedOrSentWhileOff(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.count("a.example")
	d.on = false
	d.count("b.example")
	if got := d.round(t, "2026-03-05 02:00"); got != nil {
		t.Errorf("%q", got)
	}
	d.on = true
	if got := d.round(t, "2026-03-05 02:00"); !slices.Equal(got, []string{"2026-03-04 a.example 1"}) {
		t.Errorf("%q", got)
	}
}

// TestRunEndsWithItsContext, and keeps the counts, and what is not sent yet.
func TestRunEndsWithItsContext(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.count("a.example")
	d.round(t, "2026-03-04 13:00")
	d.count("b.example")
	d.now = d.now.Add(24 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	d.o.Send = func(context.Context, time.Time, string, *int) error {
		cancel()
		return ctx.Err()
	}
	d.Run(ctx)
	if day, err := d.o.Load("2026-03-04"); err != nil || len(day.Domains) != 2 {
		t.Errorf("%v, %v", day, err)
	}
}
