package maildir

import (
	"time"
)

// The end of a synchronisation: what arrived is announced, and what the files
// looked like is remembered, so that the next look can be a glance.

// settle announces what has arrived.
func (sw *sweep) settle(f *folder) {
	if sw.m.loaded { // else it is done when we are ourselves again: Mailbox.start
		sw.m.announceAll()
	}
	sw.remember(f)
}

// announceAll makes all records known that are not.
func (m *Mailbox) announceAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var at ModSeq
	for i := range m.recs {
		r := &m.recs[i]
		if r.state&recUnseen == 0 || r.state&recGone != 0 {
			continue
		}
		if at == 0 {
			at = m.tick()
		}
		m.announce(r, at, true)
	}
	m.compact()
}

// announce makes a record known to the sessions. m.mu is held.
func (m *Mailbox) announce(r *record, at ModSeq, recent bool) {
	r.state &^= recUnseen
	if recent || r.state&recNew != 0 {
		r.state |= recRecent
	}
	r.modseq = at
	m.top = max(m.top, r.uid)
	m.live++
	if m.loaded && m.cache != nil {
		m.note(r)
		if len(m.watchers) > 0 && len(m.fresh) < maxFresh {
			m.fresh = append(m.fresh, r.uid)
		}
	}
	m.logChange(Change{Kind: Arrived, UID: r.uid, Flags: r.flags, ModSeq: at}, nil)
}

// remember notes what the files looked like, for the next glance.
func (sw *sweep) remember(f *folder) {
	m := sw.m
	m.seen = sw.state
	m.seen.list, m.seen.keywords = f.mark(listName), f.mark(keywordsName)
	m.recheck = time.Time{}
	if len(sw.stray) > 0 || sw.flickered() { // left without a UID, or perhaps gone: look again
		m.seen.times = [2]int64{}
		m.store.all.notify.later(m)
		return
	}
	m.patience = time.Time{}
	for _, t := range sw.state.times {
		if f.now().Sub(time.Unix(0, t)) >= grain(t) {
			continue
		}
		if m.watched.Load() {
			m.rely(f)
		} else {
			m.recheck = f.now().Add(grain(t))
		}
	}
}

// rely notes that memory took the directories' times for the whole truth because
// inotify would tell of any other change.
func (m *Mailbox) rely(f *folder) { m.relied.Store(f.now().UnixNano()) }

// own runs fn, which renames or removes files in new/ and cur/, and notes the
// directories' times afterwards, so that our own change is no reason to read
// them. Another program's change meanwhile is found by the later check.
func (m *Mailbox) own(f *folder, fn func() error) error {
	var before, after [2]int64
	looked := f.times(&before) == nil
	err := fn()
	if !looked || f.times(&after) != nil {
		return err
	}
	for i := range after {
		if before[i] == m.seen.times[i] && after[i] != before[i] {
			m.seen.times[i] = after[i]
			if m.watched.Load() {
				m.rely(f)
			} else {
				m.recheck = f.now().Add(settleAfter)
			}
		}
	}
	return err
}
