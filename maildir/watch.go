package maildir

import "sync/atomic"

// ChangeKind says what happened in a folder.
type ChangeKind uint8

const (
	// Arrived: a message with a UID above all others is there.
	Arrived ChangeKind = iota + 1
	// FlagsChanged: Flags and ModSeq are the new ones.
	FlagsChanged
	// Expunged: the message is gone; ModSeq is that of the expunge.
	Expunged
	// Renamed: Mailbox.Name has changed; UID is 0.
	Renamed
	// Removed: the folder was deleted or replaced; nothing works any more and
	// nothing follows. UID is 0.
	Removed
	// Reset: the watcher was so slow that changes were lost for it; Snapshot
	// gives the state to compare with.
	Reset
)

// Change is one event of an open folder.
type Change struct {
	ModSeq ModSeq
	UID    UID
	Flags  Flags
	Kind   ChangeKind
}

// maxChanges bounds what a slow watcher makes us keep: 2 MB a folder.
const maxChanges = 1 << 16

// changeLog is the ordered list of changes that some watcher has yet to read.
type changeLog struct {
	first   uint64 // number of entries[0] since the beginning
	entries []loggedChange
}

type loggedChange struct {
	Change
	by *Watcher // who made it and knows
}

func (l *changeLog) end() uint64 { return l.first + uint64(len(l.entries)) }

// Watcher follows one Mailbox for one session. Its methods may be called from
// any goroutine, one at a time.
type Watcher struct {
	m      *Mailbox
	notify func()
	c      chan struct{}
	pos    uint64 // next change to read; guarded by m.mu
	closed bool   // guarded by m.mu
	claims bool   // \Recent messages are its session's; guarded by m.mu
	woken  atomic.Bool
}

// Watch begins to follow the folder: changes from now on are reported. While a
// folder has watchers, deliveries get their UID at once and the changes of other
// programs are looked for. notify, which may be nil, is called from any
// goroutine when there is something new, without locks held; it must not block
// and is not called again before Changes was. Close ends it.
func (m *Mailbox) Watch(notify func()) *Watcher {
	w := &Watcher{m: m, notify: notify, c: make(chan struct{}, 1)}
	m.mu.Lock()
	w.pos = m.log.end()
	m.watchers[w] = struct{}{}
	first := len(m.watchers) == 1
	gone := m.err != nil
	m.mu.Unlock()
	if gone {
		w.wake()
	} else if first {
		m.store.all.notify.follow(m)
	}
	return w
}

// hasWatchers reports whether anybody follows the folder.
func (m *Mailbox) hasWatchers() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.watchers) > 0
}

// C is a channel that receives when there is something new: once, however many
// changes there are.
func (w *Watcher) C() <-chan struct{} { return w.c }

// wake tells the session. No lock is held.
func (w *Watcher) wake() {
	select {
	case w.c <- struct{}{}:
	default:
	}
	if w.notify != nil && w.woken.CompareAndSwap(false, true) {
		w.notify()
	}
}

// Changes returns all changes since the last call, in their order, and leaves
// out flag changes that StoreFlags made By this watcher. A watcher that is more
// than 65,536 changes behind gets one Reset instead. A removed folder ends with
// Removed.
func (w *Watcher) Changes() []Change {
	m := w.m
	w.woken.Store(false)
	m.mu.Lock()
	defer m.mu.Unlock()
	if w.pos < m.log.first {
		w.pos = m.log.end()
		m.trimLog()
		list := []Change{{Kind: Reset, ModSeq: m.modseq}}
		if m.err != nil {
			list = append(list, Change{Kind: Removed})
		}
		return list
	}
	news := m.log.entries[w.pos-m.log.first:]
	list := make([]Change, 0, len(news))
	for _, e := range news {
		if e.by == nil || e.by != w {
			list = append(list, e.Change)
		}
	}
	w.pos = m.log.end()
	m.trimLog()
	if len(list) == 0 && m.err != nil {
		list = append(list, Change{Kind: Removed})
	}
	return list
}

// Snapshot returns the messages in UID order and moves the watcher here:
// Changes will report what comes after exactly this state.
func (w *Watcher) Snapshot() []Message {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.pos = w.m.log.end()
	w.m.trimLog()
	return w.m.messages()
}

// Close stops following. The Mailbox stays open.
func (w *Watcher) Close() {
	m := w.m
	m.mu.Lock()
	if w.closed {
		m.mu.Unlock()
		return
	}
	w.closed = true
	w.unclaim()
	delete(m.watchers, w)
	m.trimLog()
	last := len(m.watchers) == 0
	m.mu.Unlock()
	if last {
		m.store.all.notify.follow(m)
	}
}

// logChange records a change for the watchers. m.mu is held; the caller calls
// wake after the unlock.
func (m *Mailbox) logChange(c Change, by *Watcher) {
	if len(m.watchers) == 0 {
		return
	}
	if len(m.log.entries) >= maxChanges {
		m.cutLog(maxChanges / 2)
	}
	m.log.entries = append(m.log.entries, loggedChange{c, by})
	m.dirtyLog = true
}

// trimLog forgets what every watcher has read. m.mu is held.
func (m *Mailbox) trimLog() {
	least := m.log.end()
	for w := range m.watchers {
		least = min(least, w.pos)
	}
	if n := least - min(least, m.log.first); n > 0 && (n >= 1024 || int(n) == len(m.log.entries)) {
		m.cutLog(int(n))
	}
}

func (m *Mailbox) cutLog(n int) {
	rest := copy(m.log.entries, m.log.entries[n:])
	clear(m.log.entries[rest:])
	m.log.entries = m.log.entries[:rest]
	if rest == 0 && cap(m.log.entries) > 4096 {
		m.log.entries = nil
	}
	m.log.first += uint64(n)
}

// wake tells all watchers about logged changes. No lock is held.
func (m *Mailbox) wake() {
	m.cacheFresh()
	m.mu.Lock()
	if !m.dirtyLog {
		m.mu.Unlock()
		return
	}
	m.dirtyLog = false
	list := make([]*Watcher, 0, len(m.watchers))
	for w := range m.watchers {
		list = append(list, w)
	}
	m.mu.Unlock()
	for _, w := range list {
		w.wake()
	}
}
