package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// textSet are the open segments of a folder. It never changes.
type textSet struct {
	segments []*segment
	covered  []document // of all segments, by UID
	users    atomic.Int32
}

// newTextSet makes a set with one user. It takes a reference of each segment.
func newTextSet(segments []*segment) *textSet {
	t := &textSet{segments: segments}
	t.users.Store(1)
	for _, s := range segments {
		s.sets.Add(1)
		t.covered = append(t.covered, s.docs...)
	}
	if !slices.IsSortedFunc(t.covered, compareDocuments) {
		slices.SortFunc(t.covered, compareDocuments)
	}
	return t
}

func (t *textSet) use() bool {
	for {
		n := t.users.Load()
		if n == 0 {
			return false
		}
		if t.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (t *textSet) release() {
	if t.users.Add(-1) > 0 {
		return
	}
	for _, s := range t.segments {
		if s.sets.Add(-1) == 0 {
			s.file.Close()
		}
	}
}

// documentWalk goes through documents sorted by UID beside keys that are, too.
type documentWalk []document

// has reports whether the documents have k. Keys must come in rising order.
func (w *documentWalk) has(k Key) bool {
	docs := *w
	for len(docs) > 0 && docs[0].uid < k.UID {
		docs = docs[1:]
	}
	*w = docs
	if len(docs) == 0 || docs[0].uid != k.UID {
		return false
	}
	base := BaseHash(k.Base)
	for _, d := range docs {
		if d.uid != k.UID {
			break
		}
		if d.base == base {
			return true
		}
	}
	return false
}

const textPrefix = "text-"

// openText returns the folder's segments, opened if they are not, with a user
// counted.
func (m *Mailbox) openText() *textSet {
	if t := m.openedText(); t != nil {
		return t
	}
	m.io.Lock()
	defer m.io.Unlock()
	return m.openTextLocked()
}

func (m *Mailbox) openedText() *textSet {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = m.index.now()
	if m.text != nil && m.text.use() {
		return m.text
	}
	return nil
}

// openTextLocked is openText with m.io held.
func (m *Mailbox) openTextLocked() *textSet {
	if t := m.openedText(); t != nil {
		return t
	}
	var segments []*segment
	entries, _ := os.ReadDir(m.dir)
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), textPrefix)
		seq, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		m.textSeq = max(m.textSeq, seq)
		s, err := openSegment(filepath.Join(m.dir, e.Name()), m.header(textFile))
		if err != nil {
			m.dropSegment(filepath.Join(m.dir, e.Name()), err)
			continue
		}
		segments = append(segments, s)
	}
	t := newTextSet(segments)
	t.use()
	m.setText(t)
	m.index.opened(m)
	return t
}

func (m *Mailbox) setText(t *textSet) {
	m.mu.Lock()
	old := m.text
	m.text = t
	m.mu.Unlock()
	if old != nil {
		old.release()
	}
}

// dropSegment removes the file of a segment that cannot be used.
func (m *Mailbox) dropSegment(path string, err error) {
	os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	m.index.metrics.rebuilt.Inc()
	m.index.log.Info("text segment is made anew", "user", m.user, "path", path, "err", err)
}

// replaceSegments takes segments out of the set, with their files, and puts the
// one in that was written to tmp, if that is not empty.
func (m *Mailbox) replaceSegments(old []*segment, tmp string) error {
	m.io.Lock()
	defer m.io.Unlock()
	t := m.openTextLocked()
	defer t.release()
	var segments []*segment
	for _, s := range t.segments {
		if slices.Contains(old, s) {
			os.Remove(s.path) // first, so that no document is twice in files
			continue
		}
		segments = append(segments, s)
	}
	if tmp != "" {
		s, err := m.addSegment(tmp)
		if err != nil {
			m.setText(newTextSet(segments))
			return err
		}
		segments = append(segments, s)
	}
	m.setText(newTextSet(segments))
	return nil
}

// addSegment gives a written file its name and opens it. m.io is held.
func (m *Mailbox) addSegment(tmp string) (*segment, error) {
	m.textSeq++
	path := filepath.Join(m.dir, textPrefix+strconv.Itoa(m.textSeq))
	if err := os.Rename(tmp, path); err != nil {
		return nil, fmt.Errorf("naming a text segment: %w", err)
	}
	s, err := openSegment(path, m.header(textFile))
	if err != nil {
		m.dropSegment(path, err)
		return nil, err
	}
	m.index.metrics.segments.Inc()
	m.grow(s.size)
	return s, nil
}
