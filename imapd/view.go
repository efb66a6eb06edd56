package imapd

import (
	"slices"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// view is what the client of one session believes about the selected mailbox:
// which message has which sequence number. The Mailbox moves on under it; the
// view follows only when a response is written that tells the client.
//
// A message that is expunged but not reported keeps its number; one that has
// arrived but was not reported has none yet. The session's goroutine alone uses
// it.
type view struct {
	box      *maildir.Mailbox
	watcher  *maildir.Watcher
	readOnly bool

	uids   []maildir.UID // ascending; uids[i] has sequence number i+1
	recent []maildir.UID // those of them that are \Recent here
	saved  []maildir.UID // the result that "$" stands for (RFC 5182)
	flags  *flagText
	known  maildir.ModSeq // no change up to here is news

	// partial is where the last partial fetch has ended.
	partial struct {
		uid maildir.UID
		at  message.Cursor
	}

	// What the Mailbox has told and the client does not know yet.
	arrived []maildir.UID
	gone    []maildir.UID // in uids
	changed []maildir.UID // in uids, flags
	removed bool          // the mailbox is no more

	// contexts are results that are kept alive, and touched messages whose flags
	// the session itself has changed since they were looked at.
	contexts []*searchContext
	touched  []maildir.UID
}

// newView starts to follow box. The view then holds the messages that are there
// now.
func newView(box *maildir.Mailbox, readOnly bool, notify func()) *view {
	return &view{box: box, readOnly: readOnly, flags: newFlagText(box), watcher: box.Watch(notify)}
}

// load fills the view with the present state, and returns it.
func (v *view) load() []maildir.Message {
	messages := v.watcher.Snapshot()
	v.uids = make([]maildir.UID, len(messages))
	for i, m := range messages {
		v.uids[i] = m.UID
		v.known = max(v.known, m.ModSeq)
		if m.Recent {
			v.recent = append(v.recent, m.UID)
		}
	}
	return messages
}

// close stops following and drops the mailbox.
func (v *view) close() {
	v.watcher.Close()
	v.box.Close()
}

// span is a run of messages of a view, by index: uids[lo:hi].
type span struct{ lo, hi int }

// count is the number of messages in spans.
func count(spans []span) (n int) {
	for _, s := range spans {
		n += s.hi - s.lo
	}
	return n
}

// resolve returns the messages of a set in ascending order, as spans that do
// not touch. UIDs that are not in the view name nothing (RFC 9051 section
// 6.4.9); a sequence number that is not is the client's error.
func (v *view) resolve(set wire.Set, uid bool) ([]span, error) {
	switch {
	case set.Saved:
		return v.spansOf(v.saved), nil
	case uid:
		return v.resolveUIDs(set), nil
	}
	if len(v.uids) == 0 && slices.ContainsFunc(set.Ranges, func(r wire.Range) bool {
		return r.First == wire.Star || r.Last == wire.Star
	}) {
		return nil, nil // "1:*" in an empty mailbox is no message, and no error
	}
	var spans []span
	for _, r := range set.Resolve(uint32(len(v.uids))) {
		if int64(r.Last) > int64(len(v.uids)) {
			return nil, bad("Invalid message sequence number")
		}
		spans = append(spans, span{int(r.First) - 1, int(r.Last)})
	}
	return spans, nil
}

func (v *view) resolveUIDs(set wire.Set) []span {
	if len(v.uids) == 0 {
		return nil
	}
	var spans []span
	for _, r := range set.Resolve(uint32(v.uids[len(v.uids)-1])) {
		lo, _ := slices.BinarySearch(v.uids, maildir.UID(r.First))
		hi, found := slices.BinarySearch(v.uids, maildir.UID(r.Last))
		if found {
			hi++
		}
		spans = addSpan(spans, lo, hi)
	}
	return spans
}

// addSpan appends a span, joined with the last one if they touch.
func addSpan(spans []span, lo, hi int) []span {
	if lo >= hi {
		return spans
	}
	if n := len(spans); n > 0 && spans[n-1].hi == lo {
		spans[n-1].hi = hi
		return spans
	}
	return append(spans, span{lo, hi})
}

// spansOf returns the spans of those of uids, which ascend, that are in the
// view.
func (v *view) spansOf(uids []maildir.UID) []span {
	var spans []span
	from := 0
	for _, uid := range uids {
		i, found := slices.BinarySearch(v.uids[from:], uid)
		from += i
		if found {
			spans = addSpan(spans, from, from+1)
		}
	}
	return spans
}

// uidsOf returns the UIDs of spans. It aliases the view if it can.
func (v *view) uidsOf(spans []span) []maildir.UID {
	if len(spans) == 1 {
		return v.uids[spans[0].lo:spans[0].hi]
	}
	uids := make([]maildir.UID, 0, count(spans))
	for _, s := range spans {
		uids = append(uids, v.uids[s.lo:s.hi]...)
	}
	return uids
}

// seq returns the sequence number of a message, 0 if it has none.
func (v *view) seq(uid maildir.UID) uint32 {
	i, found := slices.BinarySearch(v.uids, uid)
	if !found {
		return 0
	}
	return uint32(i + 1)
}

// collect takes over what the Mailbox has told since the last time.
func (v *view) collect() {
	for _, c := range v.watcher.Changes() {
		if c.Kind == maildir.Reset {
			v.compare()
			continue
		}
		v.known = max(v.known, c.ModSeq)
		switch c.Kind {
		case maildir.Arrived:
			v.arrived = append(v.arrived, c.UID)
		case maildir.FlagsChanged:
			if v.seq(c.UID) != 0 {
				v.changed = append(v.changed, c.UID)
			}
		case maildir.Expunged:
			v.expunged(c.UID)
		case maildir.Removed:
			v.removed = true
		}
	}
}

// compare finds out what is new after so many changes that they were not kept.
func (v *view) compare() {
	old := v.known
	messages := v.watcher.Snapshot()
	v.arrived, v.gone, v.changed = nil, nil, nil
	there := make(map[maildir.UID]bool, len(messages))
	for _, m := range messages {
		there[m.UID] = true
		v.known = max(v.known, m.ModSeq)
		switch {
		case v.seq(m.UID) == 0:
			v.arrived = append(v.arrived, m.UID)
		case m.ModSeq > old:
			v.changed = append(v.changed, m.UID)
		}
	}
	for _, uid := range v.uids {
		if !there[uid] {
			v.gone = append(v.gone, uid)
		}
	}
}

// expunged notes that a message is gone; one that was never announced is simply
// forgotten.
func (v *view) expunged(uid maildir.UID) {
	if v.seq(uid) != 0 {
		v.gone = append(v.gone, uid)
		return
	}
	v.arrived = slices.DeleteFunc(v.arrived, func(a maildir.UID) bool { return a == uid })
}

// takeGone removes from the view what is gone, and returns the former indexes
// in descending order: reported so, each EXPUNGE leaves the numbers of those to
// come as they are.
func (v *view) takeGone() []int {
	if len(v.gone) == 0 {
		return nil
	}
	var indexes []int
	for _, uid := range v.gone {
		if i, found := slices.BinarySearch(v.uids, uid); found {
			indexes = append(indexes, i)
		}
	}
	v.gone = v.gone[:0]
	slices.Sort(indexes)
	indexes = slices.Compact(indexes)
	v.uids = removeIndexes(v.uids, indexes)
	v.changed = slices.DeleteFunc(v.changed, func(uid maildir.UID) bool { return v.seq(uid) == 0 })
	v.recent = slices.DeleteFunc(v.recent, func(uid maildir.UID) bool { return v.seq(uid) == 0 })
	slices.Reverse(indexes)
	return indexes
}

// removeIndexes removes the ascending indexes in one pass.
func removeIndexes(uids []maildir.UID, indexes []int) []maildir.UID {
	out := uids[:0]
	from := 0
	for _, i := range indexes {
		out = append(out, uids[from:i]...)
		from = i + 1
	}
	return append(out, uids[from:]...)
}

// takeArrived adds to the view what has arrived, and reports whether there was
// anything.
func (v *view) takeArrived() bool {
	before := len(v.uids)
	for _, m := range v.box.Lookup(v.arrived, nil) {
		if n := len(v.uids); n > 0 && v.uids[n-1] >= m.UID {
			continue // it was in the snapshot already
		}
		v.uids = append(v.uids, m.UID)
		if m.Recent {
			v.recent = append(v.recent, m.UID)
		}
	}
	v.arrived = v.arrived[:0]
	return len(v.uids) > before
}

// takeChanged returns the messages whose flags have changed, in order.
func (v *view) takeChanged() []maildir.Message {
	if len(v.changed) == 0 {
		return nil
	}
	slices.Sort(v.changed)
	messages := v.box.Lookup(slices.Compact(v.changed), nil)
	v.changed = v.changed[:0]
	return messages
}
