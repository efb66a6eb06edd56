package queue

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// share is the part of an item that one job works on.
type share struct {
	item    *Item
	indexes []int // into item.Recipients
	rcpts   []message.Recipient
	tried   bool // an attempt was made
	waited  bool // none was made, and none was missed: the job keeps its place in line
}

// attempt makes one attempt for a job and records what came of it.
func (q *Queue) attempt(ctx context.Context, j *job) {
	sh, ok := q.begin(j)
	if !ok {
		return
	}
	start := time.Now()
	if late := sh.item.late(start); late != nil {
		q.record(j, sh, sh.all(*late), 0, false)
		return
	}
	sh.tried = true
	outs := q.transport(ctx, sh)
	dur := time.Since(start)
	q.metrics.attempts.Observe(dur.Seconds())
	if ctx.Err() == nil {
		q.judge(j.dest, outs)
	}
	q.record(j, sh, outs, dur, ctx.Err() != nil)
}

// conclude records a verdict without an attempt: the sender must be told
// something, and the destination is known to be down, or its rate holds the job
// back.
func (q *Queue) conclude(ctx context.Context, j *job, verdict message.Outcome) {
	if j.dest.key == reportKey {
		q.finish(ctx, j)
		return
	}
	sh, ok := q.begin(j)
	if !ok {
		return
	}
	sh.waited = !verdict.Unreachable
	if late := sh.item.late(time.Now()); late != nil {
		verdict = *late
	}
	q.record(j, sh, sh.all(verdict), 0, false)
}

// all is the same outcome for every recipient.
func (sh share) all(out message.Outcome) []message.Outcome {
	return slices.Repeat([]message.Outcome{out}, len(sh.rcpts))
}

// begin reads the job's share of its item. Without one it ends the job, or
// puts it off, and returns false.
func (q *Queue) begin(j *job) (share, bool) {
	e := j.entry
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.removed || e.held {
		q.drop(j)
		return share{}, false
	}
	it, err := q.acquire(e)
	if err != nil {
		q.putOff(j, err)
		return share{}, false
	}
	sh := share{item: it}
	for i, r := range it.Recipients {
		if r.State == Pending && q.o.Group(r.Address) == j.dest.key {
			sh.indexes = append(sh.indexes, i)
			sh.rcpts = append(sh.rcpts, r.Recipient)
		}
	}
	if len(sh.indexes) == 0 {
		e.release()
		q.drop(j)
		return share{}, false
	}
	return sh, true
}

// drop ends a job that was handed out. Its entry's mu is held.
func (q *Queue) drop(j *job) {
	e := j.entry
	for i, other := range e.jobs {
		if other == j {
			e.jobs = append(e.jobs[:i:i], e.jobs[i+1:]...)
			break
		}
	}
	q.sched.done(j)
}

// putOff is for trouble of our own, which says nothing about the message: the
// attempt is not counted and comes again.
func (q *Queue) putOff(j *job, err error) {
	q.log.Error("cannot work on a queued message", "queue_id", j.entry.id, "err", err)
	at := j.times
	at.next = time.Now().Add(backoff(1, q.o.RetryMin, q.o.RetryMax))
	q.sched.again(j, at)
}

// transport calls the Transport and makes sure of its answer: one outcome for
// each recipient, also when it fails us.
func (q *Queue) transport(ctx context.Context, sh share) (outs []message.Outcome) {
	fill := func(err error) {
		for len(outs) < len(sh.rcpts) {
			outs = append(outs, message.Outcome{Err: err})
		}
		outs = outs[:len(sh.rcpts)]
	}
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("an attempt panicked", "queue_id", sh.item.ID, "panic", p, "stack", string(debug.Stack()))
			outs = nil
			fill(status.Wrap(fmt.Errorf("panic: %v", p), 451, 3, 0, "Local error, will try again"))
		}
	}()
	c, err := q.store.content(sh.item.ID)
	if err != nil {
		fill(status.Wrap(err, 451, 3, 0, "Local error, will try again"))
		return outs
	}
	defer c.Close()
	outs = q.o.Transport.Attempt(ctx, sh.item.message(sh.rcpts), c, sh.rcpts)
	fill(status.New(451, 3, 0, "No result, will try again"))
	return outs
}

// judge tells the schedule whether anybody was there.
func (q *Queue) judge(d *destination, outs []message.Outcome) {
	for _, out := range outs {
		if !out.Unreachable || out.Err == nil {
			q.sched.reached(d)
			return
		}
	}
	q.sched.unreachable(d, outs[0], time.Now())
}

// record writes the outcomes into the item before anything else happens, and
// plans what is left. The failures of a cancelled attempt may be ours, so they
// are left out, and their recipients stay as they were.
func (q *Queue) record(j *job, sh share, outs []message.Outcome, dur time.Duration, cancelled bool) {
	e := j.entry
	e.mu.Lock()
	defer e.mu.Unlock()
	e.release()
	if e.removed {
		q.drop(j)
		return
	}
	it, now := sh.item, time.Now()
	var at times
	again := false
	for i, out := range outs {
		r := &it.Recipients[sh.indexes[i]]
		if r.State != Pending {
			q.log.Warn("an attempt has ended after the message was given up", "queue_id", it.ID, "to", r.Address, "delivered", out.Err == nil)
			continue
		}
		if !cancelled || out.Err == nil || !status.IsTemporary(out.Err) {
			if sh.tried {
				r.Attempts++
			}
			before := r.Next
			q.settle(it, r, out, now)
			if sh.waited && r.State == Pending {
				r.Next = before
			}
			q.logOutcome(it, r, out, dur)
		}
		if r.State != Pending {
			continue
		}
		if again {
			at = at.earliest(q.times(it, r))
			continue
		}
		again, at = true, q.times(it, r)
	}
	q.close(j, it, at, again)
}

// close saves an item after a job has changed it, and ends the job or puts it
// back for another time. Without anything left to do the item is removed. e.mu
// is held.
func (q *Queue) close(j *job, it *Item, at times, again bool) {
	e := j.entry
	if !it.pending() && !it.owes() {
		q.end(j)
		return
	}
	if err := q.save(e, it); err != nil {
		q.putOff(j, err) // acquire saves it before anything else
		return
	}
	if it.owes() && !e.held && !q.reporting(e) {
		e.jobs = append(e.jobs, q.sched.add(e, reportKey, times{}))
	}
	if !again || e.held {
		q.drop(j)
		return
	}
	q.sched.again(j, at)
}

// reporting reports whether a job for the item's reports is there. e.mu is
// held.
func (q *Queue) reporting(e *entry) bool {
	for _, j := range e.jobs {
		if j.dest.key == reportKey {
			return true
		}
	}
	return false
}

// end removes the item of a job that was handed out. e.mu is held.
func (q *Queue) end(j *job) {
	if err := q.forget(j.entry); err != nil && !errors.Is(err, ErrNotFound) {
		q.log.Error("cannot remove a finished message; it may be sent again", "queue_id", j.entry.id, "err", err)
	}
	q.drop(j)
}
