package queue

import (
	"container/heap"
	"sync"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// job is the work for one item at one destination. Its fields are guarded by
// the schedule's mutex, except entry and dest, which never change.
type job struct {
	entry *entry
	dest  *destination
	times
	index int // in waiting
	state jobState
}

// times is when a job is due.
type times struct {
	// next is when the next attempt is due.
	next time.Time
	// must is when the job needs a result even if its destination is down and
	// no attempt is made: its sender is to be warned, or its time is up.
	must time.Time
}

// earliest joins the times of two recipients of one job.
func (t times) earliest(u times) times {
	if u.next.Before(t.next) {
		t.next = u.next
	}
	if u.must.Before(t.must) {
		t.must = u.must
	}
	return t
}

type jobState uint8

const (
	idle    jobState = iota // not in the schedule
	waiting                 // its time has not come
	ready                   // in line at its destination
	dropped                 // in line, to be skipped
	running                 // handed out
)

// destination is where jobs wait in line. It is guarded by the schedule's
// mutex, except key.
type destination struct {
	key     string
	line    line
	jobs    int // in the schedule or handed out
	active  int
	inTurn  bool
	parked  bool      // its pace allows no message until parkedUntil
	down    int       // attempts in a row that reached nobody
	until   time.Time // left alone until then, while down
	verdict message.Outcome

	parkedUntil time.Time
}

// schedule decides which job is next. It does no I/O.
type schedule struct {
	limit, perDest int
	downMin        time.Duration
	downMax        time.Duration
	rateOf         func(key string) (string, Rate) // see Options.Rate; may be nil
	wake           chan struct{}                   // has room for one; a send means: ask next again

	mu      sync.Mutex // guards what follows
	waiting jobHeap
	dests   map[string]*destination
	turns   []*destination // with jobs in line and a free slot, in turn
	active  int
	parked  parkedHeap
	overdue []overdueJob // out of the lines of parked destinations
	paces   paces
}

func newSchedule(o Options) *schedule {
	return &schedule{
		limit: o.Concurrency, perDest: o.PerDestination,
		downMin: o.RetryMin, downMax: min(o.RetryMax, maxDown),
		rateOf: o.Rate,
		wake:   make(chan struct{}, 1),
		dests:  make(map[string]*destination),
		paces:  newPaces(),
	}
}

// maxDown bounds how long a destination is left alone. The items' own back-off
// goes further; this one only spares the slots.
const maxDown = 15 * time.Minute

// add puts a new job for e in.
func (s *schedule) add(e *entry, key string, at times) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dests[key]
	if d == nil {
		d = &destination{key: key}
		s.dests[key] = d
	}
	d.jobs++
	j := &job{entry: e, dest: d, times: at, state: waiting}
	heap.Push(&s.waiting, j)
	s.poke()
	return j
}

// poke makes the dispatcher look again. It never blocks.
func (s *schedule) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// hurry makes a waiting job due at once, whatever its destination's state.
func (s *schedule) hurry(j *job, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j.dest.down = 0
	if j.state == waiting {
		j.next = now
		heap.Fix(&s.waiting, j.index)
	}
	s.poke()
}

// drop takes a job out, unless it is being worked on.
func (s *schedule) drop(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch j.state {
	case waiting:
		heap.Remove(&s.waiting, j.index)
		j.state = idle
		s.release(j.dest)
	case ready:
		j.state = dropped // skipped when its turn comes
	}
}

// again puts a job that was handed out back for another time.
func (s *schedule) again(j *job, at times) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(j)
	j.times, j.state = at, waiting
	heap.Push(&s.waiting, j)
	s.poke()
}

// done ends a job that was handed out.
func (s *schedule) done(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(j)
	j.state = idle
	s.release(j.dest)
	s.poke()
}

// finish frees the slot of a job. mu is held.
func (s *schedule) finish(j *job) {
	s.active--
	j.dest.active--
	s.queueTurn(j.dest)
}

// release forgets a destination without jobs. mu is held.
func (s *schedule) release(d *destination) {
	if d.jobs--; d.jobs == 0 {
		delete(s.dests, d.key)
	}
}

// queueTurn gives d a turn if it has work and room. mu is held.
func (s *schedule) queueTurn(d *destination) {
	limit := s.perDest
	if d.down > 0 {
		limit = 1 // one job finds out whether it is back
	}
	if !d.inTurn && !d.parked && d.line.len() > 0 && d.active < limit {
		d.inTurn = true
		s.turns = append(s.turns, d)
	}
}

// next hands out a job, with the verdict for it when it must have a result and
// its destination is known to be down. Without a job to do it returns how long
// there will be none, unless wake says otherwise; a negative wait is for ever.
func (s *schedule) next(now time.Time) (j *job, verdict *message.Outcome, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active >= s.limit {
		return nil, nil, -1 // done and again wake us
	}
	if j, verdict := s.admit(now); j != nil {
		return j, verdict, 0
	}
	s.unpark(now)
	if j := s.inTurn(now); j != nil {
		return j, nil, 0
	}
	if j, verdict := s.nextOverdue(); j != nil {
		return j, verdict, 0
	}
	return nil, nil, s.nothingFor(now)
}

// inTurn takes the job whose turn it is. Destinations whose pace allows none are
// parked. mu is held.
func (s *schedule) inTurn(now time.Time) *job {
	for len(s.turns) > 0 {
		d := s.turns[0]
		s.turns[0] = nil
		s.turns = s.turns[1:]
		d.inTurn = false
		p := s.paceOf(d, now)
		if p != nil {
			if at := p.free(now); at.After(now) {
				s.park(d, p, now, at)
				continue
			}
		}
		j := s.first(d)
		if j == nil {
			continue
		}
		if p != nil {
			p.at = append(p.at, now)
		}
		s.hand(j)
		s.queueTurn(d)
		return j
	}
	return nil
}

// nothingFor is how long there will be nothing to do; negative for ever. mu is
// held.
func (s *schedule) nothingFor(now time.Time) time.Duration {
	var at time.Time
	if len(s.waiting) > 0 {
		at = s.waiting[0].next
	}
	if len(s.parked) > 0 && (at.IsZero() || s.parked[0].parkedUntil.Before(at)) {
		at = s.parked[0].parkedUntil
	}
	if at.IsZero() {
		return -1
	}
	return max(at.Sub(now), 0)
}

// admit moves the jobs whose time has come into line. A job at a destination
// that is down waits until that is over; if it must have a result, it is handed
// out with the destination's verdict. mu is held.
func (s *schedule) admit(now time.Time) (*job, *message.Outcome) {
	for len(s.waiting) > 0 && !s.waiting[0].next.After(now) {
		j := s.waiting[0]
		d := j.dest
		if d.down == 0 || !now.Before(d.until) {
			heap.Pop(&s.waiting)
			j.state = ready
			d.line.push(j)
			s.queueTurn(d)
			continue
		}
		if !now.Before(j.must) {
			heap.Pop(&s.waiting)
			s.hand(j)
			v := d.verdict
			return j, &v
		}
		j.next = d.until
		if j.must.Before(j.next) {
			j.next = j.must
		}
		heap.Fix(&s.waiting, 0)
	}
	return nil, nil
}

// first takes the first live job out of d's line. mu is held.
func (s *schedule) first(d *destination) *job {
	for j := d.line.pop(); j != nil; j = d.line.pop() {
		if j.state == ready {
			return j
		}
		j.state = idle
		s.release(d)
	}
	return nil
}

// hand marks a job as being worked on. mu is held.
func (s *schedule) hand(j *job) {
	j.state = running
	j.dest.active++
	s.active++
}

// reached tells that a destination answers.
func (s *schedule) reached(d *destination) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.down = 0
	s.queueTurn(d)
	s.poke()
}

// unreachable tells that an attempt found nobody there. All jobs of the
// destination wait: those in line go back to waiting.
func (s *schedule) unreachable(d *destination, verdict message.Outcome, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.verdict = verdict
	if d.down == 0 || !now.Before(d.until) { // attempts made side by side count once
		d.down++
		d.until = now.Add(backoff(d.down, s.downMin, s.downMax))
	}
	for j := s.first(d); j != nil; j = s.first(d) {
		j.state = waiting
		heap.Push(&s.waiting, j) // admit sees that d is down
	}
	s.poke()
}

// pacing reports whether j waits only for the pace of its destination.
func (s *schedule) pacing(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return j.state == ready && j.dest.parked
}

// running reports whether j is being worked on.
func (s *schedule) running(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return j.state == running
}
