// Package durable makes files that survive a power cut: write to a temporary
// name, fsync the file, rename, fsync the directory. All calls work relative to
// an os.Root, so that no link leads out of the directory tree that the caller
// opened.
package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// Fault lets a test fail a step of the durable order. It is called before each
// step with its name: "create", "write", "sync", "rename", "syncdir". A nil
// Fault never fails.
type Fault func(step, name string) error

func (f Fault) at(step, name string) error {
	if f == nil {
		return nil
	}
	return f(step, name)
}

// File is a message or state file on its way to its final name. It is used by
// one goroutine.
type File struct {
	root  *os.Root // nil for a file of CreateAt
	dir   *os.File // of a file of CreateAt
	f     *os.File
	name  string
	fault Fault
	done  bool
}

// Create opens a new file under root with the given mode. An existing file of
// the name is an error. The caller ends with Commit or Abort.
func Create(root *os.Root, name string, mode os.FileMode, fault Fault) (*File, error) {
	if err := fault.at("create", name); err != nil {
		return nil, fmt.Errorf("creating %s: %w", name, err)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, fmt.Errorf("creating: %w", err)
	}
	return &File{root: root, f: f, name: name, fault: fault}, nil
}

// CreateAt is Create in a directory that is open, without a walk to it: name is
// one component, and dir, the caller's, stays open until the end. The caller
// moves the file himself and calls Done, or calls Abort; Rename is not for it.
func CreateAt(dir *os.File, name string, mode os.FileMode, fault Fault) (*File, error) {
	if err := fault.at("create", name); err != nil {
		return nil, fmt.Errorf("creating %s: %w", name, err)
	}
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(int(dir.Fd()), name, flags, uint32(mode.Perm()))
	for errors.Is(err, unix.EINTR) { // network file systems
		fd, err = unix.Openat(int(dir.Fd()), name, flags, uint32(mode.Perm()))
	}
	if err != nil {
		return nil, fmt.Errorf("creating: %w", &os.PathError{Op: "openat", Path: name, Err: err})
	}
	return &File{dir: dir, f: os.NewFile(uintptr(fd), name), name: name, fault: fault}, nil
}

// Done tells that the file has left its first name, so that Abort keeps it.
func (f *File) Done() { f.done = true }

// Write implements io.Writer.
func (f *File) Write(p []byte) (int, error) {
	if err := f.fault.at("write", f.name); err != nil {
		return 0, fmt.Errorf("writing %s: %w", f.name, err)
	}
	return f.f.Write(p)
}

// Chown gives the file another group, where the directory asks for it.
func (f *File) Chown(uid, gid int) error { return f.f.Chown(uid, gid) }

// Sync makes the content durable and closes the file; mtime is set first when
// it is not zero. The file still has its temporary name: Rename follows.
func (f *File) Sync(mtime time.Time) error {
	if !mtime.IsZero() {
		tv := []unix.Timeval{unix.NsecToTimeval(mtime.UnixNano()), unix.NsecToTimeval(mtime.UnixNano())}
		if err := unix.Futimes(int(f.f.Fd()), tv); err != nil {
			return fmt.Errorf("setting the time of %s: %w", f.name, err)
		}
	}
	if err := f.fault.at("sync", f.name); err != nil {
		return fmt.Errorf("syncing %s: %w", f.name, err)
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", f.name, err)
	}
	if err := f.f.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", f.name, err)
	}
	return nil
}

// Rename moves the synced file to its final name. The name is durable only
// after SyncDir of its directory.
func (f *File) Rename(to string) error {
	if err := f.fault.at("rename", to); err != nil {
		return fmt.Errorf("renaming to %s: %w", to, err)
	}
	if err := f.root.Rename(f.name, to); err != nil {
		return fmt.Errorf("renaming: %w", err)
	}
	f.done = true
	return nil
}

// Abort removes the file unless Rename has moved it. It may always be called.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	f.f.Close()
	if f.root == nil {
		_ = unix.Unlinkat(int(f.dir.Fd()), f.name, 0)
		return
	}
	f.root.Remove(f.name)
}

// SyncDir makes the names in a directory of root durable.
func SyncDir(root *os.Root, dir string, fault Fault) error {
	if err := fault.at("syncdir", dir); err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	d, err := root.Open(dir)
	if err != nil {
		return fmt.Errorf("opening directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	return nil
}

// WriteFile replaces the file name under root by what write produces: durable
// when it returns nil, and after any error or crash the old file is whole. The
// temporary file is name plus ".tmp"; a left-over one is replaced.
func WriteFile(root *os.Root, name string, mode os.FileMode, fault Fault, write func(io.Writer) error) error {
	tmp := name + ".tmp"
	if err := root.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing an old temporary file: %w", err)
	}
	f, err := Create(root, tmp, mode, fault)
	if err != nil {
		return err
	}
	defer f.Abort()
	if err := write(f); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := f.Sync(time.Time{}); err != nil {
		return err
	}
	if err := f.Rename(name); err != nil {
		return err
	}
	return SyncDir(root, path.Dir(name), fault)
}
