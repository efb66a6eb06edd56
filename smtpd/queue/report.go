package queue

import (
	"context"
	"fmt"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// finish is the job that ends an item: it sends the reports that are owed and
// removes the item when nothing is left. The debt was written before, and is
// written off after the report is durable: a crash between sends it twice.
func (q *Queue) finish(ctx context.Context, j *job) {
	e := j.entry
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.removed || e.held {
		q.drop(j)
		return
	}
	it, err := q.acquire(e)
	if err != nil {
		q.putOff(j, err)
		return
	}
	for _, kind := range []Report{ReportFailure, ReportDelay, ReportSuccess} {
		q.send(ctx, e, it, kind)
	}
	e.release()
	if e.removed {
		q.drop(j)
		return
	}
	next := time.Now().Add(backoff(e.reportTries, q.o.RetryMin, q.o.RetryMax))
	q.close(j, it, times{next: next}, it.owes())
}

// send sends one report about all recipients that owe it. e.mu is held, but
// not while the report is delivered; the item may change meanwhile.
func (q *Queue) send(ctx context.Context, e *entry, it *Item, kind Report) {
	var about []Recipient
	for _, r := range it.Recipients {
		if r.Owed == kind {
			about = append(about, r)
		}
	}
	if len(about) == 0 {
		return
	}
	head := *it
	e.mu.Unlock()
	err := q.deliver(ctx, &head, kind, about)
	e.mu.Lock()
	e.reportTries++
	if !q.writeOff(ctx, it, kind, err) {
		return
	}
	for i := range it.Recipients {
		if r := &it.Recipients[i]; r.Owed == kind && mentioned(about, r.Address) {
			r.Owed = NoReport
		}
	}
}

func mentioned(about []Recipient, address string) bool {
	for _, r := range about {
		if r.Address == address {
			return true
		}
	}
	return false
}

// writeOff decides whether a report is done with, and says in the log how.
func (q *Queue) writeOff(ctx context.Context, it *Item, kind Report, err error) bool {
	attrs := []any{"queue_id", it.ID, "trace", it.Envelope.Trace, "to", it.Envelope.ReversePath, "kind", kind}
	tooOld := time.Since(it.begins()) > 2*q.o.MaxAge
	switch {
	case err == nil:
		q.metrics.reports.WithLabelValues(string(kind), "sent").Inc()
		q.log.Info("reported to the sender", attrs...)
		return true
	case !status.IsTemporary(err) || tooOld:
		q.metrics.reports.WithLabelValues(string(kind), "lost").Inc()
		q.log.Error("cannot report to the sender; giving up", append(attrs, "err", err)...)
		return true
	}
	q.metrics.reports.WithLabelValues(string(kind), "deferred").Inc()
	q.log.Warn("cannot report to the sender yet", append(attrs, "err", err)...)
	return false
}

// deliver composes a report and hands it to Options.Bounce.
func (q *Queue) deliver(ctx context.Context, it *Item, kind Report, about []Recipient) error {
	if err := q.reports.take(it, time.Now()); err != nil {
		return err
	}
	c, err := q.store.content(it.ID)
	if err != nil {
		return err
	}
	defer c.Close()
	text, envelope, err := q.compose(it, c, kind, about)
	if err != nil {
		return err
	}
	return q.o.Bounce(ctx, envelope, text)
}

// compose makes a report, ready to be sent.
func (q *Queue) compose(it *Item, c *message.Content, kind Report, about []Recipient) (*message.Content, message.Envelope, error) {
	d := newDSN(q.o, it, kind, about, time.Now())
	text, err := d.compose(c)
	if err != nil {
		return nil, message.Envelope{}, fmt.Errorf("composing a report: %w", err)
	}
	return message.FromBytes(text), d.envelope(text), nil
}
