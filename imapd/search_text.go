package imapd

import (
	"slices"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// set is some of the messages, by ascending UID, or all of them.
type set struct {
	some bool // uids are it; else all messages
	uids []maildir.UID
}

func (a set) has(uid maildir.UID) bool {
	_, found := slices.BinarySearch(a.uids, uid)
	return found
}

func (a set) intersect(b set) set {
	switch {
	case !a.some:
		return b
	case !b.some:
		return a
	}
	return set{true, slices.DeleteFunc(slices.Clone(a.uids), func(uid maildir.UID) bool { return !b.has(uid) })}
}

func (a set) union(b set) set {
	if !a.some || !b.some {
		return set{}
	}
	uids := slices.Concat(a.uids, b.uids)
	slices.Sort(uids)
	return set{true, slices.Compact(uids)}
}

// hits are the messages that may hold each needle; the others do not. Needles of
// which nothing is known are not in it.
type hits map[*message.Matcher]set

// enoughUnindexed is how many messages a search may read because the full-text
// index does not cover them before it is brought up to date.
const enoughUnindexed = 100

// textHits asks the full-text index for the needles of a key. stale says that it
// lacks so many of the messages that it should be brought up to date.
func (s *session) textHits(key predicate, uids []maildir.UID) (h hits, stale bool, err error) {
	if len(key.needles) == 0 || !s.view.box.Caches() {
		return nil, false, nil
	}
	h = hits{}
	for _, needle := range key.needles {
		maybe, unknown, err := s.view.box.Candidates(s.srv.ctx, needle, uids)
		if err != nil {
			return nil, false, err
		}
		stale = stale || len(unknown) > enoughUnindexed
		if len(unknown) < len(uids) {
			h[needle] = set{true, maybe}.union(set{true, unknown})
		}
	}
	return h, stale, nil
}
