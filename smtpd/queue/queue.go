package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// Queue is an open spool. It is safe for concurrent use.
type Queue struct {
	o       Options
	log     *slog.Logger
	store   *store
	sched   *schedule
	metrics *metrics
	reports reportLimit

	mu      sync.Mutex // guards entries; no I/O under it
	entries map[string]*entry
}

// entry is what is kept in memory of an item.
type entry struct {
	id      string
	created time.Time
	sender  string // see job.sender

	// mu is held while the item's files are read and changed, never during an
	// attempt. It guards what follows.
	mu      sync.Mutex
	held    bool
	removed bool
	jobs    []*job
	// item is the item in full, while users jobs work on it or while it is
	// dirty: changed and not saved, because a write failed. No attempt begins
	// on a dirty item.
	item  *Item
	users int
	dirty bool
	// reportTries counts the attempts to send the reports that are owed.
	reportTries int
}

func newEntry(it *Item) *entry {
	return &entry{id: it.ID, created: it.Created, held: it.Held, sender: cmp.Or(it.Envelope.User, it.Envelope.ReversePath)}
}

// Open locks the queue's directory, brings it in order after a crash and loads
// it. Nothing is attempted before Run. The error is ErrLocked when another
// process has it.
func Open(o Options) (*Queue, error) {
	o = o.withDefaults()
	if err := o.Check(context.Background()); err != nil {
		return nil, err
	}
	st, err := openStore(o.Dir, o.Fault)
	if err != nil {
		return nil, err
	}
	q := &Queue{o: o, log: o.Logger, store: st, sched: newSchedule(o), reports: reportLimit{paces: newPaces()}, entries: make(map[string]*entry)}
	if err := st.recover(q.log, q.load); err != nil {
		st.close()
		return nil, err
	}
	if q.metrics, err = newMetrics(o.Registerer, q); err != nil {
		st.close()
		return nil, err
	}
	return q, nil
}

// Close gives the lock back. Run must have ended.
func (q *Queue) Close() error {
	q.metrics.unregister()
	return q.store.close()
}

// load takes an item that was found on disk into memory.
func (q *Queue) load(it *Item) {
	e := newEntry(it)
	q.entries[e.id] = e
	q.plan(e, it)
}

// plan makes the jobs that an item needs. e.mu is held, or e is not yet known
// to others.
func (q *Queue) plan(e *entry, it *Item) {
	if e.held {
		return
	}
	here := make(map[string]bool)
	for _, j := range e.jobs {
		here[j.dest.key] = true
	}
	due := make(map[string]times)
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if r.State != Pending {
			continue
		}
		key, at := q.o.Group(r.Address), q.times(it, r)
		if other, ok := due[key]; ok {
			at = at.earliest(other)
		}
		due[key] = at
	}
	if it.owes() || len(due) == 0 {
		due[reportKey] = times{}
	}
	for key, at := range due {
		if here[key] {
			continue
		}
		e.jobs = append(e.jobs, q.sched.add(e, key, at))
	}
}

// times is when a pending recipient is due.
func (q *Queue) times(it *Item, r *Recipient) times {
	t := times{next: r.Next, must: it.begins().Add(q.o.MaxAge)}
	if by := it.Envelope.DeliverBy; by.Return && by.At.Before(t.must) {
		t.must = by.At
	}
	if t.next.IsZero() {
		t.next = it.Created // first come, first served
	}
	if warn := q.warnAt(it); !r.Delayed && warn.Before(t.must) {
		t.must = warn
	}
	return t
}

// warnAt is when the sender is to be told that an item still waits: when the sender
// wants it (RFC 2852), or else as the options say; it may lie beyond the item's
// end.
func (q *Queue) warnAt(it *Item) time.Time {
	by := it.Envelope.DeliverBy
	switch {
	case !by.At.IsZero() && !by.Return:
		return by.At
	case q.o.DelayWarning < 0:
		return it.begins().Add(q.o.MaxAge)
	}
	return it.begins().Add(q.o.DelayWarning)
}

// reportKey is the destination of the jobs that end an item: they send the
// reports it owes and remove it.
const reportKey = "\x00report"

// Enqueue makes a message durable: when it returns nil, it will be delivered or
// its sender will hear of it. c stays the caller's. The error is a
// *status.Error.
func (q *Queue) Enqueue(ctx context.Context, env message.Envelope, c *message.Content) error {
	_, err := q.EnqueueID(ctx, env, c)
	return err
}

// EnqueueID is Enqueue that returns the item's id: env.Trace, or that with a
// number when it is taken.
func (q *Queue) EnqueueID(ctx context.Context, env message.Envelope, c *message.Content) (string, error) {
	if len(env.Recipients) == 0 {
		return "", status.New(554, 5, 1, "No valid recipients")
	}
	return q.commit(env, c, func(it *Item) {
		it.Held = q.o.HoldNew != nil && q.o.HoldNew(env)
	})
}

// Report tells the sender of a message what became of recipients that the
// queue had nothing to do with, such as one that refused a message others got:
// outcome has one error for each of env.Recipients, and nil for a delivery. As
// in the queue, only what the sender wants to know is told (RFC 3461), and
// nothing to a null or untrusted reverse-path. When it returns nil the report
// is durable: it will be composed from c and handed to Options.Bounce. c stays
// the caller's; the error is a *status.Error.
func (q *Queue) Report(ctx context.Context, env message.Envelope, c *message.Content, outcome []error) error {
	if len(outcome) != len(env.Recipients) {
		return status.Wrap(fmt.Errorf("%d outcomes for %d recipients", len(outcome), len(env.Recipients)), 451, 3, 0, "Local error")
	}
	it := newItem("", env, c.Size(), time.Now())
	if q.conclusions(it, outcome); !it.owes() {
		return nil
	}
	_, err := q.commit(env, c, func(new *Item) { new.Recipients = it.Recipients })
	return err
}

// conclusions gives every recipient of a new item its final state.
func (q *Queue) conclusions(it *Item, outcome []error) {
	for i, err := range outcome {
		r := &it.Recipients[i]
		r.Attempts, r.Last = 1, resultOf(message.Outcome{Err: err}, time.Now())
		if err == nil {
			r.State = Delivered
			q.owe(it, r, ReportSuccess)
			continue
		}
		r.State = Failed
		q.owe(it, r, ReportFailure)
	}
}

// commit makes a new item durable, as prepare has made it, and plans its jobs.
func (q *Queue) commit(env message.Envelope, c *message.Content, prepare func(*Item)) (string, error) {
	it, err := q.create(env, c, prepare)
	if err != nil {
		q.log.Error("cannot queue a message", "trace", env.Trace, "from", env.ReversePath, "err", err)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return "", status.SystemFull(err)
		}
		return "", status.Wrap(err, 451, 3, 0, "Cannot queue the message, try again later")
	}
	q.metrics.enqueued.Inc()
	q.log.Info("queued", "queue_id", it.ID, "trace", env.Trace, "from", env.ReversePath, "recipients", len(env.Recipients), "size", it.Size, "held", it.Held)
	e := newEntry(it)
	e.mu.Lock()
	defer e.mu.Unlock()
	q.mu.Lock()
	q.entries[e.id] = e
	q.mu.Unlock()
	q.plan(e, it)
	return it.ID, nil
}

// create writes a new item under the first free id.
func (q *Queue) create(env message.Envelope, c *message.Content, prepare func(*Item)) (*Item, error) {
	base := env.Trace
	if !validID(base) {
		base = newID()
	}
	for n := 1; ; n++ {
		id := base
		if n > 1 {
			id = fmt.Sprintf("%s-%d", base, n)
		}
		it := newItem(id, env, c.Size(), time.Now())
		prepare(it)
		err := q.store.create(it, c)
		if err == nil || !errors.Is(err, fs.ErrExist) || n == maxSuffix {
			return it, err
		}
	}
}

// maxSuffix bounds the search for a free id.
const maxSuffix = 1000

// get finds an entry.
func (q *Queue) get(id string) (*entry, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e, ok := q.entries[id]; ok {
		return e, nil
	}
	return nil, fmt.Errorf("%s: %w", id, ErrNotFound)
}

// read gives an entry's item as it stands; the caller may read it only while
// it holds e.mu.
func (q *Queue) read(e *entry) (*Item, error) {
	if e.removed {
		return nil, fmt.Errorf("%s: %w", e.id, ErrNotFound)
	}
	if e.item != nil {
		return e.item, nil
	}
	return q.store.read(e.id)
}

// acquire keeps an entry's item in memory until release. A dirty one is saved
// first. e.mu is held.
func (q *Queue) acquire(e *entry) (*Item, error) {
	it, err := q.read(e)
	if err != nil {
		return nil, err
	}
	if e.dirty {
		if err := q.save(e, it); err != nil {
			return nil, err
		}
	}
	e.item = it
	e.users++
	return it, nil
}

// release ends an acquire. e.mu is held.
func (e *entry) release() {
	if e.users--; e.users == 0 && !e.dirty {
		e.item = nil
	}
}

// save makes the state of an item durable, or keeps it in memory until that
// can be done. e.mu is held.
func (q *Queue) save(e *entry, it *Item) error {
	err := q.store.write(it)
	e.dirty = err != nil
	if e.dirty {
		e.item = it
	} else if e.users == 0 {
		e.item = nil
	}
	return err
}

// forget ends an item. e.mu is held. The entry goes first, so that its id
// cannot be taken by a new item and lose that one's entry.
func (q *Queue) forget(e *entry) error {
	e.removed = true
	for _, j := range e.jobs {
		q.sched.drop(j)
	}
	q.mu.Lock()
	delete(q.entries, e.id)
	q.mu.Unlock()
	return q.store.remove(e.id)
}
