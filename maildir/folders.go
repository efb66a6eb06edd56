package maildir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Folder is one line of LIST (RFC 9051 section 6.3.9).
type Folder struct {
	// Name is UTF-8, its parts joined by the Store's separator.
	Name string
	// Exists is false for a parent that has no directory of its own: it is
	// listed with \NonExistent and cannot be opened.
	Exists bool
	// HasChildren is for \HasChildren and \HasNoChildren (RFC 3348).
	HasChildren bool
	// SpecialUse is \Sent, \Drafts, \Trash, \Junk, \Archive (RFC 6154), another one
	// that the folder was given, several with spaces between them, or "". What no
	// folder was given belongs to the one with the best name.
	SpecialUse string
}

// Folders returns all folders sorted by name, INBOX first, parents that do not
// exist included. A Maildir that is not made yet has an INBOX.
func (s *Store) Folders(ctx context.Context) ([]Folder, error) {
	var dirs []string
	var uses map[string]string
	err := s.withRoot(ctx, func(f *folder) (err error) {
		dirs, err = f.folderDirs()
		uses = f.specialUses(dirs)
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return s.arrange(dirs, uses), nil
}

// arrange makes the tree of LIST from the directories of the Maildir.
func (s *Store) arrange(dirs []string, uses map[string]string) []Folder {
	all := map[string]*Folder{inboxName: {Name: inboxName, Exists: true}}
	for _, dir := range dirs {
		name, ok := s.nameOf(dir)
		if !ok {
			continue
		}
		if have := all[name]; have != nil {
			have.Exists = true
		} else {
			all[name] = &Folder{Name: name, Exists: true}
		}
		all[name].SpecialUse = uses[dir]
		for i := strings.LastIndexByte(name, s.sep); i > 0; i = strings.LastIndexByte(name, s.sep) {
			if name = name[:i]; all[name] == nil {
				all[name] = &Folder{Name: name}
			}
			all[name].HasChildren = true
		}
	}
	list := make([]Folder, 0, len(all))
	for _, f := range all {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b Folder) int {
		if a.Name == inboxName || b.Name == inboxName {
			return btoi(b.Name == inboxName) - btoi(a.Name == inboxName)
		}
		return strings.Compare(a.Name, b.Name)
	})
	s.markSpecialUse(list)
	return list
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// specialNames are the well-known names of each use, the best first: what the
// common clients make. A user who has several keeps one use each.
var specialNames = []struct {
	use   string
	names []string
}{
	{`\Sent`, []string{"Sent", "Sent Messages", "Sent Items", "Sent Mail", "Gesendet", "Gesendete Objekte", "Envoyés", "Enviados", "已发送"}},
	{`\Drafts`, []string{"Drafts", "Draft", "Entwürfe", "Brouillons", "Borradores", "草稿"}},
	{`\Trash`, []string{"Trash", "Deleted Messages", "Deleted Items", "Bin", "Papierkorb", "Gelöschte Objekte", "Corbeille", "Papelera", "已删除"}},
	{`\Junk`, []string{"Junk", "Spam", "Junk E-mail", "Junk Email", "Bulk Mail", "Werbung", "垃圾邮件"}},
	{`\Archive`, []string{"Archive", "Archives", "Archiv", "Archivo", "归档"}},
}

// UsualUse is the special use that a folder gets for its name alone, such as
// \Junk for "Spam"; empty if there is none.
func UsualUse(name string) string {
	for _, special := range specialNames {
		if slices.ContainsFunc(special.names, func(n string) bool { return strings.EqualFold(n, name) }) {
			return special.use
		}
	}
	return ""
}

// markSpecialUse gives each use to the best-named existing folder at the top or
// directly below INBOX.
func (s *Store) markSpecialUse(list []Folder) {
	for _, special := range specialNames {
		if slices.ContainsFunc(list, func(f Folder) bool {
			return slices.ContainsFunc(strings.Fields(f.SpecialUse), func(use string) bool { return strings.EqualFold(use, special.use) })
		}) {
			continue
		}
		best, rank := -1, len(special.names)*2
		for i := range list {
			top := strings.TrimPrefix(list[i].Name, inboxName+string(s.sep))
			for r, name := range special.names {
				if !list[i].Exists || list[i].SpecialUse != "" || !strings.EqualFold(top, name) {
					continue
				}
				r = 2*r + btoi(top != list[i].Name)
				if r < rank {
					best, rank = i, r
				}
			}
		}
		if best >= 0 {
			list[best].SpecialUse = special.use
		}
	}
}

// names reads the entries of the folder.
func (f *folder) names() ([]string, error) {
	dir, err := f.root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("opening folder: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("reading folder: %w", err)
	}
	return names, nil
}

// folderDirs returns the directories that are folders; f is the Maildir.
func (f *folder) folderDirs() (dirs []string, err error) {
	err = inPooled(0, func(l *listing) error {
		if err := l.readAny(f.dir, unix.DT_DIR); err != nil {
			return err
		}
		for _, e := range l.ents {
			name := l.name(e)
			if len(name) < 2 || name[0] != '.' {
				continue
			}
			if string(name) == trashedName {
				f.cleanTrashed()
			}
			if name[1] != '.' {
				dirs = append(dirs, string(name))
			}
		}
		return nil
	})
	return dirs, err
}

// isDir reports whether a directory of this name is in the folder; a link to
// one is none.
func (f *folder) isDir(name string) bool {
	var st unix.Stat_t
	return f.lstat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// cleanTrashed removes what a crash left of a deletion an hour ago.
func (f *folder) cleanTrashed() {
	var st unix.Stat_t
	if f.lstat(trashedName, &st) == nil && f.now().Sub(time.Unix(st.Ctim.Unix())) > time.Hour {
		if err := f.root.RemoveAll(trashedName); err != nil {
			f.log.Warn("cannot clean a deleted folder", "user", f.owner, "err", err)
		}
	}
}
