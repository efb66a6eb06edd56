package maildir

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// recount counts all messages of the Maildir and writes the file. f is the
// Maildir. While another process counts, or where the file cannot be written,
// the count alone is returned.
func (f *folder) recount(limits Limits) (Usage, error) {
	q := &f.store.quota
	q.counting.Lock()
	defer q.counting.Unlock()
	lock, err := f.tryLock(sizeLock, sizeName, sizeLockDead, &q.sight)
	if err != nil && !errors.Is(err, errHeld) {
		f.log.Warn("cannot lock maildirsize", "user", f.owner, "err", err)
	}
	defer f.unlock(lock)
	count := counter{folder: f, times: map[string]unix.Timespec{}}
	if err := count.all(); err != nil {
		return Usage{}, err
	}
	if lock == nil {
		return count.used, nil
	}
	text := fmt.Sprintf("%s\n%d %d\n", limits.line(), count.used.Storage, count.used.Messages)
	if err := f.replaceUnder(lock, sizeName, []byte(text)); err != nil {
		f.log.Warn("cannot write maildirsize", "user", f.owner, "err", err)
		return count.used, nil
	}
	// What came or went meanwhile may or may not be in the sum.
	if !count.unchanged() {
		f.dropSizes()
	}
	return count.used, nil
}

// counter counts the messages of a Maildir.
type counter struct {
	*folder // the Maildir
	used    Usage
	times   map[string]unix.Timespec // mtimes of the directories before they were read, by path
}

// all counts INBOX and every folder; one that vanishes meanwhile has nothing.
func (c *counter) all() error {
	dirs, err := c.folderDirs()
	if err != nil {
		return err
	}
	for _, dir := range append(dirs, ".") {
		for _, sub := range []string{"new", "cur"} {
			if err := c.dir(dir + "/" + sub); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("counting messages: %w", err)
			}
		}
	}
	return nil
}

// dir counts one directory.
func (c *counter) dir(path string) error {
	dir, err := c.root.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	c.times[path] = st.Mtim
	var l listing
	if err := l.read(dir, inCur); err != nil {
		return err
	}
	for _, e := range l.ents {
		name := l.name(e)
		base, _, _, _ := splitName(name)
		size, ok := sizeField(string(name[:base]), 'S')
		if !ok {
			if unix.Fstatat(int(dir.Fd()), string(name), &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue // removed meanwhile, which unchanged sees
			}
			size = st.Size
		}
		c.used = c.used.plus(Usage{size, 1})
	}
	return nil
}

// unchanged reports whether the directories are as they were when they were
// counted.
func (c *counter) unchanged() bool {
	for path, mtime := range c.times {
		fi, err := c.root.Stat(path)
		if err != nil || fi.ModTime().UnixNano() != mtime.Nano() {
			return false
		}
	}
	return true
}

// fileSize is the size of a message file that stands at name in a directory of
// the folder: from its name, or else from its inode.
func (f *folder) fileSize(in subdir, name string) int64 {
	if size, ok := sizeField(baseOf(name), 'S'); ok {
		return size
	}
	var st unix.Stat_t
	if f.statIn(in, name, &st) != nil {
		return 0
	}
	return st.Size
}
