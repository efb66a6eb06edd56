package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// Filter chooses items. The zero Filter chooses all; of several conditions all
// must hold.
type Filter struct {
	// IDs are item ids; none means any.
	IDs []string `json:"ids,omitempty"`
	// Sender is a reverse-path, "<>" the null one; empty means any.
	Sender string `json:"sender,omitempty"`
	// Recipient and Domain choose items with a pending recipient of that
	// address or domain.
	Recipient string `json:"recipient,omitempty"`
	Domain    string `json:"domain,omitempty"`
	// Held chooses items that are held.
	Held bool `json:"held,omitempty"`
}

// Match reports whether an item is chosen.
func (f Filter) Match(it *Item) bool {
	sender := it.Envelope.ReversePath
	if sender == "" {
		sender = "<>"
	}
	switch {
	case len(f.IDs) > 0 && !slices.Contains(f.IDs, it.ID),
		f.Sender != "" && !strings.EqualFold(f.Sender, sender),
		f.Held && !it.Held:
		return false
	}
	if f.Recipient == "" && f.Domain == "" {
		return true
	}
	return slices.ContainsFunc(it.Recipients, func(r Recipient) bool {
		return r.State == Pending &&
			(f.Recipient == "" || strings.EqualFold(f.Recipient, r.Address)) &&
			(f.Domain == "" || ByDomain(f.Domain) == ByDomain(r.Address))
	})
}

// List gives the chosen items, oldest first. It reads their envelope files.
func (q *Queue) List(ctx context.Context, f Filter) ([]Item, error) {
	var items []Item
	err := q.each(ctx, f, func(e *entry, it *Item) error {
		c := *it
		c.Recipients = slices.Clone(it.Recipients)
		c.Active = slices.ContainsFunc(e.jobs, q.sched.running)
		c.Paced = !c.Active && slices.ContainsFunc(e.jobs, q.sched.pacing)
		items = append(items, c)
		return nil
	})
	sortItems(items)
	return items, err
}

func sortItems(items []Item) {
	slices.SortFunc(items, func(a, b Item) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
}

// each calls do with every chosen item, under its entry's mu. An item that
// ended meanwhile is left out.
func (q *Queue) each(ctx context.Context, f Filter, do func(*entry, *Item) error) error {
	var errs []error
	for _, e := range q.candidates(f) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("going through the queue: %w", err)
		}
		errs = append(errs, q.one(e, f, do))
	}
	return errors.Join(errs...)
}

func (q *Queue) one(e *entry, f Filter, do func(*entry, *Item) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	it, err := q.read(e)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil || !f.Match(it) {
		return err
	}
	return do(e, it)
}

func (q *Queue) candidates(f Filter) []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []*entry
	for _, id := range f.IDs {
		if e, ok := q.entries[id]; ok {
			out = append(out, e)
		}
	}
	if len(f.IDs) > 0 {
		return out
	}
	for _, e := range q.entries {
		out = append(out, e)
	}
	return out
}

// Show gives one item; the error is ErrNotFound if there is none.
func (q *Queue) Show(ctx context.Context, id string) (Item, error) {
	items, err := q.List(ctx, Filter{IDs: []string{id}})
	if err == nil && len(items) == 0 {
		err = fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Item{}, err
	}
	return items[0], nil
}

// Content opens the message of an item; the caller closes it.
func (q *Queue) Content(id string) (*message.Content, error) {
	if _, err := q.get(id); err != nil {
		return nil, err
	}
	return q.store.content(id)
}

// Retry makes the chosen items due at once, except those that are held or that their
// senders want later, and returns how many there are. It forgets what is known of their destinations.
func (q *Queue) Retry(ctx context.Context, f Filter) (int, error) {
	n := 0
	now := time.Now()
	err := q.each(ctx, f, func(e *entry, it *Item) error {
		if e.held || it.Envelope.ReleaseAt.After(now) {
			return nil
		}
		n++
		for _, j := range e.jobs {
			q.sched.hurry(j, now)
		}
		return nil
	})
	return n, err
}

// Hold keeps the chosen items from being attempted until Release; attempts
// under way go on. A held item does not expire. It returns how many were not
// held before.
func (q *Queue) Hold(ctx context.Context, f Filter) (int, error) {
	n := 0
	err := q.each(ctx, f, func(e *entry, it *Item) error {
		if e.held {
			return nil
		}
		if err := q.mark(e, it, true); err != nil {
			return err
		}
		n++
		e.jobs = slices.DeleteFunc(e.jobs, func(j *job) bool {
			q.sched.drop(j)
			return !q.sched.running(j)
		})
		return nil
	})
	return n, err
}

// Release ends Hold for the chosen items and returns how many were held.
func (q *Queue) Release(ctx context.Context, f Filter) (int, error) {
	n := 0
	err := q.each(ctx, f, func(e *entry, it *Item) error {
		if !e.held {
			return nil
		}
		if err := q.mark(e, it, false); err != nil {
			return err
		}
		n++
		q.plan(e, it)
		return nil
	})
	return n, err
}

// mark writes the held state. e.mu is held.
func (q *Queue) mark(e *entry, it *Item, held bool) error {
	before := it.Held
	it.Held = held
	if err := q.store.write(it); err != nil {
		it.Held = before
		return err
	}
	e.dirty = false
	e.held = held
	if e.users == 0 {
		e.item = nil
	}
	return nil
}

// Remove drops the chosen items without a word to their senders and returns how
// many there were. An attempt under way may still deliver.
func (q *Queue) Remove(ctx context.Context, f Filter) (int, error) {
	n := 0
	err := q.each(ctx, f, func(e *entry, it *Item) error {
		n++
		q.log.Info("removed by hand", "queue_id", e.id, "trace", it.Envelope.Trace, "from", it.Envelope.ReversePath)
		return q.forget(e)
	})
	return n, err
}

// Return gives the chosen items up, held ones too, and returns how many there were:
// their recipients have failed, and the senders hear of it as of any failure. An
// attempt under way may still deliver.
func (q *Queue) Return(ctx context.Context, f Filter) (int, error) {
	n := 0
	err := q.each(ctx, f, func(e *entry, it *Item) error {
		if err := q.giveUp(e, it); err != nil {
			return err
		}
		n++
		return nil
	})
	return n, err
}

// errReturned is what the sender is told.
var errReturned = status.New(554, 3, 0, "The administrator of this server has taken the message out of its queue")

// giveUp lets every recipient that waits fail. e.mu is held.
func (q *Queue) giveUp(e *entry, it *Item) error {
	next := *it
	next.Held = false
	next.Recipients = slices.Clone(it.Recipients)
	for i := range next.Recipients {
		if r := &next.Recipients[i]; r.State == Pending {
			q.settle(&next, r, message.Outcome{Err: errReturned}, time.Now())
		}
	}
	q.log.Info("returned by hand", "queue_id", e.id, "trace", it.Envelope.Trace, "from", it.Envelope.ReversePath, "told", next.owes())
	if !next.owes() {
		return q.forget(e)
	}
	if err := q.store.write(&next); err != nil {
		return err
	}
	it.Held, it.Recipients = next.Held, next.Recipients // an attempt under way has it, too
	e.dirty, e.held = false, false
	if e.users == 0 {
		e.item = nil
	}
	e.jobs = slices.DeleteFunc(e.jobs, func(j *job) bool {
		q.sched.drop(j)
		return !q.sched.running(j)
	})
	q.plan(e, it)
	return nil
}
