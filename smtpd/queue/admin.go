package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
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
		c.Active = q.active(e)
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

func (q *Queue) active(e *entry) bool {
	return slices.ContainsFunc(e.jobs, q.sched.running)
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

// Retry makes the chosen items due at once, those that are held excepted, and
// returns how many there are. It forgets what is known of their destinations.
func (q *Queue) Retry(ctx context.Context, f Filter) (int, error) {
	n := 0
	now := time.Now()
	err := q.each(ctx, f, func(e *entry, it *Item) error {
		if e.held {
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

// ReadDir reads a queue's directory without its lock: for a server that is
// stopped, or that does not answer. Items that end meanwhile are left out;
// those that cannot be read are in the error, beside the others. A directory
// that does not exist is an empty queue.
func ReadDir(dir string) ([]Item, error) {
	l, err := list(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var items []Item
	var errs []error
	for _, id := range l.envelopes {
		b, err := os.ReadFile(filepath.Join(dir, id+envelopeSuffix))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var it *Item
		if err == nil {
			it, err = decode(id, b)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		items = append(items, *it)
	}
	sortItems(items)
	return items, errors.Join(errs...)
}

// Snapshot calls fn with each item of a queue's directory, which a daemon may be
// using: the name and the open file of the message, then those of the
// envelope; also files that were set aside. Each item that was acknowledged
// before the call, and has not ended during it, is there, whole; those that end
// or arrive meanwhile may be. A directory that does not exist is an empty queue.
func Snapshot(dir string, fn func(name string, f *os.File) error) error {
	// Twice, since POSIX lets a name be missed that is replaced while the
	// directory is read.
	names := map[string]bool{}
	for range 2 {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			names[e.Name()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		id, isEnvelope := strings.CutSuffix(strings.TrimSuffix(name, brokenSuffix), envelopeSuffix)
		if !isEnvelope {
			continue
		}
		if err := snapshot(dir, []string{id + messageSuffix, name}, fn); err != nil {
			return err
		}
	}
	return nil
}

// snapshot opens all files before it hands on the first, so that an item that
// ends meanwhile is left out whole.
func snapshot(dir string, names []string, fn func(string, *os.File) error) error {
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		files = append(files, f)
	}
	for i, f := range files {
		if err := fn(names[i], f); err != nil {
			return err
		}
	}
	return nil
}
