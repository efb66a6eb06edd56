package maildir

import (
	"sort"

	"svc.plus/mailsrvd/maildir/index"
)

// UID is a message's unique identifier in its folder (RFC 9051 section
// 2.3.1.1). It is never 0.
type UID uint32

// ModSeq is a modification sequence (RFC 7162). Values are microseconds of the
// clock, strictly rising in a folder: after memory is lost every message gets a
// value newer than any that a client holds, so that clients ask again instead
// of missing a change.
type ModSeq uint64

// Message is the state of one message at one moment.
type Message struct {
	UID    UID
	Flags  Flags
	ModSeq ModSeq
	// Recent is true until the session that took the message by
	// Watcher.ClaimRecent has ended (\Recent, RFC 3501 section 2.3.2).
	Recent bool
}

// recState tells where a message's file is and what is odd about it.
type recState uint8

const (
	recNew    recState = 1 << iota // the file is in new/
	recBare                        // its name has no ":2,"
	recOdd                         // its whole name stands in Mailbox.odd
	recRecent                      // no session has claimed it
	recUnseen                      // in the uidlist; its file was not seen yet, and no session knows of it
	recGone                        // expunged; the place is kept until compact
)

// record is what an open folder keeps of a message: 40 bytes, and about as many
// in the map from base to record. The base shares the memory of the uidlist's
// text.
type record struct {
	base   string
	modseq ModSeq
	uid    UID
	flags  Flags
	gen    uint32 // number of the directory reading that saw it last
	state  recState
}

func (r *record) live() bool { return r.state&(recGone|recUnseen) == 0 }

func (r *record) message() Message {
	return Message{UID: r.uid, Flags: r.flags, ModSeq: r.modseq, Recent: r.state&recRecent != 0}
}

// where is the directory of the file as far as we know.
func (r *record) where() subdir {
	if r.state&recNew != 0 {
		return inNew
	}
	return inCur
}

// fileName is the name of a record's file as far as we know. m.mu is held.
func (m *Mailbox) fileName(r *record) string {
	switch {
	case r.state&recOdd != 0:
		return m.odd[r.uid]
	case r.state&recBare != 0:
		return r.base
	}
	return plainName(r.base, r.flags)
}

// index returns the position of a live message. m.mu is held.
func (m *Mailbox) index(uid UID) (int, bool) {
	i := sort.Search(len(m.recs), func(i int) bool { return m.recs[i].uid >= uid })
	if i == len(m.recs) || m.recs[i].uid != uid || !m.recs[i].live() {
		return 0, false
	}
	return i, true
}

// addRecord appends a record that no session knows of yet. The base's former
// record, if there is one, gives way: the file has a new UID. m.mu is held.
func (m *Mailbox) addRecord(uid UID, base, ext string) int {
	if old, ok := m.byBase[base]; ok {
		m.drop(int(old))
	}
	m.recs = append(m.recs, record{uid: uid, base: base, state: recUnseen | recBare})
	i := len(m.recs) - 1
	m.byBase[base] = int32(i)
	if ext != "" {
		m.ext[uid] = ext
	}
	m.next = max(m.next, uid+1)
	return i
}

// drop makes a record a tombstone and tells the sessions that knew it. m.mu is
// held; the caller wakes the watchers.
func (m *Mailbox) drop(i int) {
	r := &m.recs[i]
	if r.state&recGone != 0 {
		return
	}
	if j, ok := m.byBase[r.base]; ok && int(j) == i {
		delete(m.byBase, r.base)
	}
	if r.live() {
		r.modseq = m.vanished(r.uid)
		m.live--
		m.cache.Forget([]index.UID{index.UID(r.uid)})
		m.logChange(Change{Kind: Expunged, UID: r.uid, Flags: r.flags, ModSeq: r.modseq}, nil)
		m.store.all.metrics.expunged.Inc()
	}
	delete(m.odd, r.uid)
	delete(m.ext, r.uid)
	delete(m.vsize, r.uid)
	r.state = recGone
	r.base = ""
	m.dead++
}

// compact removes tombstones once they are many. m.mu is held.
func (m *Mailbox) compact() {
	if m.dead < 64 || m.dead*4 < len(m.recs) {
		return
	}
	kept := m.recs[:0]
	for _, r := range m.recs {
		if r.state&recGone == 0 {
			kept = append(kept, r)
		}
	}
	clear(m.recs[len(kept):])
	m.recs, m.dead = kept, 0
	m.reindex()
}

// reindex builds the map from base to record anew. m.mu is held.
func (m *Mailbox) reindex() {
	m.byBase = make(map[string]int32, len(m.recs))
	for i := range m.recs {
		if m.recs[i].state&recGone == 0 {
			m.byBase[m.recs[i].base] = int32(i)
		}
	}
}

// tick returns the next modseq. m.mu is held.
func (m *Mailbox) tick() ModSeq {
	m.modseq = max(m.modseq+1, ModSeq(m.store.all.opt.clock().UnixMicro()))
	return m.modseq
}

// expungeLog remembers expunged UIDs by modseq, for VANISHED (EARLIER) of RFC
// 7162 section 3.2.10.2. It is bounded: before from it knows nothing.
type expungeLog struct {
	from ModSeq
	list []expungedUID
}

type expungedUID struct {
	modseq ModSeq
	uid    UID
}

// maxExpunged bounds the log at a megabyte.
const maxExpunged = 1 << 16

func (l *expungeLog) add(uid UID, at ModSeq) {
	if len(l.list) >= maxExpunged {
		cut := len(l.list) / 2
		l.from = l.list[cut-1].modseq
		l.list = append(l.list[:0], l.list[cut:]...)
	}
	l.list = append(l.list, expungedUID{at, uid})
}

// since returns the UIDs expunged after a modseq; ok is false when the log does
// not reach back that far.
func (l *expungeLog) since(at ModSeq) (uids []UID, ok bool) {
	if at < l.from {
		return nil, false
	}
	i := sort.Search(len(l.list), func(i int) bool { return l.list[i].modseq > at })
	for _, e := range l.list[i:] {
		uids = append(uids, e.uid)
	}
	return uids, true
}
