package queue

import (
	"context"
	"sync"
	"time"
)

// Run makes the attempts until ctx ends. It then lets those under way finish
// for up to Options.Grace, cancels the rest, and returns when all have ended.
// It always returns nil. Only one Run may be active.
func (q *Queue) Run(ctx context.Context) error {
	attempts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var work sync.WaitGroup
	q.dispatch(ctx, func(j *job, do func(context.Context, *job)) {
		work.Go(func() { do(attempts, j) })
	})
	grace := time.AfterFunc(q.o.Grace, cancel)
	defer grace.Stop()
	work.Wait()
	return nil
}

// dispatch hands jobs to start until ctx ends.
func (q *Queue) dispatch(ctx context.Context, start func(*job, func(context.Context, *job))) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		j, verdict, wait := q.sched.next(time.Now())
		switch {
		case verdict != nil:
			start(j, func(ctx context.Context, j *job) { q.conclude(ctx, j, *verdict) })
			continue
		case j != nil && j.dest.key == reportKey:
			start(j, q.finish)
			continue
		case j != nil:
			start(j, q.attempt)
			continue
		}
		if wait < 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-q.sched.wake:
		case <-timer.C:
		}
	}
}
