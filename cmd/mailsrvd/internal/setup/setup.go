// Package setup prepares a user's Maildir and finds what in it the user cannot
// use: files that an earlier server delivered under another identity.
package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
)

// Report is what became of a Maildir, or what is wrong with it.
type Report struct {
	User    string `json:"user"`
	Maildir string `json:"maildir"`
	// Made says that the Maildir was made just now.
	Made bool `json:"made"`
	// Mode and Group are those of the Maildir's root.
	Mode  string `json:"mode,omitempty"`
	Group int    `json:"gid"`
	// Messages and Folders count what is there.
	Messages int `json:"messages"`
	Folders  int `json:"folders"`
	// Foreign are entries that do not belong to the user, at most MaxListed of
	// ForeignCount.
	Foreign      []string `json:"foreign,omitempty"`
	ForeignCount int      `json:"foreign_count"`
	// Unreadable are directories that the user himself cannot read.
	Unreadable []string `json:"unreadable,omitempty"`
	// FullKeywords are folders whose 26 letters for keywords are taken: Dovecot
	// keeps further ones in its index alone, where nobody else finds them.
	FullKeywords []string `json:"full_keywords,omitempty"`
	// EmptyLists are folders with messages whose list of UIDs names none while
	// Dovecot's index has them: clients would download such a folder again.
	EmptyLists []string `json:"empty_lists,omitempty"`
	// Missing says that there is no Maildir, Odd that it is none.
	Missing bool   `json:"missing,omitempty"`
	Odd     string `json:"odd,omitempty"`

	uid int
}

// MaxListed bounds the names in a Report.
const MaxListed = 20

// Fine reports whether nothing needs mending. A missing Maildir is no fault:
// the first message makes it.
func (r *Report) Fine() bool {
	return r.ForeignCount == 0 && len(r.Unreadable) == 0 && r.Odd == "" && len(r.EmptyLists) == 0
}

// Mend is the command that gives the user what is his; empty if all is, or if a
// human must look first. root will paste it, while the user can still change
// things: find stays on the file system, changes entries through the directory
// they were found in, follows no link, and leaves files alone that have a second
// name, which may lie outside the Maildir.
func (r *Report) Mend() string {
	if r.ForeignCount == 0 || r.Odd != "" || r.Missing {
		return ""
	}
	return fmt.Sprintf(`find %s -xdev ! -user %d \( -type d -o -type f -links 1 \) -execdir chown -h %d:%d {} +`,
		shellQuote(r.Maildir), r.uid, r.uid, r.Group)
}

func shellQuote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/.-_+@", c)
	}
	if strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Shared asks for a Maildir that a group may use, too (mode 2770).
type Shared struct{ GID int }

// Make makes the Maildir with the user's own rights: mode 0700, or, with
// shared, 2770 and the group, for which this process must be root. An existing
// directory keeps its content and, without shared, its mode.
func Make(ctx context.Context, owner asuser.Owner, maildir string, shared *Shared) (made bool, err error) {
	err = asuser.Do(ctx, owner, func() error {
		if _, err := os.Lstat(maildir); errors.Is(err, fs.ErrNotExist) {
			made = true
		}
		if err := os.MkdirAll(maildir, 0o700); err != nil {
			return err
		}
		root, err := os.OpenRoot(maildir)
		if err != nil {
			return err
		}
		defer root.Close()
		for _, d := range []string{"cur", "new", "tmp"} {
			if err := root.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return made, fmt.Errorf("making %s as %s: %w", maildir, owner.Name, err)
	}
	if shared != nil {
		if err := share(ctx, owner, maildir, *shared); err != nil {
			return made, fmt.Errorf("sharing %s: %w", maildir, err)
		}
	}
	return made, nil
}

// share opens the Maildir's directories as the user, so that no link of his
// leads elsewhere, and changes what was opened as root.
func share(ctx context.Context, owner asuser.Owner, maildir string, s Shared) error {
	var dirs []*os.File
	defer func() {
		for _, d := range dirs {
			d.Close()
		}
	}()
	err := asuser.Do(ctx, owner, func() (err error) {
		dirs, err = openDirs(maildir)
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range dirs {
		fi, err := d.Stat()
		if err != nil {
			return err
		}
		if uid := fi.Sys().(*syscall.Stat_t).Uid; int(uid) != owner.UID {
			return fmt.Errorf("%s belongs to uid %d, not to %s", d.Name(), uid, owner.Name)
		}
		// The group first: chown clears the setgid bit.
		if err := d.Chown(owner.UID, s.GID); err != nil {
			return err
		}
		if err := d.Chmod(0o770 | fs.ModeSetgid); err != nil {
			return err
		}
	}
	return nil
}

// openDirs opens the root, its folders, and cur, new and tmp of each.
func openDirs(maildir string) (dirs []*os.File, err error) {
	root, err := os.OpenRoot(maildir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	folders, err := fs.Glob(root.FS(), ".[^.]*")
	if err != nil {
		return nil, err
	}
	for _, folder := range append([]string{"."}, folders...) {
		if fi, err := root.Lstat(folder); err != nil || !fi.IsDir() {
			continue // a file beside the folders, or a link
		}
		for _, sub := range []string{".", "cur", "new", "tmp"} {
			d, err := root.OpenFile(path.Join(folder, sub), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
			if errors.Is(err, fs.ErrNotExist) && folder != "." {
				continue
			} else if err != nil {
				return dirs, err
			}
			dirs = append(dirs, d)
		}
	}
	return dirs, nil
}

// Check looks at a Maildir as its owner and changes nothing.
func Check(ctx context.Context, owner asuser.Owner, maildir string) (*Report, error) {
	r := &Report{User: owner.Name, Maildir: maildir, uid: owner.UID}
	err := asuser.Do(ctx, owner, func() error {
		fi, err := os.Stat(maildir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			r.Missing = true
			return nil
		case err != nil:
			return err
		case !fi.IsDir():
			r.Odd = "is not a directory"
			return nil
		case int(fi.Sys().(*syscall.Stat_t).Uid) != owner.UID:
			r.Odd = fmt.Sprintf("belongs to uid %d, not to %s", fi.Sys().(*syscall.Stat_t).Uid, owner.Name)
			return nil
		}
		root, err := os.OpenRoot(maildir)
		if err != nil {
			return err
		}
		defer root.Close()
		r.Mode = fmt.Sprintf("%04o", modeBits(fi.Mode()))
		r.Group = int(fi.Sys().(*syscall.Stat_t).Gid)
		return r.walk(ctx, root, owner)
	})
	if err != nil {
		return nil, fmt.Errorf("checking %s as %s: %w", maildir, owner.Name, err)
	}
	return r, nil
}

func modeBits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	return bits
}

func (r *Report) walk(ctx context.Context, root *os.Root, owner asuser.Owner) error {
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if len(r.Unreadable) < MaxListed {
				r.Unreadable = append(r.Unreadable, filepath.Join(r.Maildir, name))
			}
			return fs.SkipDir
		}
		fi, err := root.Lstat(name)
		if err != nil {
			return nil // gone meanwhile
		}
		r.count(name, fi)
		r.sideFile(root, name, fi)
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && int(st.Uid) != owner.UID {
			r.ForeignCount++
			if len(r.Foreign) < MaxListed {
				r.Foreign = append(r.Foreign, filepath.Join(r.Maildir, name))
			}
		}
		return nil
	})
}

func (r *Report) count(name string, fi fs.FileInfo) {
	parent := path.Base(path.Dir(name))
	switch {
	case fi.Mode().IsRegular() && (parent == "cur" || parent == "new"):
		r.Messages++
	case fi.IsDir() && path.Base(name) == "cur":
		r.Folders++
	}
}

// sideFile looks into the files in which Dovecot keeps what the names of the
// messages do not say.
func (r *Report) sideFile(root *os.Root, name string, fi fs.FileInfo) {
	const enough = 64 << 10 // of a list, to see whether it has a second line
	if !fi.Mode().IsRegular() {
		return
	}
	dir := path.Dir(name)
	switch path.Base(name) {
	case "dovecot-keywords":
		if strings.Count(head(root, name, enough), "\n") >= 26 {
			r.FullKeywords = append(r.FullKeywords, folderName(dir))
		}
	case "dovecot-uidlist":
		_, rest, _ := strings.Cut(head(root, name, enough), "\n")
		if _, err := root.Lstat(path.Join(dir, "dovecot.index.log")); rest == "" && err == nil && hasEntries(root, path.Join(dir, "cur")) {
			r.EmptyLists = append(r.EmptyLists, folderName(dir))
		}
	}
}

// folderName is the folder's name on disk, without the leading separator.
func folderName(dir string) string {
	if dir == "." {
		return "INBOX"
	}
	return strings.TrimPrefix(dir, ".")
}

func head(root *os.Root, name string, most int64) string {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, most))
	return string(b)
}

func hasEntries(root *os.Root, dir string) bool {
	f, err := root.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	names, _ := f.Readdirnames(1)
	return len(names) > 0
}
