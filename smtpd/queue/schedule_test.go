package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

func testSchedule(limit, perDest int) *schedule {
	return newSchedule(Options{Concurrency: limit, PerDestination: perDest, RetryMin: time.Minute, RetryMax: time.Hour})
}

var start = time.Unix(1e9, 0)

// due is a job that is due at once and has days left.
func due() times { return times{next: start, must: start.Add(5 * 24 * time.Hour)} }

func TestDestinationsTakeTurns(t *testing.T) {
	s := testSchedule(100, 2)
	for range 10 {
		s.add(nil, "big.example", due())
	}
	s.add(nil, "small.example", times{next: start.Add(time.Second), must: due().must})
	s.add(nil, "other.example", times{next: start.Add(2 * time.Second), must: due().must})
	var got []string
	for {
		j, _, _ := s.next(start.Add(time.Minute))
		if j == nil {
			break
		}
		got = append(got, j.dest.key)
	}
	if fmt.Sprint(got) != "[big.example small.example other.example big.example]" {
		t.Errorf("order %v", got)
	}
}

func TestWaitsAreTold(t *testing.T) {
	s := testSchedule(1, 1)
	if _, _, wait := s.next(start); wait >= 0 {
		t.Errorf("empty: %v", wait)
	}
	at := due()
	at.next = start.Add(time.Minute)
	first := s.add(nil, "a.example", at)
	if j, _, wait := s.next(start); j != nil || wait != time.Minute {
		t.Errorf("job %v, wait %v", j, wait)
	}
	s.add(nil, "a.example", due())
	j, _, _ := s.next(start)
	if j == nil || j == first {
		t.Fatal("the due job was not handed out")
	}
	if _, _, wait := s.next(start.Add(time.Hour)); wait >= 0 {
		t.Errorf("no slot: %v", wait)
	}
	s.done(j)
	if j, _, _ := s.next(start.Add(time.Hour)); j != first {
		t.Errorf("after that: %v", j)
	}
}

func TestADeadDestinationIsProbedByOneJob(t *testing.T) {
	s := testSchedule(100, 4)
	for range 10 {
		s.add(nil, "dead.example", due())
	}
	verdict := message.Outcome{Reply: "nobody"}
	var out []*job
	for range 4 {
		j, _, _ := s.next(start)
		out = append(out, j)
	}
	for _, j := range out {
		s.unreachable(j.dest, verdict, start)
		s.again(j, times{next: start, must: j.must})
	}
	d := out[0].dest
	if d.down != 1 {
		t.Errorf("four attempts side by side count as %d", d.down)
	}
	if j, _, wait := s.next(start); j != nil || wait <= 0 {
		t.Errorf("handed out %v, wait %v", j, wait)
	}
	now := d.until
	if j, v, _ := s.next(now); j == nil || v != nil {
		t.Fatal("nobody probes")
	}
	if j, _, _ := s.next(now); j != nil {
		t.Error("two jobs probe")
	}
	s.reached(d)
	for range 3 {
		if j, _, _ := s.next(now); j == nil {
			t.Error("the destination is back and its slots are not used")
		}
	}
}

func TestAJobThatMustHaveAResultGetsTheVerdict(t *testing.T) {
	s := testSchedule(100, 4)
	first := s.add(nil, "dead.example", due())
	s.next(start)
	urgent := s.add(nil, "dead.example", times{next: start, must: start.Add(10 * time.Second)})
	s.unreachable(first.dest, message.Outcome{Reply: "nobody"}, start)
	if j, _, wait := s.next(start); j != nil || wait != 10*time.Second {
		t.Fatalf("%v, %v", j, wait)
	}
	j, v, _ := s.next(start.Add(10 * time.Second))
	if j != urgent || v == nil || v.Reply != "nobody" {
		t.Errorf("%v, %v", j, v)
	}
}

// TestScheduleInvariants drives a schedule by chance: bounds hold, no job is
// handed out twice at once, and all that is added and not dropped comes out.
func TestScheduleInvariants(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		limit, perDest := 1+r.IntN(5), 1+r.IntN(3)
		s := testSchedule(limit, perDest)
		now := start
		live := map[*job]bool{} // to come out once more
		out := map[*job]bool{}  // handed out
		perKey := map[string]int{}
		pick := func(m map[*job]bool) *job {
			for j := range m {
				return j
			}
			return nil
		}
		take := func() bool {
			j, _, _ := s.next(now)
			if j == nil {
				return false
			}
			if out[j] || !live[j] {
				t.Fatalf("seed %d: a job came out twice, or after it was dropped", seed)
			}
			out[j] = true
			perKey[j.dest.key]++
			if len(out) > limit || perKey[j.dest.key] > perDest {
				t.Fatalf("seed %d: %d at once, %d to one", seed, len(out), perKey[j.dest.key])
			}
			return true
		}
		finish := func(j *job, again bool) {
			delete(out, j)
			perKey[j.dest.key]--
			if r.IntN(3) == 0 {
				s.unreachable(j.dest, message.Outcome{}, now)
			} else {
				s.reached(j.dest)
			}
			if again {
				s.again(j, times{next: now.Add(time.Duration(r.IntN(100)) * time.Second), must: start.Add(1e6 * time.Hour)})
				return
			}
			delete(live, j)
			s.done(j)
		}
		for range 500 {
			now = now.Add(time.Duration(r.IntN(30)) * time.Second)
			switch r.IntN(5) {
			case 0:
				at := times{next: now.Add(time.Duration(r.IntN(60)-30) * time.Second), must: start.Add(1e6 * time.Hour)}
				live[s.add(nil, fmt.Sprint("d", r.IntN(6)), at)] = true
			case 1, 2:
				take()
			case 3:
				if j := pick(out); j != nil {
					finish(j, r.IntN(2) == 0)
				}
			case 4:
				if j := pick(live); j != nil && !out[j] {
					if r.IntN(2) == 0 {
						s.drop(j)
						delete(live, j)
					} else {
						s.hurry(j, now)
					}
				}
			}
		}
		for n := 0; len(live) > 0; n++ {
			now = now.Add(time.Minute)
			for take() {
			}
			for j := pick(out); j != nil; j = pick(out) {
				finish(j, false)
			}
			if n > 10000 {
				t.Fatalf("seed %d: %d jobs never come out", seed, len(live))
			}
		}
		if s.next(now.Add(1e6 * time.Hour)); len(s.dests) != 0 || s.active != 0 || len(s.waiting) != 0 {
			t.Fatalf("seed %d: left %d destinations, %d active, %d waiting", seed, len(s.dests), s.active, len(s.waiting))
		}
	}
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	for range 100 {
		for n := range 80 {
			d := backoff(n, time.Minute, 2*time.Hour)
			want := min(time.Minute<<min(max(n-1, 0), 20), 2*time.Hour)
			if d < want-want/8 || d > want+want/8 {
				t.Fatalf("after %d failures %v, want about %v", n, d, want)
			}
		}
	}
}
