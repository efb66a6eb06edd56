package index

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Index is the cache of all users. Its methods are safe for concurrent use;
// those of a nil Index keep nothing.
type Index struct {
	opt     Options
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	lock    *os.File // holds the lock on Dir
	trust   uint64   // the stamp of states that may be believed
	writers sync.WaitGroup
	texting chan struct{} // held by the one that builds a full-text index
	working chan struct{} // held by each of those that read messages

	mu     sync.Mutex // guards what follows
	boxes  map[string]*Mailbox
	open   []*Mailbox      // their files are, or were, open
	states map[string]bool // the folders whose state was written
	closed bool
}

// Open opens the cache in o.Dir. The error is ErrLocked if another process has
// it open, or one of making the directory; the caller then does without a cache.
func Open(o Options) (*Index, error) {
	o = o.withDefaults()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the cache directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	x := &Index{opt: o, log: o.Logger, now: o.now, lock: lock, boxes: map[string]*Mailbox{}, states: map[string]bool{}, texting: make(chan struct{}, 1),
		working: make(chan struct{}, max(2, runtime.GOMAXPROCS(0)))}
	if x.trust, err = beginEpoch(o.Dir, o.noSync); err != nil {
		lock.Close()
		return nil, err
	}
	x.metrics = newMetrics(o.Registerer)
	return x, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the cache: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	return f, nil
}

// Close writes what is queued, also of folders that are still open, syncs, and
// gives the directory free.
func (x *Index) Close() error {
	if x == nil {
		return nil
	}
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return nil
	}
	x.closed = true
	var boxes []*Mailbox
	for _, m := range x.boxes {
		boxes = append(boxes, m)
	}
	clear(x.boxes)
	x.mu.Unlock()
	for _, m := range boxes {
		m.finish()
		m.mu.Lock()
		m.removed = true
		m.mu.Unlock()
	}
	x.writers.Wait()
	defer x.lock.Close()
	x.mu.Lock()
	folders := slices.Collect(maps.Keys(x.states))
	x.mu.Unlock()
	return endEpoch(x.opt.Dir, folders, x.opt.noSync)
}

// wroteState notes that a folder's state was written.
func (x *Index) wroteState(m *Mailbox) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.states[m.dir] = true
}

// Mailbox returns the cache of a user's folder, which guid names (kept by
// renames, RFC 8474). It touches no disk. Close it when the folder is not in use
// any more.
func (x *Index) Mailbox(user, guid string, uidvalidity uint32) *Mailbox {
	if x == nil {
		return nil
	}
	dir := filepath.Join(x.userDir(user), fmt.Sprintf("%s.%08x", safeName(guid), uidvalidity))
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.boxes[dir]
	if m == nil {
		m = &Mailbox{index: x, user: user, dir: dir, owner: ownerOf(user, guid), validity: uidvalidity, removed: x.closed}
		m.room.L = &m.mu
		if !x.closed {
			x.boxes[dir] = m
		}
	}
	m.refs++
	return m
}

// drop gives back a reference; last says whether it was the last one.
func (x *Index) drop(m *Mailbox) (last bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if m.refs--; m.refs > 0 {
		return false
	}
	m.closing++
	return true
}

// forget takes a Mailbox that was closed out of the table, unless it is in use
// again or still being closed by another: two of a directory would write over
// each other.
func (x *Index) forget(m *Mailbox) {
	x.mu.Lock()
	defer x.mu.Unlock()
	m.closing--
	if m.refs == 0 && m.closing == 0 && x.boxes[m.dir] == m {
		delete(x.boxes, m.dir)
	}
}

// Remove deletes what is cached of a folder that is gone.
func (x *Index) Remove(user, guid string) {
	if x == nil {
		return
	}
	x.remove(x.userDir(user), safeName(guid)+".")
}

// RemoveUser deletes all that is cached of a user.
func (x *Index) RemoveUser(user string) {
	if x == nil {
		return
	}
	x.remove(x.userDir(user), "")
}

// remove deletes the folders below userDir whose names begin with prefix.
func (x *Index) remove(userDir, prefix string) {
	x.mu.Lock()
	for dir, m := range x.boxes {
		if filepath.Dir(dir) == userDir && strings.HasPrefix(filepath.Base(dir), prefix) {
			m.abandon()
			delete(x.boxes, dir)
		}
	}
	x.mu.Unlock()
	entries, _ := os.ReadDir(userDir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(userDir, e.Name())); err != nil {
			x.log.Warn("removing a part of the cache failed", "dir", userDir, "err", err)
		}
	}
	os.Remove(userDir) // if it is empty
}

func (x *Index) userDir(user string) string { return filepath.Join(x.opt.Dir, safeName(user)) }

// safeName makes a directory name of a user's or folder's. What is not plain is
// a hash; the header of each file tells whom it belongs to anyway.
func safeName(s string) string {
	plain := s != "" && len(s) <= 64 && s[0] != '.'
	for i := 0; i < len(s) && plain; i++ {
		c := s[i]
		plain = 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_' || c == '@'
	}
	if plain {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "+" + hex.EncodeToString(sum[:16])
}

// opened notes that m has files open, and closes those of others where they are
// too many.
func (x *Index) opened(m *Mailbox) {
	var victim *Mailbox
	x.mu.Lock()
	if !slices.Contains(x.open, m) {
		x.open = append(x.open, m)
	}
	if len(x.open) > x.opt.MaxOpen {
		oldest := 0
		for i, o := range x.open {
			if o != m && (x.open[oldest] == m || o.lastUse().Before(x.open[oldest].lastUse())) {
				oldest = i
			}
		}
		victim = x.open[oldest]
		x.open = slices.Delete(x.open, oldest, oldest+1)
	}
	x.mu.Unlock()
	if victim != nil && victim != m {
		victim.closeFiles()
	}
}

// notOpen takes m out of the list of those with open files.
func (x *Index) notOpen(m *Mailbox) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := slices.Index(x.open, m); i >= 0 {
		x.open = slices.Delete(x.open, i, i+1)
	}
}
