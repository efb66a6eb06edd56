package relay

import (
	"iter"
	"sync"
	"time"
)

// lame remembers the addresses at which no session could be opened, across
// messages and destinations: for a while they are tried after the others of a
// destination, so that a dead mail exchanger costs one message its timeout and not
// each of them. It forbids nothing: where all are lame, all are tried.
type lame struct {
	now func() time.Time

	mu    sync.Mutex // guards until
	until map[string]time.Time
}

const (
	// lameTime is for how long an address is remembered.
	lameTime = 5 * time.Minute
	// maxLame bounds the addresses that are remembered.
	maxLame = 10000
)

func newLame() *lame { return &lame{now: time.Now, until: map[string]time.Time{}} }

// note remembers what came of an address.
func (l *lame) note(addr string, opened bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if opened {
		delete(l.until, addr)
		return
	}
	now := l.now()
	if len(l.until) >= maxLame {
		l.forget(now)
	}
	if len(l.until) < maxLame {
		l.until[addr] = now.Add(lameTime)
	}
}

// forget drops those whose time is over. mu is held.
func (l *lame) forget(now time.Time) {
	for addr, until := range l.until {
		if !now.Before(until) {
			delete(l.until, addr)
		}
	}
}

func (l *lame) is(addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, ok := l.until[addr]
	return ok && l.now().Before(until)
}

// count is for the metrics.
func (l *lame) count() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(l.now())
	return float64(len(l.until))
}

// last puts the candidates that are lame behind the others, both in their order.
func (l *lame) last(all iter.Seq2[candidate, *failure]) iter.Seq2[candidate, *failure] {
	return func(yield func(candidate, *failure) bool) {
		var late []candidate
		for c, fail := range all {
			if fail == nil && l.is(c.dialAddr()) {
				late = append(late, c)
			} else if !yield(c, fail) {
				return
			}
		}
		for _, c := range late {
			if !yield(c, nil) {
				return
			}
		}
	}
}
