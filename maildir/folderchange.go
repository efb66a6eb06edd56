package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/durable"
)

// Create makes a folder; a separator at the end of the name is dropped. It has
// its UIDVALIDITY at once, so that a folder made anew under an old name never
// has the old one. Parents are not made: Maildir++ needs none. ErrExists,
// ErrInvalidName.
func (s *Store) Create(ctx context.Context, name string) error {
	dir, err := s.newDirOf(name)
	if err != nil {
		return err
	}
	if dir == "" {
		return fmt.Errorf("%q: %w", name, ErrExists)
	}
	create := func(f *folder) error {
		if _, err := s.resolve(f, strings.TrimSuffix(name, string(s.sep))); err == nil {
			return fmt.Errorf("%q: %w", name, ErrExists)
		}
		return s.create(f, dir)
	}
	err = s.withRoot(ctx, create)
	if errors.Is(err, ErrNotFound) {
		if err = s.Prepare(ctx); err == nil {
			err = s.withRoot(ctx, create)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%q: %w", name, ErrExists)
	}
	if err == nil {
		s.tellFolders(FolderEvent{Kind: FolderCreated, Name: strings.TrimSuffix(name, string(s.sep))})
	}
	return err
}

// create makes the directory and its files; f is the Maildir.
func (s *Store) create(f *folder, dir string) error {
	if err := f.mkdir(dir); err != nil {
		return err
	}
	return s.inChild(f, dir, s.furnish)
}

// furnish makes what belongs into the directory of a new folder.
func (s *Store) furnish(c *folder) error {
	if err := c.makeSubdirs(); err != nil {
		return err
	}
	// maildirfolder tells Maildir++ delivery agents that this is a folder.
	if file, err := c.root.OpenFile("maildirfolder", unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW, c.fileMode); err == nil {
		file.Close()
	}
	validity, err := c.inbox.nextValidity()
	if err != nil {
		return err
	}
	h := listHeader{version: 3, validity: validity, next: 1, guid: newGUID()}
	if err := c.replace(listName, h.append(nil)); err != nil {
		return err
	}
	return durable.SyncDir(c.inbox.root, ".", c.opt.Fault)
}

// Delete removes a folder with its messages; its children stay. Sessions that
// have it open get a Removed change. ErrInbox, ErrNotFound.
func (s *Store) Delete(ctx context.Context, name string) error {
	err := s.delete(ctx, name)
	if err == nil {
		s.tellFolders(FolderEvent{Kind: FolderDeleted, Name: name})
	}
	return err
}

func (s *Store) delete(ctx context.Context, name string) error {
	s.renaming.Lock()
	defer s.renaming.Unlock()
	var dir, guid string
	err := s.withRoot(ctx, func(f *folder) (err error) {
		if dir, err = s.resolve(f, name); err != nil {
			return err
		}
		if dir == "" {
			return fmt.Errorf("deleting: %w", ErrInbox)
		}
		guid = s.guidOf(f, dir)
		return f.trash(dir)
	})
	if err != nil {
		return err
	}
	s.detach(dir)
	if guid != "" {
		s.all.opt.Index.Remove(s.owner.Name, guid)
	}
	return nil
}

// trash renames the folder out of sight, which is the moment of deletion, and
// then removes its files. What a crash leaves is cleaned later.
func (f *folder) trash(dir string) error {
	for try := 0; ; try++ {
		err := f.fault("rename", trashedName)
		if err == nil {
			err = f.root.Rename(dir, trashedName)
		}
		if err == nil {
			break
		}
		if try > 4 || !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("deleting: %w", err)
		}
		if err := f.root.RemoveAll(trashedName); err != nil {
			return fmt.Errorf("deleting: %w", err)
		}
	}
	f.dropSizes() // whoever needs the usage counts it anew
	if err := durable.SyncDir(f.root, ".", f.opt.Fault); err != nil {
		return err
	}
	if err := f.root.RemoveAll(trashedName); err != nil {
		f.log.Warn("cannot remove the files of a deleted folder", "user", f.owner, "err", err)
	}
	return nil
}

// Rename gives a folder and its children another name; their messages, UIDs and
// UIDVALIDITY stay. A name that has only children can be renamed too. Nothing is
// changed when any of the new names exists. ErrInbox, ErrNotFound, ErrExists,
// ErrInvalidName.
func (s *Store) Rename(ctx context.Context, from, to string) error {
	err := s.rename(ctx, from, to)
	if err == nil {
		s.tellFolders(FolderEvent{Kind: FolderRenamed, Name: strings.TrimSuffix(to, string(s.sep)), OldName: from})
	}
	return err
}

func (s *Store) rename(ctx context.Context, from, to string) error {
	toDir, err := s.newDirOf(to)
	if err != nil {
		return err
	}
	if toDir == "" {
		return fmt.Errorf("%q: %w", to, ErrExists)
	}
	s.renaming.Lock()
	defer s.renaming.Unlock()
	var moves [][2]string
	err = s.withRoot(ctx, func(f *folder) (err error) {
		if moves, err = s.planRename(f, from, toDir); err != nil {
			return err
		}
		return f.renameAll(moves)
	})
	if err != nil {
		return err
	}
	s.reattach(moves)
	return nil
}

// planRename lists the directories to rename, from and to.
func (s *Store) planRename(f *folder, from, toDir string) ([][2]string, error) {
	fromDir, err := s.dirOf(from)
	if err != nil {
		return nil, err
	}
	if fromDir == "" {
		return nil, fmt.Errorf("renaming: %w", ErrInbox)
	}
	if dir, err := s.resolve(f, from); err == nil {
		fromDir = dir
	}
	dirs, err := f.folderDirs()
	if err != nil {
		return nil, err
	}
	have := make(map[string]bool, len(dirs))
	for _, dir := range dirs {
		have[dir] = true
	}
	var moves [][2]string
	for _, dir := range dirs {
		rest, ok := strings.CutPrefix(dir, fromDir)
		if !ok || rest != "" && rest[0] != '.' {
			continue
		}
		if len(toDir)+len(rest) > 255 {
			return nil, fmt.Errorf("%q: %w", toDir+rest, ErrInvalidName)
		}
		moves = append(moves, [2]string{dir, toDir + rest})
	}
	if len(moves) == 0 {
		return nil, fmt.Errorf("%q: %w", from, ErrNotFound)
	}
	for _, m := range moves {
		if have[m[1]] {
			return nil, fmt.Errorf("%q: %w", m[1], ErrExists)
		}
	}
	return moves, nil
}

// renameAll renames all or, when one fails, none.
func (f *folder) renameAll(moves [][2]string) error {
	for i, m := range moves {
		err := f.fault("rename", m[1])
		if err == nil {
			// Refused by the kernel where somebody else made the new name since.
			err = unix.Renameat2(int(f.dir.Fd()), m[0], int(f.dir.Fd()), m[1], unix.RENAME_NOREPLACE)
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
				err = f.root.Rename(m[0], m[1])
			}
		}
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: %w", ErrExists, err)
		}
		if err == nil {
			continue
		}
		for _, back := range moves[:i] {
			_ = f.root.Rename(back[1], back[0])
		}
		return fmt.Errorf("renaming folder: %w", err)
	}
	return durable.SyncDir(f.root, ".", f.opt.Fault)
}
