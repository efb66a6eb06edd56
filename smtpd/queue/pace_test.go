package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// rated gives every destination but free.example a rate; those of shared share it.
func rated(r Rate, shared ...string) func(string) (string, Rate) {
	return func(key string) (string, Rate) {
		switch {
		case key == "free.example":
			return key, Rate{}
		case slices.Contains(shared, key):
			return "shared", r
		}
		return key, r
	}
}

func TestARateDelaysOnlyItsDestination(t *testing.T) {
	s := newSchedule(Options{Concurrency: 100, PerDestination: 100, RetryMin: time.Minute, RetryMax: time.Hour, Rate: rated(Rate{2, time.Minute})})
	for range 5 {
		s.add(nil, "slow.example", due())
	}
	for range 3 {
		s.add(nil, "free.example", due())
	}
	s.add(nil, "other.example", due())
	take := func(now time.Time) string {
		var keys []string
		for {
			j, verdict, _ := s.next(now)
			if j == nil {
				slices.Sort(keys)
				return strings.Join(keys, " ")
			}
			if verdict != nil {
				t.Errorf("a verdict: %+v", verdict)
			}
			keys = append(keys, strings.TrimSuffix(j.dest.key, ".example"))
			s.done(j)
		}
	}
	if got := take(start); got != "free free free other slow slow" {
		t.Errorf("at once: %s", got)
	}
	if _, _, wait := s.next(start.Add(10 * time.Second)); wait != 50*time.Second {
		t.Errorf("wait %v", wait)
	}
	if got := take(start.Add(59 * time.Second)); got != "" {
		t.Errorf("too early: %s", got)
	}
	if got := take(start.Add(time.Minute)); got != "slow slow" {
		t.Errorf("a minute later: %s", got)
	}
	if got := take(start.Add(2 * time.Minute)); got != "slow" {
		t.Errorf("two minutes later: %s", got)
	}
	if _, _, wait := s.next(start.Add(2 * time.Minute)); wait >= 0 || len(s.dests) != 0 {
		t.Errorf("left: wait %v, %d destinations", wait, len(s.dests))
	}
	// The pace outlives its destination: the next ones count with the last.
	for range 3 {
		s.add(nil, "slow.example", due())
	}
	if got := take(start.Add(2*time.Minute + time.Second)); got != "slow" {
		t.Errorf("new messages: %s", got)
	}
}

func TestDestinationsShareARate(t *testing.T) {
	s := newSchedule(Options{Concurrency: 100, PerDestination: 100, RetryMin: time.Minute, RetryMax: time.Hour, Rate: rated(Rate{3, time.Hour}, "a.example", "b.example")})
	for range 4 {
		s.add(nil, "a.example", due())
		s.add(nil, "b.example", due())
	}
	var n []int
	for now := start; now.Before(start.Add(3 * time.Hour)); now = now.Add(time.Minute) {
		for {
			j, _, _ := s.next(now)
			if j == nil {
				break
			}
			n = append(n, int(now.Sub(start)/time.Hour))
			s.done(j)
		}
	}
	if fmt.Sprint(n) != "[0 0 0 1 1 1 2 2]" {
		t.Errorf("hours %v", n)
	}
}

// TestNoWindowHasMoreThanTheRate sends at random times, and changes the rate.
func TestNoWindowHasMoreThanTheRate(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		rate := Rate{1 + r.IntN(5), time.Duration(1+r.IntN(100)) * time.Second}
		s := newSchedule(Options{Concurrency: 100, PerDestination: 3, RetryMin: time.Minute, RetryMax: time.Hour, Rate: rated(rate)})
		const jobs = 60
		var sent []time.Time
		added, now := 0, start
		for len(sent) < jobs {
			for range r.IntN(10) {
				if added < jobs {
					s.add(nil, "a.example", times{next: now, must: now.Add(1e6 * time.Hour)})
					added++
				}
			}
			for {
				j, _, _ := s.next(now)
				if j == nil {
					break
				}
				sent = append(sent, now)
				if r.IntN(4) == 0 { // deferred: the next attempt counts again
					s.again(j, times{next: now.Add(time.Second), must: j.must})
					continue
				}
				s.done(j)
			}
			now = now.Add(time.Duration(r.IntN(20000)) * time.Millisecond)
		}
		for i := range sent {
			if i >= rate.Messages && sent[i].Sub(sent[i-rate.Messages]) < rate.Period {
				t.Fatalf("seed %d: %v: %v", seed, rate, sent[i-rate.Messages:i+1])
			}
		}
	}
}

func TestPacesThatHoldNobodyAreForgotten(t *testing.T) {
	s := newSchedule(Options{Concurrency: 1, PerDestination: 1, RetryMin: time.Minute, RetryMax: time.Hour, Rate: rated(Rate{1, time.Second})})
	for i := range 5 * minPaces {
		s.add(nil, fmt.Sprint(i), due())
		j, _, _ := s.next(start.Add(time.Duration(i) * time.Second))
		s.done(j)
	}
	if n := len(s.paces.of); n > minPaces {
		t.Errorf("%d paces are kept", n)
	}
}

// TestMailThatWaitsForItsRate: no attempt is burnt, the sender is warned as of any
// delay, what was first stays first, and at the end of its time the message
// comes back.
func TestMailThatWaitsForItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, always(accepted), func(o *Options) {
			o.Rate = rated(Rate{1, 3 * time.Hour})
			o.MaxAge, o.DelayWarning = 10*time.Hour, 2*time.Hour
		})
		for i := range 6 {
			f.put(envelope(fmt.Sprintf("u%d@slow.example", i), fmt.Sprintf("v%d@slow.example", i)))
			time.Sleep(time.Second)
		}
		f.put(envelope("x@free.example"))
		begun := time.Now()
		f.run(time.Hour)
		if n := len(f.script.attempts("x@free.example")); n != 1 {
			t.Errorf("another destination: %d attempts", n)
		}
		items, err := f.List(t.Context(), Filter{})
		if err != nil || len(items) != 5 {
			t.Fatalf("%d items, %v", len(items), err)
		}
		for _, it := range items {
			if !it.Paced || it.Active || it.Recipients[0].Attempts != 0 {
				t.Errorf("%+v", it)
			}
		}
		if s := f.Stats(); s.Paced != 1 || s.Down != 0 {
			t.Errorf("%+v", s)
		}
		if len(f.sent()) != 0 {
			t.Errorf("reports: %v", f.sent())
		}
		f.run(12 * time.Hour)
		// One at 0, 3, 6 and 9 hours; the other two had 10 hours in vain.
		for i := range 6 {
			at := f.script.attempts(fmt.Sprintf("u%d@slow.example", i))
			switch {
			case i < 4 && (len(at) != 1 || at[0].Sub(begun).Round(time.Hour) != time.Duration(i)*3*time.Hour):
				t.Errorf("message %d was tried at %v", i, at)
			case i >= 4 && len(at) != 0:
				t.Errorf("message %d was tried at %v", i, at)
			}
		}
		var delayed, failed int
		for _, r := range f.sent() {
			if !strings.Contains(r.text, "at most 1 messages in 3h0m0s") || !strings.Contains(r.text, "v") {
				t.Errorf("report %s", r.text)
			}
			switch {
			case strings.Contains(r.text, "Action: delayed"):
				delayed++
			case strings.Contains(r.text, "Action: failed") && strings.Contains(r.text, "4.4.7"):
				failed++
			}
		}
		if delayed != 5 || failed != 2 {
			t.Errorf("%d warnings, %d failures in %d reports", delayed, failed, len(f.sent()))
		}
		f.empty()
	})
}

func TestARateEndsWithAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Bool
		f := newFixture(t, always(accepted), func(o *Options) {
			o.Rate = func(key string) (string, Rate) {
				if free.Load() {
					return key, Rate{}
				}
				return key, Rate{1, 24 * time.Hour}
			}
		})
		for range 3 {
			f.put(envelope("a@slow.example"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(f.script.attempts("a@slow.example")); n != 1 {
			t.Errorf("%d attempts", n)
		}
		free.Store(true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := len(f.script.attempts("a@slow.example")); n != 3 {
			t.Errorf("without a rate: %d attempts", n)
		}
		cancel()
		<-done
		f.empty()
	})
}

func TestDroppedJobsCostNoTurn(t *testing.T) {
	s := newSchedule(Options{Concurrency: 10, PerDestination: 10, RetryMin: time.Minute, RetryMax: time.Hour, Rate: rated(Rate{1, time.Minute})})
	first := s.add(nil, "a.example", due())
	second := s.add(nil, "a.example", times{next: start.Add(1), must: due().must})
	late := s.add(nil, "a.example", times{next: start.Add(2), must: start.Add(10 * time.Second)})
	j, _, _ := s.next(start.Add(2))
	if j != first {
		t.Fatal("not the first")
	}
	s.done(j)
	s.next(start.Add(time.Second)) // parks
	s.drop(second)
	if j, verdict, _ := s.next(start.Add(time.Minute)); j != nil {
		t.Errorf("too early: %v, %v", j, verdict)
	}
	if j, verdict, _ := s.next(start.Add(time.Minute + 2)); j != late || verdict != nil {
		t.Errorf("%v, %v", j, verdict)
	}
	s.done(late)
	if len(s.dests) != 0 {
		t.Errorf("%d destinations left", len(s.dests))
	}
}
