package queue

import (
	"container/heap"
	"fmt"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// Rate bounds how many messages are attempted at a destination: Messages at most
// in any Period. The zero Rate is no bound.
type Rate struct {
	Messages int
	Period   time.Duration
}

// pace holds destinations to a Rate. Those of one name share it.
type pace struct {
	rate Rate
	// at has the times of the latest messages, oldest first: those within the
	// period, and not more than the rate once allowed.
	at []time.Time
}

// free is when the next message may go; not after now if it may go at once.
func (p *pace) free(now time.Time) time.Time {
	for len(p.at) > 0 && !p.at[0].Add(p.rate.Period).After(now) {
		p.at = p.at[1:]
	}
	if len(p.at) < p.rate.Messages {
		return now
	}
	return p.at[len(p.at)-p.rate.Messages].Add(p.rate.Period)
}

// verdict is what the sender of a message hears that waits for a pace.
func (p *pace) verdict() message.Outcome {
	return message.Outcome{Err: status.New(451, 4, 5, fmt.Sprintf("This server sends at most %d messages in %v there, and this one has not had its turn", p.rate.Messages, p.rate.Period))}
}

// paces are those of some names. Idle ones are forgotten when there are many.
type paces struct {
	of   map[string]*pace
	many int
}

// minPaces is how many paces are kept without a look at them.
const minPaces = 1000

func newPaces() paces { return paces{of: map[string]*pace{}, many: minPaces} }

// get gives the pace of a name, with the rate as it is today.
func (ps *paces) get(name string, rate Rate, now time.Time) *pace {
	p := ps.of[name]
	if p == nil {
		if len(ps.of) >= ps.many {
			ps.forget(now)
		}
		p = &pace{}
		ps.of[name] = p
	}
	p.rate = rate
	return p
}

// forget drops the paces that hold nobody back.
func (ps *paces) forget(now time.Time) {
	for name, p := range ps.of {
		if p.free(now); len(p.at) == 0 {
			delete(ps.of, name)
		}
	}
	ps.many = max(minPaces, 2*len(ps.of))
}

// paceOf is the pace of a destination, or nil. mu is held.
func (s *schedule) paceOf(d *destination, now time.Time) *pace {
	if s.rateOf == nil || d.key == reportKey {
		return nil
	}
	name, rate := s.rateOf(d.key)
	if rate.Messages <= 0 {
		return nil
	}
	return s.paces.get(name, rate, now)
}

// park lets a destination wait until its pace allows another message. Jobs in its
// line that must have a result go without an attempt. mu is held.
func (s *schedule) park(d *destination, p *pace, now, until time.Time) {
	d.parked = true
	// Not for long at a time, so that another rate, or another time at which a
	// job must have a result, is seen.
	d.parkedUntil = until
	if look := now.Add(parkTime); look.Before(until) {
		d.parkedUntil = look
	}
	heap.Push(&s.parked, d)
	for _, j := range d.line.overdue(now) {
		s.overdue = append(s.overdue, overdueJob{j, p.verdict()})
	}
}

// parkTime is how long a destination is parked before its pace is asked again.
const parkTime = time.Minute

// overdueJob is a job that must have a result, which is that it waits.
type overdueJob struct {
	job     *job
	verdict message.Outcome
}

// unpark gives those destinations a turn whose time has come. mu is held.
func (s *schedule) unpark(now time.Time) {
	for len(s.parked) > 0 && !s.parked[0].parkedUntil.After(now) {
		d := heap.Pop(&s.parked).(*destination)
		d.parked = false
		s.queueTurn(d)
	}
}

// nextOverdue hands out a job that must have a result. mu is held.
func (s *schedule) nextOverdue() (*job, *message.Outcome) {
	for len(s.overdue) > 0 {
		o := s.overdue[0]
		s.overdue = s.overdue[1:]
		if o.job.state == ready {
			s.hand(o.job)
			return o.job, &o.verdict
		}
		o.job.state = idle // dropped meanwhile
		s.release(o.job.dest)
	}
	return nil, nil
}
