package queue

import (
	"sync"
	"time"

	"svc.plus/mailsrvd/internal/status"
)

// reportRate bounds the reports about mail from elsewhere that go to one domain:
// a stranger whose mail an alias of ours sends on must not make a source of mail of
// us. What is over waits. Our own users hear of every message of theirs at once.
var reportRate = Rate{Messages: 60, Period: time.Hour}

// reportLimit counts reports by the domain they go to.
type reportLimit struct {
	mu    sync.Mutex // guards paces
	paces paces
}

// errManyReports makes a report wait.
var errManyReports = status.New(451, 7, 0, "There were too many reports to this domain lately")

// take counts a report about it, or is errManyReports.
func (l *reportLimit) take(it *Item, now time.Time) error {
	if it.Envelope.User != "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.paces.get(ByDomain(it.Envelope.ReversePath), reportRate, now)
	if p.free(now).After(now) {
		return errManyReports
	}
	p.at = append(p.at, now)
	return nil
}
