package maildir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// inotify is an instance of inotify(7) that tells which names come and go in
// directories, and nothing else: a watch that also wants to know of changes within
// files makes the kernel mark every file of the directory that it has in memory, which
// takes 10 ms of a folder of 100,000 messages, each time that one is selected.
//
// A directory that has two paths is watched once, and told by both.
type inotify struct {
	file *os.File // the instance; reading waits in the runtime's poller
	fd   int      // of file, to be used with mu held while closed is false

	mu     sync.Mutex // guards what follows
	closed bool
	dirs   map[int][]string // the paths of each watch
	ids    map[string]int
}

const (
	nameComes = unix.IN_CREATE | unix.IN_MOVED_TO
	nameGoes  = unix.IN_DELETE | unix.IN_MOVED_FROM
	dirGoes   = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
)

// errOverflow means that the kernel had to throw events away.
var errOverflow = errors.New("inotify: the queue of events ran over")

func newInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	return &inotify{file: os.NewFile(uintptr(fd), "inotify"), fd: fd, dirs: map[int][]string{}, ids: map[string]int{}}, nil
}

// add watches a directory. It works with the rights of the calling thread.
func (n *inotify) add(dir string) error {
	n.mu.Lock() // also during the call: its first event finds the path
	defer n.mu.Unlock()
	if n.closed {
		return os.ErrClosed
	}
	id, err := unix.InotifyAddWatch(n.fd, dir, nameComes|nameGoes|dirGoes|unix.IN_ONLYDIR)
	if err != nil {
		return fmt.Errorf("watching a directory: %w", os.NewSyscallError("inotify_add_watch", err))
	}
	if old, ok := n.ids[dir]; ok && old != id {
		n.drop(old, dir)
	}
	if !slices.Contains(n.dirs[id], dir) {
		n.dirs[id] = append(n.dirs[id], dir)
	}
	n.ids[dir] = id
	return nil
}

// remove ends the watch of a directory; it need not be there any more.
func (n *inotify) remove(dir string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id, ok := n.ids[dir]
	if !ok || n.closed {
		return
	}
	delete(n.ids, dir)
	n.drop(id, dir)
}

// drop takes a path from a watch, and ends one that has no other. n.mu is held.
func (n *inotify) drop(id int, dir string) {
	left := slices.DeleteFunc(n.dirs[id], func(d string) bool { return d == dir })
	if n.dirs[id] = left; len(left) > 0 {
		return
	}
	delete(n.dirs, id)
	_, _ = unix.InotifyRmWatch(n.fd, uint32(id)) // the kernel ends it itself with its directory
}

// paths are those of a watch; ended says that the kernel has ended it.
func (n *inotify) paths(id int, ended bool) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	dirs := slices.Clone(n.dirs[id])
	if ended {
		delete(n.dirs, id)
		for _, dir := range dirs {
			delete(n.ids, dir)
		}
	}
	return dirs
}

// listen calls event for what happens in a directory that is watched, with the name
// that comes (there) or goes, or without one if the directory itself goes, and lost
// when events were lost. It ends with close.
func (n *inotify) listen(event func(dir, name string, there bool), lost func(error)) {
	buf := make([]byte, 64<<10)
	for {
		size, err := n.file.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			lost(fmt.Errorf("reading events: %w", err))
			return
		}
		for b := buf[:size]; len(b) >= unix.SizeofInotifyEvent; {
			id, mask := int(int32(binary.NativeEndian.Uint32(b))), binary.NativeEndian.Uint32(b[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			name, _, _ := bytes.Cut(b[unix.SizeofInotifyEvent:min(end, len(b))], []byte{0})
			b = b[min(end, len(b)):]
			if mask&unix.IN_Q_OVERFLOW != 0 {
				lost(errOverflow)
				continue
			}
			for _, dir := range n.paths(id, mask&unix.IN_IGNORED != 0) {
				switch {
				case mask&(dirGoes|unix.IN_UNMOUNT|unix.IN_IGNORED) != 0:
					event(dir, "", false)
				case mask&(nameComes|nameGoes) != 0:
					event(dir, string(name), mask&nameComes != 0)
				}
			}
		}
	}
}

// close ends the instance and listen; once more does nothing.
func (n *inotify) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	return n.file.Close()
}
