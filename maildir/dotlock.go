package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/durable"
)

// A dotlock is a file whose existence is the lock: <name>.lock beside the file
// it protects, created with O_EXCL, holding "<pid>:<hostname>". Dovecot,
// doveadm and old delivery agents use the same, so we do whenever a uidlist,
// a keywords table or the subscriptions change.
//
// When its holder is gone: on our host, the pid does not exist (asked only once
// the lock is two seconds old, since a fresh file may not have its content
// yet); otherwise neither the lock nor the protected file has changed for two
// minutes. A lock that names our own pid was left by an earlier process with
// this pid, unless this process holds it: heldLocks knows.
//
// We never wait inside a call that works as the user, whose threads are few:
// tryLock tries once, and lockSight remembers between tries what was seen.

const (
	lockStale = 120 * time.Second // Dovecot's limit for the uidlist
	lockFresh = 2 * time.Second   // younger: the pid is not looked at
)

// errHeld means that somebody else has the lock now.
var errHeld = errors.New("lock file exists")

// inode names a file on this host.
type inode struct{ dev, ino uint64 }

// heldLocks are the lock files of this process. The pid in a lock belongs to
// the process, and so does this table: two Stores must respect each other.
var heldLocks struct {
	sync.Mutex
	m map[inode]bool
}

func markHeld(id inode, held bool) {
	heldLocks.Lock()
	defer heldLocks.Unlock()
	if heldLocks.m == nil {
		heldLocks.m = map[inode]bool{}
	}
	if held {
		heldLocks.m[id] = true
	} else {
		delete(heldLocks.m, id)
	}
}

func isHeld(id inode) bool {
	heldLocks.Lock()
	defer heldLocks.Unlock()
	return heldLocks.m[id]
}

// dotlock is a lock that we hold.
type dotlock struct {
	name string
	id   inode
}

// lockSight is what was seen of a foreign lock, and since when.
type lockSight struct {
	lock, protected unix.Stat_t
	since           time.Time
}

// lockHost is the name that stands in lock files: the plain host name, as
// Dovecot uses, so that each sees that the other's holder is dead.
func lockHost() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return host
}

// tryLock makes the lock file name for the file protected, both in the folder.
// errHeld means that it is another's; a dead holder's lock is removed, and the
// next try, a tenth of a second later, may succeed.
func (f *folder) tryLock(name, protected string, stale time.Duration, sight *lockSight) (*dotlock, error) {
	l, err := f.createLock(name)
	if !errors.Is(err, fs.ErrExist) {
		return l, err
	}
	f.breakStale(name, protected, stale, sight)
	return nil, errHeld
}

func (f *folder) createLock(name string) (*dotlock, error) {
	if err := f.fault("lock", name); err != nil {
		return nil, err
	}
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, f.fileMode)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	defer file.Close()
	l := &dotlock{name: name}
	fi, err := file.Stat()
	if err == nil {
		l.id = inodeOf(fi)
		markHeld(l.id, true)
		_, err = fmt.Fprintf(file, "%d:%s", os.Getpid(), lockHost())
	}
	if err != nil { // a full disk: an empty lock file would stay for minutes
		f.root.Remove(name)
		markHeld(l.id, false)
		return nil, fmt.Errorf("writing the lock file: %w", err)
	}
	return l, nil
}

func inodeOf(fi fs.FileInfo) inode {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return inode{uint64(st.Dev), st.Ino}
	}
	return inode{}
}

// unlock removes the lock file if it is still ours.
func (f *folder) unlock(l *dotlock) {
	if l == nil {
		return
	}
	var st unix.Stat_t
	if f.lstat(l.name, &st) == nil && (inode{uint64(st.Dev), st.Ino}) == l.id {
		f.root.Remove(l.name)
	}
	markHeld(l.id, false)
}

// mine reports whether the lock file is still the one we made.
func (f *folder) mine(l *dotlock) bool {
	var st unix.Stat_t
	return f.lstat(l.name, &st) == nil && (inode{uint64(st.Dev), st.Ino}) == l.id
}

// breakStale removes a lock whose holder is gone.
func (f *folder) breakStale(name, protected string, stale time.Duration, sight *lockSight) {
	var lock, prot unix.Stat_t
	if f.lstat(name, &lock) != nil {
		return // released meanwhile
	}
	f.lstat(protected, &prot) // absent is a state too
	now := f.now()
	if !sameStat(&lock, &sight.lock) || !sameStat(&prot, &sight.protected) {
		sight.lock, sight.protected, sight.since = lock, prot, now
	}
	id := inode{uint64(lock.Dev), lock.Ino}
	if isHeld(id) {
		return
	}
	dead := now.Sub(sight.since) >= stale
	if !dead && now.Sub(time.Unix(lock.Ctim.Unix())) >= lockFresh {
		dead = f.holderDied(name)
	}
	if !dead {
		return
	}
	var again unix.Stat_t // still the file that was judged
	if f.lstat(name, &again) == nil && sameStat(&again, &lock) {
		f.log.Warn("removing a stale lock file", "user", f.owner, "file", name)
		f.root.Remove(name)
	}
}

// holderDied reports whether the lock names a pid of this host that is gone.
func (f *folder) holderDied(name string) bool {
	file, err := f.openRegular(name)
	if err != nil {
		return false
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, 512))
	if err != nil {
		return false
	}
	pidText, host, _ := strings.Cut(string(b), ":")
	pid, err := strconv.Atoi(pidText)
	if err != nil || pid <= 0 || host != lockHost() {
		return false
	}
	return pid == os.Getpid() || errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

func sameStat(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// lockWait paces the tries for a lock outside of asuser.Do.
type lockWait struct {
	limit time.Duration
	spent time.Duration
	quit  <-chan struct{} // ends the waiting; nil for never
	sight lockSight
}

// pause waits a little longer each time; ErrLocked once limit is used up.
func (w *lockWait) pause(ctx context.Context) error {
	step := min(100*time.Millisecond+w.spent/8, 3*time.Second)
	if w.spent+step > w.limit {
		return ErrLocked
	}
	w.spent += step
	timer := time.NewTimer(step)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.quit:
		return ErrLocked
	case <-ctx.Done():
		return fmt.Errorf("waiting for a lock file: %w", context.Cause(ctx))
	}
}

// replaceUnder writes a file anew through the lock file itself, as Dovecot
// does, and so gives up the lock.
func (f *folder) replaceUnder(l *dotlock, name string, content []byte) error {
	file, err := f.root.OpenFile(l.name, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("opening the lock file: %w", err)
	}
	defer file.Close()
	if fi, err := file.Stat(); err != nil || inodeOf(fi) != l.id {
		return fmt.Errorf("%s: %w", l.name, ErrLocked)
	}
	if err := file.Truncate(0); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if f.chgrp {
		_ = file.Chown(-1, int(f.stat.Gid)) // see mkdir
	}
	if err := f.fault("write", name); err != nil {
		return err
	}
	if _, err := file.Write(content); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := f.fault("sync", name); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", name, err)
	}
	if !f.mine(l) {
		return fmt.Errorf("%s: %w", l.name, ErrLocked)
	}
	if err := f.fault("rename", name); err != nil {
		return err
	}
	if err := f.root.Rename(l.name, name); err != nil {
		return fmt.Errorf("renaming: %w", err)
	}
	return durable.SyncDir(f.root, ".", f.opt.Fault)
}
