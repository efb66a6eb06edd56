package queue

import (
	"slices"
	"time"
)

// line is where the jobs of a destination wait. Their senders have turns, so that
// the one message of somebody does not wait for the thousands of somebody else;
// each sender's own are in the order of job.next. The schedule's mutex guards it.
type line struct {
	bySender map[string]*senderLine
	turns    []*senderLine // those with jobs, whose turn is next first
	n        int
}

type senderLine struct {
	sender string
	jobs   []*job
}

func (l *line) len() int { return l.n }

func (l *line) push(j *job) {
	s := l.bySender[j.sender()]
	if s == nil {
		if l.bySender == nil {
			l.bySender = map[string]*senderLine{}
		}
		s = &senderLine{sender: j.sender()}
		l.bySender[s.sender] = s
		l.turns = append(l.turns, s)
	}
	s.jobs = append(s.jobs, j)
	for i := len(s.jobs) - 1; i > 0 && j.next.Before(s.jobs[i-1].next); i-- {
		s.jobs[i], s.jobs[i-1] = s.jobs[i-1], j // it had its place before
	}
	l.n++
}

// overdue takes out the jobs that must have a result by now.
func (l *line) overdue(now time.Time) []*job {
	var out []*job
	l.turns = slices.DeleteFunc(l.turns, func(s *senderLine) bool {
		s.jobs = slices.DeleteFunc(s.jobs, func(j *job) bool {
			late := !now.Before(j.must)
			if late {
				out = append(out, j)
			}
			return late
		})
		if len(s.jobs) == 0 {
			delete(l.bySender, s.sender)
		}
		return len(s.jobs) == 0
	})
	l.n -= len(out)
	return out
}

// pop takes out the job whose turn it is; nil if there is none.
func (l *line) pop() *job {
	if l.n == 0 {
		return nil
	}
	s := l.turns[0]
	l.turns[0] = nil
	l.turns = l.turns[1:]
	j := s.jobs[0]
	s.jobs[0] = nil
	s.jobs = s.jobs[1:]
	if len(s.jobs) > 0 {
		l.turns = append(l.turns, s)
	} else {
		delete(l.bySender, s.sender)
	}
	l.n--
	return j
}

// sender is who has a turn: the account that submitted the message, or else the
// reverse-path.
func (j *job) sender() string {
	if j.entry == nil {
		return ""
	}
	return j.entry.sender
}
