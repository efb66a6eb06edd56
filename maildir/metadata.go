package maildir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// mailsrvd-metadata, in a folder's directory, holds its annotations (RFC 5464),
// and in the Maildir mailsrvd-metadata-server those of the server. Each line is
// one entry:
//
//	{"entry":"/private/comment","value":"Letters from Zoë"}
//
// A value that is no UTF-8 is in "base64" in place of "value". Lines that we
// cannot read stay. In the directory of its folder the file goes where the folder
// goes, whoever renames or deletes it; Dovecot, whose own attributes are in files
// whose format it changes at will, does not mind it. The file is written anew
// under mailsrvd-metadata.lock, like subscriptions.

const (
	metadataName   = "mailsrvd-metadata"
	metadataServer = "mailsrvd-metadata-server"
	metadataLock   = "mailsrvd-metadata.lock"
	metadataStale  = 30 * time.Second
	maxMetadata    = 16 << 20

	// SpecialUseEntry is the annotation that holds the special uses of a folder
	// (RFC 6154 section 5.4), separated by spaces.
	SpecialUseEntry = "/private/specialuse"
)

// Annotation is an entry with its value, which may be any bytes. Entries are in
// lower case.
type Annotation struct{ Entry, Value string }

// AnnotationChange sets an entry, or removes it if Value is nil.
type AnnotationChange struct {
	Entry string
	Value *string
}

// ErrTooManyAnnotations means that a folder has as many as it may have.
var ErrTooManyAnnotations = errors.New("too many annotations")

// metadataLine is one line of the file.
type metadataLine struct {
	Entry  string  `json:"entry"`
	Value  *string `json:"value,omitempty"`
	Base64 []byte  `json:"base64,omitempty"`
}

// metadata is the file in memory.
type metadata struct {
	list   []Annotation // by entry
	strays []string     // lines that say nothing to us
}

func parseMetadata(text string) (m metadata) {
	for line := range strings.SplitSeq(text, "\n") {
		var l metadataLine
		switch {
		case line == "":
		case json.Unmarshal([]byte(line), &l) != nil || l.Entry == "":
			m.strays = append(m.strays, line)
		case l.Value != nil:
			m.set(strings.ToLower(l.Entry), l.Value)
		default:
			value := string(l.Base64)
			m.set(strings.ToLower(l.Entry), &value)
		}
	}
	return m
}

func (m *metadata) format() []byte {
	var b []byte
	for _, a := range m.list {
		l := metadataLine{Entry: a.Entry}
		if utf8.ValidString(a.Value) {
			l.Value = &a.Value
		} else {
			l.Base64 = []byte(a.Value)
		}
		line, err := json.Marshal(l)
		if err != nil { // of two strings it cannot be
			continue
		}
		b = append(append(b, line...), '\n')
	}
	for _, line := range m.strays {
		b = append(append(b, line...), '\n')
	}
	return b
}

// find returns where an entry is, or would be.
func (m *metadata) find(entry string) (int, bool) {
	return slices.BinarySearchFunc(m.list, entry, func(a Annotation, entry string) int { return strings.Compare(a.Entry, entry) })
}

// set sets or removes an entry, and reports whether that changed anything.
func (m *metadata) set(entry string, value *string) bool {
	i, found := m.find(entry)
	switch {
	case value == nil && found:
		m.list = slices.Delete(m.list, i, i+1)
	case value == nil, found && m.list[i].Value == *value:
		return false
	case found:
		m.list[i].Value = *value
	default:
		m.list = slices.Insert(m.list, i, Annotation{entry, *value})
	}
	return true
}

// Annotations returns the annotations of a folder, or with an empty name those of
// the server, sorted by entry. ErrNotFound, ErrInvalidName.
func (s *Store) Annotations(ctx context.Context, name string) ([]Annotation, error) {
	var m metadata
	err := s.withAnnotated(ctx, name, func(f *folder, file string) (err error) {
		m, err = f.readMetadata(file)
		return err
	})
	if errors.Is(err, ErrNotFound) && (name == "" || strings.EqualFold(name, inboxName)) {
		return nil, nil // no Maildir yet
	}
	return m.list, err
}

// Annotate changes annotations, all or none; they are durable when the error is
// nil. A folder may have limit annotations, else it is ErrTooManyAnnotations. Who
// knows their meaning checks names and values. ErrNotFound, ErrInvalidName,
// ErrLocked.
func (s *Store) Annotate(ctx context.Context, name string, changes []AnnotationChange, limit int) error {
	if name == "" || strings.EqualFold(name, inboxName) {
		if err := s.Prepare(ctx); err != nil {
			return err
		}
	}
	err := s.annotate(ctx, name, changes, limit)
	if err == nil {
		s.tellFolders(FolderEvent{Kind: FolderAnnotated, Name: name, Entries: entriesOf(changes)})
	}
	return err
}

func (s *Store) annotate(ctx context.Context, name string, changes []AnnotationChange, limit int) error {
	w := lockWait{limit: s.all.opt.LockWait}
	for {
		err := s.withAnnotated(ctx, name, func(f *folder, file string) error {
			lock, err := f.tryLock(metadataLock, file, metadataStale, &w.sight)
			if err != nil {
				return err
			}
			defer f.unlock(lock)
			m, err := f.readMetadata(file)
			if err != nil || !m.apply(changes) {
				return err
			}
			if len(m.list) > limit {
				return ErrTooManyAnnotations
			}
			return f.replaceUnder(lock, file, m.format())
		})
		if !errors.Is(err, errHeld) {
			return err
		}
		if err := w.pause(ctx); err != nil {
			return fmt.Errorf("changing annotations: %w", err)
		}
	}
}

// apply makes the changes, and reports whether there were any.
func (m *metadata) apply(changes []AnnotationChange) (changed bool) {
	for _, c := range changes {
		changed = m.set(strings.ToLower(c.Entry), c.Value) || changed
	}
	return changed
}

// withAnnotated runs fn in the folder that name means, with the file's name.
func (s *Store) withAnnotated(ctx context.Context, name string, fn func(f *folder, file string) error) error {
	s.renaming.RLock()
	defer s.renaming.RUnlock()
	return s.withRoot(ctx, func(inbox *folder) error {
		if name == "" {
			return fn(inbox, metadataServer)
		}
		dir, err := s.resolve(inbox, name)
		if err != nil {
			return err
		}
		return s.inChild(inbox, dir, func(f *folder) error { return fn(f, metadataName) })
	})
}

func (f *folder) readMetadata(file string) (metadata, error) {
	text, err := f.readFile(file, maxMetadata)
	if errors.Is(err, fs.ErrNotExist) {
		return metadata{}, nil
	}
	if err != nil {
		return metadata{}, fmt.Errorf("reading annotations: %w", err)
	}
	return parseMetadata(text), nil
}

// specialUses returns the special uses that folders were given, by directory. f
// is the Maildir. Most folders have no annotations, which one stat tells.
func (f *folder) specialUses(dirs []string) map[string]string {
	uses := map[string]string{}
	for _, dir := range dirs {
		path := dir + "/" + metadataName
		var st unix.Stat_t
		if f.lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		text, err := f.readFile(path, maxMetadata)
		if err != nil {
			f.log.Warn("cannot read annotations", "user", f.owner, "folder", dir, "err", err)
			continue
		}
		m := parseMetadata(text)
		if i, ok := m.find(SpecialUseEntry); ok && m.list[i].Value != "" {
			uses[dir] = m.list[i].Value
		}
	}
	return uses
}
