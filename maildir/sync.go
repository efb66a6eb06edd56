package maildir

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bringing memory and disk together.
//
// Other programs rename, remove and add files whenever they like, and no lock
// keeps them from it. readdir(3) beside a rename may show a file under both
// names or under none. So:
//
//   - A name seen twice in one reading is looked at again with stat.
//   - A message that was not seen is not yet expunged. It is, when it is missing
//     from a reading during and shortly before which neither directory changed,
//     or from maxSweeps readings in a row. Dovecot reads twice; a storm of
//     renames can hide a file twice.
//   - A file that comes back after that is a new message with a new UID.
//   - A file without a UID gets one only under the lock of the uidlist and from
//     a reading that was made under it: another program may just be giving it
//     one.
//
// Directories are read only when their mtime differs from the last time, or
// when that last time was so close to the mtime that a second change would not
// show (grain). What we change ourselves is noted (own), so that a STORE does
// not cost a reading of 100,000 names; since another program's change can fall
// between our two looks, one reading two seconds later makes sure, except while
// inotify would tell.
//
// Refused: taking the directory's lock for renames (mutt knows none); trusting
// inotify alone (it loses events, and network file systems have none).

const (
	maxSweeps    = 16
	maxSweepWait = 50 * time.Millisecond
	settleAfter  = 2 * time.Second
	// syncLockWait is how long a session waits for another program's lock before
	// it goes on without the messages that have no UID. Once that has happened,
	// nobody waits again until the lock must be stale: others use this folder.
	syncLockWait = 5 * time.Second
)

// Sync looks for changes that other programs made in the folder. It costs four
// stat calls when there are none. SELECT and NOOP call it; while the folder has
// Watchers, inotify does.
func (m *Mailbox) Sync(ctx context.Context) error {
	if err := m.lockDisk(ctx); err != nil {
		return err
	}
	defer m.unlockDisk()
	m.assignPending(false)
	if err := m.sync(ctx, syncLockWait); err != nil {
		return err
	}
	m.mu.Lock()
	claim := m.claimers > 0 && m.claimDue
	m.mu.Unlock()
	if !claim {
		return nil
	}
	return m.emptyNew(ctx)
}

// sync is Sync for who holds disk. It waits for another program's lock for wait
// at most.
func (m *Mailbox) sync(ctx context.Context, wait time.Duration) error {
	if m.store.all.opt.clock().Before(m.patience) {
		wait = 0
	}
	return m.sweep(ctx, &sweep{pauses: lockWait{limit: min(wait, m.store.all.opt.LockWait)}})
}

// sweep runs one synchronisation to its end.
func (m *Mailbox) sweep(ctx context.Context, sw *sweep) error {
	sw.m, sw.pauses.quit = m, m.store.all.ctx.Done()
	defer sw.end()
	for sw.tries = 1; ; sw.tries++ {
		next, err := sw.step(ctx)
		if err != nil {
			m.force.Store(true)
			return fmt.Errorf("reading mailbox %s: %w", m.Name(), err)
		}
		switch next {
		case swept:
			if !m.loaded {
				m.start()
			}
			return nil
		case sweepPause:
			if err := sw.wait(ctx); err != nil {
				return err
			}
		case sweepLocked:
			if err := sw.pauses.pause(ctx); err != nil {
				if ctx.Err() != nil {
					return err
				}
				sw.giveUpLock()
			}
			sw.tries--
		case sweepAgain:
			if sw.tries > 4*maxSweeps {
				return fmt.Errorf("reading mailbox %s: its files do not come to rest", m.Name())
			}
		}
	}
}

// giveUpLock goes on without the lock, and who comes next does not wait either.
func (sw *sweep) giveUpLock() {
	sw.noLock = true
	if sw.pauses.limit > 0 {
		sw.m.patience = sw.m.store.all.opt.clock().Add(lockStale)
	}
}

type sweepResult int

const (
	swept       sweepResult = iota
	sweepAgain              // read once more, now with the lock
	sweepPause              // read once more, after a moment
	sweepLocked             // somebody else has the lock
)

// sweep is one synchronisation: one or more readings until the picture is
// clear.
type sweep struct {
	m        *Mailbox
	tries    int
	pauses   lockWait
	wantLock bool // there are files to give a UID
	noLock   bool // the lock cannot be had: leave them
	keepLock bool // whoever called has the lock and needs it afterwards
	aside    bool // the uidlist is corrupt

	both    bool   // cur/ is read too
	read    bool   // something was read at all
	startGn uint32 // number of the first reading
	modseq  ModSeq // of all flag changes found
	state   diskState
	quiet   bool
	sleep   time.Duration
	stray   map[string]strayFile
	dups    []duplicate
}

// strayFile is a file without a UID.
type strayFile struct {
	name string
	in   subdir
}

// step is one visit to the folder.
func (sw *sweep) step(ctx context.Context) (result sweepResult, err error) {
	m := sw.m
	err = m.do(ctx, func(f *folder) (err error) {
		if !m.loaded {
			m.mu.Lock()
			m.dirID = f.id()
			m.mu.Unlock()
			f.cleanTmp()
		}
		if sw.wantLock && !sw.noLock && m.lock == nil {
			switch m.lock, err = f.tryLock(listLock, listName, lockStale, &m.sight); {
			case errors.Is(err, errHeld):
				result = sweepLocked
				return nil
			case err != nil:
				// A full or read-only disk: what is known can still be used.
				m.store.all.log.Warn("cannot lock the uidlist", "user", f.owner, "mailbox", m.dir, "err", err)
				sw.noLock = true
			}
		}
		result, err = sw.visit(f)
		if (result == swept || err != nil) && !sw.keepLock {
			f.unlock(m.lock)
			m.lock = nil
		}
		f.keepLock(m.lock)
		return err
	})
	return result, err
}

// end gives the lock back if an error left it taken.
func (sw *sweep) end() {
	if !sw.keepLock {
		sw.m.releaseLock()
	}
}

// releaseLock gives the lock of the uidlist back if we have it. m.disk is held.
func (m *Mailbox) releaseLock() {
	if m.lock == nil {
		return
	}
	err := m.do(context.WithoutCancel(m.store.all.ctx), func(f *folder) error {
		f.unlock(m.lock)
		return nil
	})
	if err != nil {
		m.store.unlockMoved(m.lock)
	}
	m.lock = nil
}

// visit reads what has changed and decides what to do next.
func (sw *sweep) visit(f *folder) (sweepResult, error) {
	m := sw.m
	state, err := f.glance()
	if err != nil {
		return swept, err
	}
	forced := m.force.Swap(false)
	due := !m.recheck.IsZero() && !f.now().Before(m.recheck)
	if sw.tries == 1 && m.loaded && !sw.wantLock && state == m.seen && !forced && !due {
		m.store.all.metrics.syncs.WithLabelValues("unchanged").Inc()
		return swept, nil
	}
	sw.state = state
	if !m.loaded || forced || due || state.times[inCur] != m.seen.times[inCur] {
		sw.both = true
	}
	if state.keywords != m.seen.keywords || !m.loaded {
		if err := m.loadKeywords(f); err != nil {
			return swept, err
		}
	}
	if err := sw.refreshList(f); err != nil {
		return swept, err
	}
	if !m.list.present && m.lock == nil && !sw.noLock {
		sw.wantLock = true // every file is a stray: read them once, under the lock
		return sweepAgain, nil
	}
	if err := sw.readDirs(f); err != nil {
		return swept, err
	}
	if again, err := sw.resolveDuplicates(f); err != nil || again {
		return sweepAgain, err
	}
	return sw.decide(f)
}

// decide looks at what this reading left open.
func (sw *sweep) decide(f *folder) (sweepResult, error) {
	m := sw.m
	m.mu.Lock()
	missing := sw.missing()
	m.mu.Unlock()
	noList := !m.list.present || sw.aside
	if missing && !sw.both {
		sw.both = true
		return sweepAgain, nil
	}
	if missing && !sw.quiet && sw.tries < maxSweeps {
		return sweepPause, nil
	}
	sw.bury()
	if sw.listIsEmptied(f) {
		noList = true
		sw.freshList()
	}
	if (len(sw.stray) > 0 || noList || m.list.header.guid == "") && !sw.noLock {
		if m.lock == nil {
			sw.wantLock = true
			return sweepAgain, nil
		}
		if err := sw.assign(f); errors.Is(err, errListMoved) {
			return sweepAgain, nil
		} else if err != nil {
			if !m.loaded && noList {
				return swept, err
			}
			m.store.all.log.Warn("cannot give UIDs", "user", f.owner, "mailbox", m.dir, "err", err)
			sw.noLock = true
		}
	}
	if noList && sw.noLock && !m.loaded {
		return swept, fmt.Errorf("making the uidlist: %w", ErrLocked)
	}
	sw.settle(f)
	return swept, nil
}

// readDirs reads the directories and compares them with memory.
func (sw *sweep) readDirs(f *folder) error {
	return inPooled(sw.m.store.all.opt.readdirStep, func(l *listing) error { return sw.readInto(l, f) })
}

func (sw *sweep) readInto(l *listing, f *folder) error {
	m := sw.m
	for sub := inNew; sub <= inCur; sub++ {
		if sub == inCur && !sw.both {
			continue
		}
		dir, err := f.in(sub)
		if err != nil {
			return err
		}
		if err := l.read(dir, sub); err != nil {
			return err
		}
	}
	m.store.all.metrics.syncs.WithLabelValues("scanned").Inc()
	if err := sw.judgeQuiet(f); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gen++
	if !sw.read {
		sw.read, sw.startGn = true, m.gen
	}
	sw.stray, sw.dups = map[string]strayFile{}, sw.dups[:0]
	for _, e := range l.ents {
		sw.see(l.name(e), e.in)
	}
	return nil
}

// judgeQuiet tells whether the directories stood still while they were read and
// long enough before that for a change to show.
func (sw *sweep) judgeQuiet(f *folder) error {
	var after [2]int64
	if err := f.times(&after); err != nil {
		return err
	}
	sw.quiet, sw.sleep = after == sw.state.times, time.Millisecond
	for _, t := range sw.state.times {
		if age := f.now().Sub(time.Unix(0, t)); age >= 0 && age < grain(t) {
			sw.quiet = false
			sw.sleep = max(sw.sleep, grain(t)-age)
		}
	}
	return nil
}

// wait lets a busy folder come to rest.
func (sw *sweep) wait(ctx context.Context) error {
	timer := time.NewTimer(min(sw.sleep, maxSweepWait))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("reading mailbox: %w", context.Cause(ctx))
	}
}

// see takes one directory entry into account. m.mu is held.
func (sw *sweep) see(name []byte, in subdir) {
	m := sw.m
	n, flags, info, odd := splitName(name)
	i, ok := m.byBase[string(name[:n])]
	if !ok {
		whole := string(name)
		sw.stray[whole[:n]] = strayFile{whole, in}
		return
	}
	r := &m.recs[i]
	if r.gen == m.gen {
		sw.dups = append(sw.dups, duplicate{int(i), string(name), in})
		return
	}
	r.gen = m.gen
	m.found(r, name, in, flags, info, odd, &sw.modseq)
}

// found notes where a record's file is and under which flags. m.mu is held.
func (m *Mailbox) found(r *record, name []byte, in subdir, flags Flags, info, odd bool, modseq *ModSeq) {
	state := r.state &^ (recNew | recBare | recOdd)
	if in == inNew {
		state |= recNew
		m.claimDue = true
	}
	if !info {
		state |= recBare
	}
	if odd {
		state |= recOdd
		m.odd[r.uid] = string(name)
	} else if r.state&recOdd != 0 {
		delete(m.odd, r.uid)
	}
	m.letters |= flags & AllKeywords
	changed := flags != r.flags
	r.state, r.flags = state, flags
	if changed && r.live() {
		if *modseq == 0 {
			*modseq = m.tick()
		}
		r.modseq = *modseq
		m.note(r)
		m.logChange(Change{Kind: FlagsChanged, UID: r.uid, Flags: r.flags, ModSeq: r.modseq}, nil)
	}
}

// missing reports whether a file was not seen in any reading of this sweep.
// m.mu is held.
func (sw *sweep) missing() bool {
	for i := range sw.m.recs {
		if sw.lost(&sw.m.recs[i]) {
			return true
		}
	}
	return false
}

// lost reports whether a record should have been seen and was not.
func (sw *sweep) lost(r *record) bool {
	if r.state&recGone != 0 || r.gen >= sw.startGn {
		return false
	}
	return sw.both || r.state&(recNew|recUnseen) != 0
}

// flickered reports whether a file was seen by an earlier reading of this sweep
// and not by the last one, whose directory times we are about to remember: if it
// was removed in between, no other time will tell.
func (sw *sweep) flickered() bool {
	m := sw.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.recs {
		r := &m.recs[i]
		if r.state&recGone == 0 && r.gen >= sw.startGn && r.gen < m.gen && (sw.both || r.state&recNew != 0) {
			return true
		}
	}
	return false
}

// bury expunges what this sweep has not seen.
func (sw *sweep) bury() {
	m := sw.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.recs {
		if sw.lost(&m.recs[i]) {
			m.drop(i)
		}
	}
}
