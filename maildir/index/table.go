package index

import (
	"cmp"
	"slices"
	"sort"
)

// entry is the place of a row's record in the file rows.
type entry struct {
	uid  UID
	size uint32 // of the record
	off  int64
}

// table has the entries of a folder by UID. A reader's table never changes;
// what is put into it makes another one, which may share its memory.
type table []entry

// find returns the index of uid, or of where it would be.
func (t table) find(uid UID) (int, bool) {
	i := sort.Search(len(t), func(i int) bool { return t[i].uid >= uid })
	return i, i < len(t) && t[i].uid == uid
}

// merge returns the table with more, which is sorted and without doubles, in
// it. Entries of more take the place of others; gone are the bytes of those.
func (t table) merge(more table) (merged table, gone int64) {
	if len(more) == 0 {
		return t, 0
	}
	if len(t) == 0 || t[len(t)-1].uid < more[0].uid {
		return append(t, more...), 0 // behind the end of what any reader sees
	}
	merged = make(table, 0, len(t)+len(more)+len(t)/8)
	for len(t) > 0 && len(more) > 0 {
		switch a, b := t[0], more[0]; {
		case a.uid < b.uid:
			merged, t = append(merged, a), t[1:]
		case a.uid > b.uid:
			merged, more = append(merged, b), more[1:]
		default:
			gone += int64(a.size)
			merged, t, more = append(merged, b), t[1:], more[1:]
		}
	}
	return append(append(merged, t...), more...), gone
}

// without returns the table without uids, which are sorted.
func (t table) without(uids []UID) (left table, gone int64) {
	left = make(table, 0, len(t))
	for _, e := range t {
		for len(uids) > 0 && uids[0] < e.uid {
			uids = uids[1:]
		}
		if len(uids) > 0 && uids[0] == e.uid {
			gone += int64(e.size)
			continue
		}
		left = append(left, e)
	}
	return left, gone
}

// tableOf makes a table of entries in the order of the file, in which a later
// one takes the place of an earlier one of its UID, and one of size 0 removes it.
func tableOf(entries []entry) table {
	if !slices.IsSortedFunc(entries, func(a, b entry) int { return compareUID(a.uid, b.uid) }) {
		slices.SortStableFunc(entries, func(a, b entry) int { return compareUID(a.uid, b.uid) })
	}
	t := entries[:0]
	for i, e := range entries {
		if i+1 < len(entries) && entries[i+1].uid == e.uid || e.size == 0 {
			continue
		}
		t = append(t, e)
	}
	return t
}

func compareUID(a, b UID) int { return cmp.Compare(a, b) }
