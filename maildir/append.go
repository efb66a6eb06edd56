package maildir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/message"
)

// Files that this process stores in an open folder get their UIDs here, many
// under one lock: while one batch is being written to the uidlist, the next one
// gathers. The order is that of Dovecot: lock, read what others appended, rename
// into place, append and sync the lines, sync the directories, unlock. Only then
// are the messages announced.

// arrival is a file that waits for its UID.
type arrival struct {
	stored
	placed bool   // in its place: from the start for a delivery
	sought bool   // it was not in its place, and the folder was read for it
	guid   string // of the message it is a copy of, where its base is another one
	err    error
	done   chan arrivalResult
}

type arrivalResult struct {
	uid UID
	err error
}

// Append stores a message and returns its UID (APPENDUID, RFC 4315); it is
// durable and announced when the error is nil. Errors as Deliver's, and
// ErrTooManyKeywords, ErrRemoved, ErrLocked.
func (m *Mailbox) Append(ctx context.Context, c *message.Content, d Delivery) (UID, error) {
	uid, err := m.append(ctx, c, d)
	m.store.all.count(err)
	if errors.Is(err, ErrRemoved) || errors.Is(err, ErrTooManyKeywords) || errors.Is(err, ErrLocked) {
		return 0, err
	}
	return uid, storeError(err)
}

func (m *Mailbox) append(ctx context.Context, c *message.Content, d Delivery) (UID, error) {
	if err := m.store.checkQuota(ctx, Usage{c.Size(), 1}); err != nil {
		return 0, err
	}
	letters, err := m.keywordBits(ctx, d.Keywords)
	if err != nil {
		return 0, err
	}
	a := &arrival{done: make(chan arrivalResult, 1)}
	err = m.do(ctx, func(f *folder) (err error) {
		a.stored, err = f.stage(c, d, letters)
		return err
	})
	if err != nil {
		return 0, err
	}
	if !m.arrived(a) {
		return 0, ErrClosed
	}
	// The batch has its own time limit; giving up on it here could store a
	// message of which the client thinks that it failed.
	res := <-a.done
	return res.uid, res.err
}

// arrived queues a file for its UID. A delivery to a folder that no session
// watches is left to the next reader; false then, and after Close.
func (m *Mailbox) arrived(a *arrival) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.placed && (len(m.watchers) == 0 || m.err != nil) {
		return false
	}
	if !m.assigning && !m.store.all.begin() {
		return false
	}
	m.pending = append(m.pending, a)
	if !m.assigning {
		m.assigning = true
		go m.assignLoop()
	}
	return true
}

// assignLoop works until nothing waits.
func (m *Mailbox) assignLoop() {
	defer m.store.all.work.Done()
	for {
		m.disk <- struct{}{}
		more := m.assignPending(true)
		if !more {
			m.mu.Lock()
			// What came since is seen by whoever queued it.
			if more = len(m.pending) > 0; !more {
				m.assigning = false
			}
			m.mu.Unlock()
		}
		m.unlockDisk()
		if !more {
			return
		}
	}
}

// assignPending gives files that wait their UIDs, and reports whether there were
// any: all of them, or deliveries alone, for which nobody waits long for a foreign
// lock. m.disk is held. Sync needs it, since memory may count a delivery of ours as
// read (takeNews) that still waits here.
func (m *Mailbox) assignPending(all bool) bool {
	m.mu.Lock()
	var batch, left []*arrival
	for _, a := range m.pending {
		if all || a.done == nil {
			batch = append(batch, a)
		} else {
			left = append(left, a)
		}
	}
	m.pending = left
	m.mu.Unlock()
	if len(batch) == 0 {
		return false
	}
	m.assignBatch(batch)
	for _, a := range batch {
		if a.done != nil {
			a.done <- m.resultOf(a)
		}
	}
	return true
}

// resultOf finds the UID of a finished arrival.
func (m *Mailbox) resultOf(a *arrival) arrivalResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i, ok := m.byBase[a.Name]; ok && m.recs[i].live() {
		return arrivalResult{uid: m.recs[i].uid}
	}
	if a.err == nil {
		a.err = ErrExpunged // by another program, in this moment
	}
	return arrivalResult{err: a.err}
}

// assignBatch gives the batch its UIDs; failures are noted in each arrival. For
// a delivery a failure means only that a later reading gives the UID.
func (m *Mailbox) assignBatch(batch []*arrival) {
	ctx := context.WithoutCancel(m.store.all.ctx) // what was accepted is finished
	limit := min(syncLockWait, m.store.all.opt.LockWait)
	if m.store.all.opt.clock().Before(m.patience) {
		limit = 0
	}
	for _, a := range batch {
		if a.done != nil {
			limit = m.store.all.opt.LockWait
		}
	}
	err := m.locked(ctx, limit, func(f *folder) error { return m.placeBatch(f, batch) })
	if err == nil {
		return
	}
	m.force.Store(true)
	m.store.all.notify.later(m)
	for _, a := range batch {
		if a.err == nil {
			a.err = err
		}
	}
	// What is staged and never got its place must not stay in tmp/.
	_ = m.do(ctx, func(f *folder) error {
		for _, a := range batch {
			if !a.placed {
				f.unstage(&a.stored)
			}
		}
		return nil
	})
}

// locked runs fn as the owner with the lock of the uidlist, and everything that
// is in the list read. m.disk is held. When others have appended to the list, or
// fn finds that it was replaced, the folder is read, still under the lock, so that
// they cannot be ahead of us for ever, and fn runs anew.
func (m *Mailbox) locked(ctx context.Context, limit time.Duration, fn func(f *folder) error) error {
	if !m.loaded {
		if err := m.sync(ctx, limit); err != nil {
			return err
		}
	}
	defer m.releaseLock()
	wait := lockWait{limit: limit, quit: m.store.all.ctx.Done()}
	for tries := 0; ; {
		err := m.do(ctx, func(f *folder) error { return m.underLock(f, fn) })
		switch {
		case errors.Is(err, errHeld):
			if err := wait.pause(ctx); err != nil {
				return fmt.Errorf("locking the uidlist: %w", err)
			}
		case errors.Is(err, errListMoved), errors.Is(err, errNeedSync):
			if tries++; tries > 5 {
				return fmt.Errorf("%w: %w", ErrLocked, err)
			}
			if !m.list.present || errors.Is(err, errListMoved) {
				m.force.Store(true)
			}
			if err := m.sweep(ctx, &sweep{keepLock: true}); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// underLock takes the lock if we do not have it, and gives it back unless the
// folder has to be read first.
func (m *Mailbox) underLock(f *folder, fn func(f *folder) error) (err error) {
	if m.lock == nil {
		if m.lock, err = f.tryLock(listLock, listName, lockStale, &m.sight); err != nil {
			return err
		}
	}
	if err = m.catchUp(f); err == nil {
		err = fn(f)
	}
	if !errors.Is(err, errNeedSync) {
		f.unlock(m.lock)
		m.lock = nil
	}
	f.keepLock(m.lock)
	return err
}

// errNeedSync means that memory must first be brought up to date.
var errNeedSync = errors.New("uidlist has to be read again")

// catchUp reads what others appended to the list and to the keywords. Records
// that they added need a reading of the directories before ours may follow.
func (m *Mailbox) catchUp(f *folder) error {
	mark := f.mark(listName)
	if mark != m.seen.list || !m.list.present {
		r, err := f.readList(m.list)
		if errors.Is(err, errCorrupt) || err == nil && (!r.state.present || r.whole || indexLF(r.text) >= 0) {
			return errNeedSync
		}
		if err != nil {
			return err
		}
		m.list = r.state
		m.list.partial = r.text != "" // a crash left it: we have the lock
	}
	return m.refreshKeywords(f)
}

// placeBatch runs in the folder, under the lock.
func (m *Mailbox) placeBatch(f *folder, batch []*arrival) error {
	if err := m.seek(f, batch); err != nil {
		return err
	}
	m.store.quota.counting.RLock()
	defer m.store.quota.counting.RUnlock()
	return m.own(f, func() error {
		for _, a := range batch {
			if a.placed || a.err != nil {
				continue
			}
			a.err = f.place(&a.stored)
			a.placed = a.err == nil
		}
		return m.commit(f, batch)
	})
}

// seek looks for the files that got their place in an earlier visit. Another
// program may have renamed one since, or given it a UID and removed it: the folder
// is read once, and what that does not find is gone and needs no UID.
func (m *Mailbox) seek(f *folder, batch []*arrival) (err error) {
	for _, a := range batch {
		var st unix.Stat_t
		switch {
		case !a.placed || a.err != nil || m.hasBase(a.Name) || f.statIn(a.in, a.name, &st) == nil:
		case a.sought:
			a.err = ErrExpunged
		default:
			a.sought = true
			m.force.Store(true)
			err = errNeedSync
		}
	}
	return err
}

// commit gives files that are in their place their UIDs, durable in the uidlist,
// syncs the directories of those that somebody waits for (a delivery has done
// that itself) and announces the messages. If that fails, the files whose sender
// is told so are taken back; after errListMoved they stay for the next try.
func (m *Mailbox) commit(f *folder, batch []*arrival) error {
	from := m.addArrivals(batch)
	err := m.writeList(f, from)
	if errors.Is(err, errListMoved) {
		return err
	}
	var touched [2]bool
	for _, a := range batch {
		touched[a.in] = touched[a.in] || a.placed && a.done != nil
	}
	for in, yes := range touched {
		if yes && err == nil {
			err = f.syncIn(subdir(in))
		}
	}
	if err != nil {
		m.takeBack(f, batch, from)
		return err
	}
	f.addUsage(usageOf(batch))
	m.seen.list = f.mark(listName)
	m.announceFrom(from)
	return nil
}

// addArrivals makes records of the files that have none; a reading of the
// directory may have been faster.
func (m *Mailbox) addArrivals(batch []*arrival) (from int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from = len(m.recs)
	for _, a := range batch {
		if a.err != nil {
			continue
		}
		if _, known := m.byBase[a.Name]; known {
			continue
		}
		i := m.addStray(a.Name, strayFile{a.name, a.in})
		if a.guid != "" {
			m.ext[m.recs[i].uid] = "G" + a.guid
		}
	}
	return from
}

// takeBack undoes the placing of messages whose sender is told of a failure.
func (m *Mailbox) takeBack(f *folder, batch []*arrival, from int) {
	m.mu.Lock()
	if len(m.recs) > from {
		m.forgetFrom(from)
		m.list = listState{}
	}
	m.mu.Unlock()
	for _, a := range batch {
		if a.placed && a.done != nil {
			f.remove(a.in, a.name)
			a.placed = false
		}
	}
}

// announceFrom makes the records from index from on known.
func (m *Mailbox) announceFrom(from int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from == len(m.recs) {
		return
	}
	at := m.tick()
	for i := from; i < len(m.recs); i++ {
		m.announce(&m.recs[i], at, true)
	}
}
