package queue

import (
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// settle moves a recipient on by one outcome, and notes which report its
// sender is owed (RFC 3461 section 5).
func (q *Queue) settle(it *Item, r *Recipient, out message.Outcome, now time.Time) {
	r.Last = resultOf(out, now)
	r.Next = time.Time{}
	expires := it.begins().Add(q.o.MaxAge)
	switch {
	case out.Err == nil:
		r.State = Delivered
		if !out.Notifies || it.Envelope.DeliverBy.Trace {
			q.owe(it, r, ReportSuccess)
		}
	case !status.IsTemporary(out.Err):
		r.State = Failed
		q.owe(it, r, ReportFailure)
	case !now.Before(expires):
		r.State, r.Expired = Failed, true
		q.owe(it, r, ReportFailure)
	default:
		if !r.Delayed && !now.Before(q.warnAt(it)) {
			r.Delayed = true
			q.owe(it, r, ReportDelay)
		}
		r.Next = q.nextAttempt(it, r, now)
	}
}

// nextAttempt is when a recipient is tried again: after its back-off, but also
// when the sender is about to be warned, and once more at the very end.
func (q *Queue) nextAttempt(it *Item, r *Recipient, now time.Time) time.Time {
	next := now.Add(backoff(r.Attempts, q.o.RetryMin, q.o.RetryMax)).UTC().Truncate(time.Millisecond)
	if must := q.times(it, r).must; next.After(must) {
		return must
	}
	return next
}

// owe notes a report, if the sender wants it and may get it. A later report
// about the same recipient takes the place of one that was not sent yet.
func (q *Queue) owe(it *Item, r *Recipient, kind Report) {
	traced := kind == ReportSuccess && it.Envelope.DeliverBy.Trace && !wants(r.Notify, "NEVER")
	if !wants(r.Notify, kind) && !traced {
		r.Owed = NoReport
		return
	}
	switch {
	case it.Envelope.ReversePath == "":
		q.log.Info("no report on a report", "queue_id", it.ID, "to", r.Address, "kind", kind)
	case !it.Envelope.Trusted:
		q.log.Info("no report to a sender that may be forged", "queue_id", it.ID, "from", it.Envelope.ReversePath, "to", r.Address, "kind", kind)
	case q.o.Bounce == nil:
		q.log.Warn("no way to send a report", "queue_id", it.ID, "from", it.Envelope.ReversePath, "to", r.Address, "kind", kind)
	default:
		r.Owed = kind
		return
	}
	r.Owed = NoReport
}

// wants reads a NOTIFY parameter (RFC 3461 section 4.1). Without one, failures
// and delays are told and successes are not.
func wants(notify []string, kind Report) bool {
	if len(notify) == 0 {
		return kind == ReportFailure || kind == ReportDelay
	}
	return slices.ContainsFunc(notify, func(s string) bool { return strings.EqualFold(s, string(kind)) })
}

// logOutcome writes the one line that says what became of a recipient.
func (q *Queue) logOutcome(it *Item, r *Recipient, out message.Outcome, dur time.Duration) {
	attrs := []any{
		"queue_id", it.ID, "trace", it.Envelope.Trace, "from", it.Envelope.ReversePath, "to", r.Address,
		"remote", out.Remote, "code", r.Last.Code, "dur", dur, "age", r.Last.At.Sub(it.Created),
	}
	if out.TLS.Version != "" {
		attrs = append(attrs, "tls", out.TLS.Version, "cipher", out.TLS.Cipher, "verified", out.TLS.Verified)
	} else if out.Err == nil {
		attrs = append(attrs, "tls", "none")
	}
	if e := status.From(out.Err); e != nil {
		attrs = append(attrs, "err", e)
	} else if out.Reply != "" {
		attrs = append(attrs, "reply", out.Reply)
	}
	switch r.State {
	case Delivered:
		q.metrics.result(q.o.Group(r.Address), "delivered")
		q.log.Info("delivered", attrs...)
	case Failed:
		q.metrics.result(q.o.Group(r.Address), "failed")
		q.log.Warn("failed", append(attrs, "expired", r.Expired)...)
	default:
		q.metrics.result(q.o.Group(r.Address), "deferred")
		q.log.Info("deferred", append(attrs, "next", r.Next)...)
	}
}
