package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// Report tells the sender of a message that was never queued what became of its
// recipients: some were served inside the SMTP transaction, whose one reply
// could not say two things. outcome has one error for each of env.Recipients;
// nil means delivered, everything else failed for good. Only what the sender
// asked for (RFC 3461 section 4.1) is reported, and only to a reverse-path that
// is authenticated. The reports are durable when the error is nil.
func (q *Queue) Report(ctx context.Context, env message.Envelope, c *message.Content, outcome []error) error {
	if len(outcome) != len(env.Recipients) {
		return fmt.Errorf("reporting to the sender: %d outcomes for %d recipients", len(outcome), len(env.Recipients))
	}
	now := time.Now()
	it := &Item{ID: env.Trace, Created: now, Size: c.Size(), Envelope: Envelope{Envelope: env}}
	it.Envelope.Envelope.Recipients = nil
	var errs []error
	for _, kind := range []Report{ReportFailure, ReportSuccess} {
		var about []Recipient
		for i, to := range env.Recipients {
			if (outcome[i] == nil) != (kind == ReportSuccess) {
				continue
			}
			r := Recipient{Recipient: to, State: Delivered, Attempts: 1, Last: resultOf(message.Outcome{Err: outcome[i]}, now)}
			if outcome[i] != nil {
				r.State = Failed
			}
			if q.owe(it, &r, kind); r.Owed == kind {
				about = append(about, r)
			}
		}
		if len(about) > 0 {
			errs = append(errs, q.reportNow(ctx, it, c, kind, about))
		}
	}
	return errors.Join(errs...)
}

// reportNow composes one report and hands it to Options.Bounce.
func (q *Queue) reportNow(ctx context.Context, it *Item, c *message.Content, kind Report, about []Recipient) error {
	text, envelope, err := q.compose(it, c, kind, about)
	if err != nil {
		return err
	}
	if err := q.o.Bounce(ctx, envelope, text); err != nil {
		return fmt.Errorf("sending a report: %w", err)
	}
	q.metrics.reports.WithLabelValues(string(kind), "sent").Inc()
	return nil
}
