package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/durable"
)

// subdir is one of the two directories that hold messages, or the one where they
// are written.
type subdir uint8

const (
	inNew subdir = iota
	inCur
	inTmp
)

var subNames = [3]string{"new", "cur", "tmp"}

// folder is a mailbox directory, opened for the length of one asuser.Do and kept
// for the next (keep.go). Names that it is given are single components; none is
// ever followed as a link.
type folder struct {
	root     *os.Root // of the mailbox: the Maildir or one .Folder in it
	dir      *os.File // the same directory
	sub      [3]*os.File
	subID    [3]inode
	fresh    [3]bool     // sub was found to be in its place during this visit
	stat     unix.Stat_t // of the directory
	fileMode fs.FileMode
	dirMode  fs.FileMode
	chgrp    bool    // new files must be given the directory's group
	inbox    *folder // the Maildir; the folder itself if it is INBOX
	store    *Store
	opt      *Options
	owner    string
	gid      int
	log      *slog.Logger
}

// withRoot runs fn as the owner with the Maildir opened as INBOX.
func (s *Store) withRoot(ctx context.Context, fn func(f *folder) error) error {
	return asuser.Do(ctx, s.owner, func() (err error) {
		f, err := s.enter()
		if err != nil {
			return err
		}
		defer func() { s.leave("", f, err) }()
		return fn(f)
	})
}

// withFolder runs fn as the owner with the folder of this directory name
// opened; "" is INBOX.
func (s *Store) withFolder(ctx context.Context, dir string, fn func(f *folder) error) error {
	return s.withRoot(ctx, func(inbox *folder) error { return s.inChild(inbox, dir, fn) })
}

// inChild runs fn with a folder of a Maildir that is open.
func (s *Store) inChild(inbox *folder, dir string, fn func(f *folder) error) (err error) {
	if dir == "" {
		return fn(inbox)
	}
	f, err := s.child(inbox, dir)
	if err != nil {
		return err
	}
	defer func() { s.leave(dir, f, err) }()
	return fn(f)
}

// leave ends a visit. After an error the folder is not kept: whatever was wrong
// with it, the next visit sees it with new eyes.
func (s *Store) leave(dir string, f *folder, err error) {
	if err != nil {
		f.shut()
		return
	}
	s.all.kept.give(keptKey{s, dir}, f)
}

// enter opens the Maildir, or takes the kept one if the path still leads to it.
func (s *Store) enter() (*folder, error) {
	if f := s.all.kept.take(keptKey{s, ""}); f != nil {
		var st unix.Stat_t
		if unix.Stat(s.path, &st) == nil && f.still(&st) {
			f.inbox = f
			return f, nil
		}
		f.shut()
	}
	root, err := os.OpenRoot(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the Maildir: %w", err)
	}
	f, err := s.newFolder(root)
	if err != nil {
		return nil, err
	}
	f.inbox = f
	return f, nil
}

// child opens a folder below the Maildir. A symbolic link is not followed, even
// inside the Maildir: one folder under two names would have two states.
func (s *Store) child(inbox *folder, dir string) (*folder, error) {
	var st unix.Stat_t
	err := inbox.lstat(dir, &st)
	if f := s.all.kept.take(keptKey{s, dir}); f != nil {
		if err == nil && f.still(&st) {
			f.inbox = inbox
			return f, nil
		}
		f.shut()
	}
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, fmt.Errorf("folder %q: %w", dir, ErrNotFound)
	}
	root, err := inbox.root.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening folder: %w", err)
	}
	f, err := s.newFolder(root)
	if err != nil {
		return nil, err
	}
	f.inbox = inbox
	return f, nil
}

// newFolder takes over root, and closes it when it fails.
func (s *Store) newFolder(root *os.Root) (*folder, error) {
	dir, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("opening folder: %w", err)
	}
	f := &folder{root: root, dir: dir, store: s, opt: &s.all.opt, owner: s.owner.Name, gid: s.owner.GID, log: s.all.log}
	if err := unix.Fstat(int(dir.Fd()), &f.stat); err != nil {
		f.shut()
		return nil, fmt.Errorf("opening folder: %w", err)
	}
	f.fileMode, f.dirMode, f.chgrp = modes(&f.stat, f.gid)
	return f, nil
}

// modes derives the modes of new files and directories from those of a
// directory, as Dovecot does: its own bits, and always the owner's. The group
// must be set when the directory does not hand it down (setgid) and its bits
// mean something, that is, differ from the world's.
func modes(st *unix.Stat_t, gid int) (file, dir fs.FileMode, chgrp bool) {
	bits := fs.FileMode(st.Mode)
	file = bits&0o666 | 0o600
	dir = bits&0o777 | 0o700
	shared := bits>>3&7 != bits&7
	return file, dir, shared && st.Mode&unix.S_ISGID == 0 && int(st.Gid) != gid
}

// shut closes the folder for good.
func (f *folder) shut() {
	for _, d := range f.sub {
		if d != nil {
			d.Close()
		}
	}
	f.dir.Close()
	f.root.Close()
}

// id names the directory itself.
func (f *folder) id() inode { return inode{uint64(f.stat.Dev), f.stat.Ino} }

func (f *folder) now() time.Time { return f.opt.clock() }

func (f *folder) fault(step, name string) error {
	if f.opt.Fault == nil {
		return nil
	}
	if err := f.opt.Fault(step, name); err != nil {
		return fmt.Errorf("%s %s: %w", step, name, err)
	}
	return nil
}

// in opens new/, cur/ or tmp/, or takes the one that is open if it is still in its
// place; it stays open as long as the folder.
func (f *folder) in(d subdir) (*os.File, error) {
	if f.sub[d] != nil && !f.fresh[d] {
		var st unix.Stat_t
		if f.lstat(subNames[d], &st) != nil {
			st = unix.Stat_t{}
		}
		f.look(d, &st)
	}
	if f.sub[d] != nil {
		return f.sub[d], nil
	}
	err := f.openSub(d)
	if errors.Is(err, fs.ErrNotExist) {
		if err = f.makeSubdirs(); err == nil {
			err = f.openSub(d)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", subNames[d], err)
	}
	return f.sub[d], nil
}

// openSubs opens all three, and makes what is missing.
func (f *folder) openSubs() error {
	for d := range f.sub {
		if _, err := f.in(subdir(d)); err != nil {
			return err
		}
	}
	return nil
}

// look compares what stands in the place of a subdirectory with the one that is
// open, which is closed if it is another one.
func (f *folder) look(d subdir, st *unix.Stat_t) {
	switch {
	case f.sub[d] == nil:
	case f.subID[d] == inode{uint64(st.Dev), st.Ino}:
		f.fresh[d] = true
	default:
		f.sub[d].Close()
		f.sub[d], f.fresh[d] = nil, false
	}
}

func (f *folder) openSub(d subdir) error {
	fd, err := unix.Openat(int(f.dir.Fd()), subNames[d], unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	f.sub[d], f.subID[d], f.fresh[d] = os.NewFile(uintptr(fd), subNames[d]), inode{uint64(st.Dev), st.Ino}, true
	return nil
}

// makeSubdirs makes cur, new and tmp where they are missing, in Dovecot's
// order, durable on return: a message in a directory whose own name is lost is
// lost too.
func (f *folder) makeSubdirs() error {
	made := false
	for _, name := range []string{"cur", "new", "tmp"} {
		err := f.mkdir(name)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		made = made || err == nil
	}
	if !made {
		return nil
	}
	return durable.SyncDir(f.root, ".", f.opt.Fault)
}

// mkdir makes a directory with the folder's mode. It is never followed by a
// chmod, which would clear an inherited setgid bit.
func (f *folder) mkdir(name string) error {
	if err := f.fault("mkdir", name); err != nil {
		return err
	}
	if err := f.root.Mkdir(name, f.dirMode); err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	if f.chgrp {
		// It fails when the owner is not in the group; the directory is then
		// the owner's alone, which harms nobody.
		_ = f.root.Lchown(name, -1, int(f.stat.Gid))
	}
	return nil
}

// lstat fills st for a name in the folder itself.
func (f *folder) lstat(name string, st *unix.Stat_t) error {
	*st = unix.Stat_t{}
	return unix.Fstatat(int(f.dir.Fd()), name, st, unix.AT_SYMLINK_NOFOLLOW)
}

// statIn fills st for a message file.
func (f *folder) statIn(d subdir, name string, st *unix.Stat_t) error {
	dir, err := f.in(d)
	if err != nil {
		return err
	}
	*st = unix.Stat_t{}
	return unix.Fstatat(int(dir.Fd()), name, st, unix.AT_SYMLINK_NOFOLLOW)
}

// move renames a message file; a name that exists is never overwritten, where
// the file system can tell.
func (f *folder) move(from subdir, name string, to subdir, as string) error {
	if err := f.fault("rename", as); err != nil {
		return err
	}
	a, err := f.in(from)
	if err != nil {
		return err
	}
	b, err := f.in(to)
	if err != nil {
		return err
	}
	return renameNew(a, name, b, as)
}

// renameNew is rename(2) that fails with EEXIST where the new name exists.
func renameNew(a *os.File, name string, b *os.File, as string) error {
	err := unix.Renameat2(int(a.Fd()), name, int(b.Fd()), as, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = unix.Renameat(int(a.Fd()), name, int(b.Fd()), as)
	}
	if err != nil {
		return fmt.Errorf("renaming a message: %w", err)
	}
	return nil
}

// errNotRegular means that a message or side file is something else.
var errNotRegular = errors.New("not a regular file")

// openRegular opens a side file for reading.
func (f *folder) openRegular(name string) (*os.File, error) {
	return checkRegular(f.root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0))
}

// checkRegular closes what is no regular file: a FIFO would block its reader,
// a device do worse.
func checkRegular(file *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	fi, err := file.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return file, nil
}

// readFile reads a side file whole, up to limit bytes.
func (f *folder) readFile(name string, limit int64) (string, error) {
	file, err := f.openRegular(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, _, err := readFrom(file, 0, limit)
	return text, err
}

// readFrom reads a file from offset to its end as one string, and its stat.
func readFrom(file *os.File, offset, limit int64) (string, unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return "", st, fmt.Errorf("reading %s: %w", file.Name(), err)
	}
	if st.Size-offset > limit {
		return "", st, fmt.Errorf("reading %s: %d bytes are more than the limit of %d", file.Name(), st.Size, limit)
	}
	if st.Size <= offset {
		return "", st, nil
	}
	b := make([]byte, st.Size-offset)
	n, err := file.ReadAt(b, offset)
	if err != nil && err != io.EOF {
		return "", st, fmt.Errorf("reading %s: %w", file.Name(), err)
	}
	return bytesString(b[:n]), st, nil
}

// replace writes a side file anew: durable.WriteFile, with the folder's group.
func (f *folder) replace(name string, content []byte) error {
	tmp := name + ".tmp"
	if err := f.root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an old temporary file: %w", err)
	}
	return f.replaceBy(tmp, name, content, time.Time{})
}

// replaceBy writes content to tmp, which must not exist, and renames it.
func (f *folder) replaceBy(tmp, name string, content []byte, mtime time.Time) error {
	file, err := durable.Create(f.root, tmp, f.fileMode, f.opt.Fault)
	if err != nil {
		return err
	}
	defer file.Abort()
	if f.chgrp {
		_ = file.Chown(-1, int(f.stat.Gid)) // see mkdir
	}
	if _, err := file.Write(content); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := file.Sync(mtime); err != nil {
		return err
	}
	if err := file.Rename(name); err != nil {
		return err
	}
	return durable.SyncDir(f.root, ".", f.opt.Fault)
}
