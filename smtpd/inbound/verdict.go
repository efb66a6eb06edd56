package inbound

import (
	"cmp"
	"context"
	"runtime/debug"
	"time"
)

// Results, as Authentication-Results names them (RFC 8601 section 2.7).
const (
	none      = "none"
	pass      = "pass"
	fail      = "fail"
	tempError = "temperror"
	permError = "permerror"
)

// Verdict is what one check says.
type Verdict struct {
	// Check is "iprev", "helo", "dnsbl", "greylist", "spf", "dkim", "arc" or "dmarc".
	Check string
	// Result is a result of RFC 8601 section 2.7 for this check.
	Result string
	// Reason says why, for people; it may have text of strangers.
	Reason string
	// Comment and Properties go into the header: what stands in parentheses,
	// and pairs of ptype.property and value.
	Comment    string
	Properties []Property

	domain string // what the check authenticates
	local  bool   // it has no place in Authentication-Results
}

// word is the result for the log, with what is known besides of checks that the
// header does not show.
func (v Verdict) word() string {
	if more := cmp.Or(v.Reason, v.Comment); v.local && more != "" {
		return v.Result + " (" + more + ")"
	}
	return v.Result
}

// Property is one propspec of RFC 8601 section 2.2, such as smtp.mailfrom.
type Property struct{ Name, Value string }

// A check sees connection, envelope and content.
type check[T any] func(ctx context.Context, m Mail) T

const reasonTime = "no answer in time"

// unfinished is the verdict of a check that did not come to an end.
func unfinished(name string) Verdict {
	return Verdict{Check: name, Result: tempError, Reason: reasonTime}
}

// grace is how long a check may take to notice that its time is over.
const grace = 500 * time.Millisecond

// beside starts a check and returns a function that waits for it. It gives
// otherwise when the check panics, or does not end in time; then the check goes
// on by itself until it notices.
func beside[T any](i *Inspector, ctx context.Context, m Mail, run check[T], otherwise T) func() T {
	done := make(chan T, 1)
	go func() {
		result := otherwise
		defer func() {
			if p := recover(); p != nil {
				i.metrics.panics.Inc()
				i.o.Logger.Error("a check of inbound mail has a bug", "trace", m.Trace, "err", p, "stack", string(debug.Stack()))
			}
			done <- result
		}()
		result = run(ctx, m)
	}()
	return func() T {
		select {
		case result := <-done:
			return result
		case <-ctx.Done():
		}
		late := time.NewTimer(grace)
		defer late.Stop()
		select {
		case result := <-done:
			return result
		case <-late.C:
			return otherwise
		}
	}
}
