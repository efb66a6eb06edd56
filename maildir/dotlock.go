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

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/durable"
)

// A dotlock is a file whose existence is the lock: <name>.lock beside the file
// it protects, holding "<pid>:<hostname>". Dovecot, doveadm and old delivery
// agents use the same, so we do whenever a uidlist, a keywords table or the
// subscriptions change.
//
// Dovecot creates the file with O_EXCL. We make the uidlist's lock as a hard link
// to one file that lies in the Maildir's tmp/ while this process works there: a
// link is as exclusive, its content is there from the first moment, and it costs
// 20 us where ext4 takes up to a millisecond to make a file in a directory where
// many were removed before, which is what locking by files leads to. Where links
// are refused the file is created. (Considered: keeping the lock for a while
// after its work. It saves as much, but makes other programs wait.)
//
// When the holder is gone: on our host, the pid does not exist (asked only once
// the lock is two seconds old, since a fresh file may not have its content
// yet); otherwise neither the lock nor the protected file has changed for two
// minutes. A lock that names our own pid was left by an earlier process with
// this pid, unless this process holds it: heldLocks knows.
//
// We never wait inside a call that works as the user, whose threads are few:
// tryLock tries once, and lockSight remembers between tries what was seen.

const (
	// lockRest is the time between breaking a lock and taking it: who judged the
	// same lock stale must not remove ours in its place.
	lockRest  = 100 * time.Millisecond
	lockStale = 120 * time.Second // Dovecot's limit for the uidlist
	lockFresh = 2 * time.Second   // younger: the pid is not looked at
)

// errHeld means that somebody else has the lock now.
var errHeld = errors.New("lock file exists")

// inode names a file on this host.
type inode struct{ dev, ino uint64 }

// lockKey names a lock: the directory and the file in it.
type lockKey struct {
	dir  inode
	name string
}

// heldLocks are the locks of this process. The pid in a lock file belongs to the
// process, and so does this table: two Stores must respect each other.
var heldLocks struct {
	sync.Mutex
	m map[lockKey]bool
}

func markHeld(key lockKey, held bool) {
	heldLocks.Lock()
	defer heldLocks.Unlock()
	if heldLocks.m == nil {
		heldLocks.m = map[lockKey]bool{}
	}
	if held {
		heldLocks.m[key] = true
	} else {
		delete(heldLocks.m, key)
	}
}

func isHeld(key lockKey) bool {
	heldLocks.Lock()
	defer heldLocks.Unlock()
	return heldLocks.m[key]
}

// dotlock is a lock that we hold.
type dotlock struct {
	name string
	id   inode
	key  lockKey
	dir  *os.File // the directory, of a lock that outlives a visit; see keepLock
}

// lockSight is what was seen of a foreign lock, and since when.
type lockSight struct {
	lock, protected unix.Stat_t
	since           time.Time
	broken          time.Time // when we removed a stale lock
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

// tryLock takes the lock file name for the file protected, both in the folder.
// errHeld means that it is another's; a dead holder's lock is removed, and the
// next try, a tenth of a second later, may succeed.
func (f *folder) tryLock(name, protected string, stale time.Duration, sight *lockSight) (*dotlock, error) {
	if err := f.fault("lock", name); err != nil {
		return nil, err
	}
	if f.now().Sub(sight.broken) < lockRest {
		return nil, errHeld
	}
	var l *dotlock
	err := error(unix.EXDEV)
	if name == listLock {
		l, err = f.linkLock(name)
	}
	if noLinks(err) {
		l, err = f.makeLock(name)
	}
	if errors.Is(err, fs.ErrExist) {
		f.breakStale(name, protected, stale, sight)
		return nil, errHeld
	}
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	markHeld(l.key, true)
	return l, nil
}

// noLinks reports whether a link was refused for a reason that creating the file
// does not have.
func noLinks(err error) bool {
	return errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EMLINK) ||
		errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}

// makeLock creates the lock file; replaceUnder writes the new content to it.
func (f *folder) makeLock(name string) (*dotlock, error) {
	id, err := f.writeLockFile(name)
	return &dotlock{name: name, id: id, key: lockKey{f.id(), name}}, err
}

// writeLockFile makes a file that names us as holder.
func (f *folder) writeLockFile(name string) (inode, error) {
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, f.fileMode)
	if err != nil {
		return inode{}, err
	}
	defer file.Close()
	fi, err := file.Stat()
	if err == nil {
		_, err = fmt.Fprintf(file, "%d:%s", os.Getpid(), lockHost())
	}
	if err != nil { // a full disk: an empty lock file would stay for minutes
		f.root.Remove(name)
		return inode{}, err
	}
	return inodeOf(fi), nil
}

// linkLock makes the lock as a link to the Store's lock source.
func (f *folder) linkLock(name string) (*dotlock, error) {
	var id inode
	var err error
	for range 2 {
		var source string
		if source, id, err = f.lockSource(); err != nil {
			return nil, err
		}
		err = unix.Linkat(int(f.inbox.dir.Fd()), source, int(f.dir.Fd()), name, 0)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		f.store.dropLockSource(source) // somebody cleaned tmp/
	}
	if err != nil {
		return nil, err
	}
	// The time of the link, for those who judge a lock by its age.
	_ = unix.UtimesNanoAt(int(f.dir.Fd()), name, nil, unix.AT_SYMLINK_NOFOLLOW)
	return &dotlock{name: name, id: id, key: lockKey{f.id(), name}}, nil
}

// lockSource returns the file that this process's locks in the Maildir link to,
// by its path in the Maildir, and makes it when there is none.
func (f *folder) lockSource() (path string, id inode, err error) {
	s := f.store
	s.sourceMu.Lock()
	defer s.sourceMu.Unlock()
	if s.source == "" {
		name := "tmp/" + newBase(f.opt.Hostname, f.now())
		id, err := f.inbox.writeLockFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			if err = f.inbox.makeSubdirs(); err == nil {
				id, err = f.inbox.writeLockFile(name)
			}
		}
		if err != nil {
			return "", inode{}, err
		}
		s.source, s.sourceID = name, id
	}
	return s.source, s.sourceID, nil
}

// dropLockSource forgets a source that has vanished.
func (s *Store) dropLockSource(path string) {
	s.sourceMu.Lock()
	defer s.sourceMu.Unlock()
	if s.source == path {
		s.source = ""
	}
}

// removeLockSource removes the source at the end; one that a crash leaves in
// tmp/ is cleaned like every old file there.
func (s *Store) removeLockSource(ctx context.Context) {
	s.sourceMu.Lock()
	source := s.source
	s.source = ""
	s.sourceMu.Unlock()
	if source != "" {
		_ = s.withRoot(ctx, func(f *folder) error { return f.root.Remove(source) })
	}
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
	l.forget()
}

// forget ends what this process knows of a lock.
func (l *dotlock) forget() {
	markHeld(l.key, false)
	if l.dir != nil {
		l.dir.Close()
		l.dir = nil
	}
}

// keepLock prepares a lock for being held until another visit: another program may
// rename the folder until then, and the lock with it, which would keep everybody
// from the list for two minutes.
func (f *folder) keepLock(l *dotlock) {
	if l == nil || l.dir != nil {
		return
	}
	if fd, err := unix.FcntlInt(f.dir.Fd(), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		l.dir = os.NewFile(uintptr(fd), l.name)
	}
}

// unlockMoved is unlock for a folder that is not in its place any more.
func (s *Store) unlockMoved(l *dotlock) {
	_ = asuser.Do(context.WithoutCancel(s.all.ctx), s.owner, func() error {
		var st unix.Stat_t
		if l.dir == nil || unix.Fstatat(int(l.dir.Fd()), l.name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || (inode{uint64(st.Dev), st.Ino}) != l.id {
			return nil
		}
		return unix.Unlinkat(int(l.dir.Fd()), l.name, 0)
	})
	l.forget()
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
	if isHeld(lockKey{f.id(), name}) {
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
		sight.broken = now
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

// pause waits a little longer each time; ErrLocked once limit is used up. Most
// locks are held for a few milliseconds.
func (w *lockWait) pause(ctx context.Context) error {
	step := min(5*time.Millisecond+w.spent/4, 3*time.Second)
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
