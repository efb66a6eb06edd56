package maildir

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A folder that was opened for a visit is kept open for the next one: a FETCH of
// 50 bodies, or a delivery a millisecond later, then costs a stat call instead of
// opening the Maildir, the folder and its directories again.
//
// A kept folder gives no rights: every call relative to it is checked by the
// kernel against the owner whom asuser.Do has set. It may be the wrong one by
// now, though: somebody restored a backup in its place, or renamed it. So each
// visit compares the inode that the path leads to (still, in), and opens anew
// when it is another one.
//
// One visit at a time uses a kept folder. Few are kept and not for long, so that
// thousands of sessions in IDLE cost no descriptors and a home that nobody reads
// can be unmounted. (Considered: keeping one with each open Mailbox. It would be
// as fast for the sessions, useless for deliveries, and unbounded.)

const (
	keepFor     = 10 * time.Second
	maxKept     = 256 // six descriptors each at most
	maxKeptEach = 4   // of one folder: as many visits go side by side
)

// keptKey names a folder: "" is the Maildir itself.
type keptKey struct {
	store *Store
	dir   string
}

// keeper holds the kept folders of a process.
type keeper struct {
	mu     sync.Mutex // guards what follows; never held during a system call
	order  list.List  // of keptFolder, the longest unused first
	at     map[keptKey][]*list.Element
	timer  *time.Timer
	closed bool
}

type keptFolder struct {
	key   keptKey
	f     *folder
	since time.Time
}

// take gives the folder that was used last, nil if none is kept. The caller is
// its only user until he calls give or shut.
func (k *keeper) take(key keptKey) *folder {
	k.mu.Lock()
	defer k.mu.Unlock()
	have := k.at[key]
	if len(have) == 0 {
		return nil
	}
	e := have[len(have)-1]
	k.drop(e, len(have)-1)
	return e.Value.(keptFolder).f
}

// give keeps a folder, or shuts it when there is no room.
func (k *keeper) give(key keptKey, f *folder) {
	f.inbox = nil
	f.fresh = [3]bool{}
	k.mu.Lock()
	var old *folder
	switch {
	case k.closed || len(k.at[key]) >= maxKeptEach:
		old = f
	default:
		if k.order.Len() >= maxKept {
			old = k.oldest()
		}
		k.add(keptFolder{key, f, time.Now()})
	}
	k.mu.Unlock()
	if old != nil {
		old.shut()
	}
}

// add puts a folder at the end of the order. mu is held.
func (k *keeper) add(kept keptFolder) {
	if k.at == nil {
		k.at = map[keptKey][]*list.Element{}
	}
	k.at[kept.key] = append(k.at[kept.key], k.order.PushBack(kept))
	if k.timer == nil {
		k.timer = time.AfterFunc(keepFor, k.expire)
	}
}

// drop takes a folder off; i is its place among those of its key. mu is held.
func (k *keeper) drop(e *list.Element, i int) {
	key := e.Value.(keptFolder).key
	have := k.at[key]
	if len(have) == 1 {
		delete(k.at, key)
	} else {
		k.at[key] = append(have[:i], have[i+1:]...)
	}
	k.order.Remove(e)
}

// oldest takes off the folder that was not used for longest, which is also the
// first of its key. mu is held.
func (k *keeper) oldest() *folder {
	e := k.order.Front()
	k.drop(e, 0)
	return e.Value.(keptFolder).f
}

// expire shuts what nobody used for a while.
func (k *keeper) expire() {
	var old []*folder
	k.mu.Lock()
	k.timer = nil
	now := time.Now()
	for k.order.Len() > 0 {
		if left := keepFor - now.Sub(k.order.Front().Value.(keptFolder).since); left > 0 {
			k.timer = time.AfterFunc(left, k.expire)
			break
		}
		old = append(old, k.oldest())
	}
	k.mu.Unlock()
	for _, f := range old {
		f.shut()
	}
}

// close shuts everything; later visits keep nothing.
func (k *keeper) close() {
	var old []*folder
	k.mu.Lock()
	k.closed = true
	for k.order.Len() > 0 {
		old = append(old, k.oldest())
	}
	if k.timer != nil {
		k.timer.Stop()
	}
	k.mu.Unlock()
	for _, f := range old {
		f.shut()
	}
}

// still reports whether a kept folder is the one that st tells of, and takes
// over what may have changed about it.
func (f *folder) still(st *unix.Stat_t) bool {
	if (inode{uint64(st.Dev), st.Ino}) != f.id() || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false
	}
	f.stat = *st
	f.fileMode, f.dirMode, f.chgrp = modes(st, f.gid)
	return true
}
