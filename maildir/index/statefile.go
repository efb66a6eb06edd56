package index

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// The file state is a log: records, each of which holds items of a letter and
// numbers.
//
//	M  UID, flags, base hash (4 bytes each), modseq (8)   a message
//	X  UID (4), modseq (8)                                an expunged message
//	K  length (2), names with a NUL behind each           the keywords
//	F  modseq                                             VanishedFrom
//	H  modseq                                             Highest
//	O                                                     in use
//	C  length (8)                                         complete
//
// The state counts only if the last item is C, with the length that the file had
// before it (so that none of it was cut off meanwhile), and the stamp is that of
// the epoch: else changes may have been told to clients that are not in the log. A
// message that was lost from it and changed back to the flags that the log has
// would keep an old modseq, and a client that saw it in between would never
// learn.
const (
	messageItemLen  = 1 + 20
	vanishedItemLen = 1 + 12
	completeItemLen = 1 + 8
)

// stateLog is what is queued for the file.
type stateLog struct {
	items []byte // guarded by Mailbox.mu
	reset bool   // they are the whole state; guarded by Mailbox.mu

	// Guarded by Mailbox.io.
	session int   // counts LoadState
	begun   bool  // LoadState was called since the last close
	whole   bool  // the file has all that was noted
	size    int64 // of the file
	first   int64 // size when it was last written anew
}

func (l *stateLog) queued() int { return len(l.items) }

func (c MessageState) appendItem(b []byte) []byte {
	b = append(b, 'M')
	b = binary.LittleEndian.AppendUint32(b, uint32(c.UID))
	b = binary.LittleEndian.AppendUint32(b, c.Flags)
	b = binary.LittleEndian.AppendUint32(b, c.Base)
	return binary.LittleEndian.AppendUint64(b, uint64(c.ModSeq))
}

func (v Vanished) appendItem(b []byte) []byte {
	b = append(b, 'X')
	b = binary.LittleEndian.AppendUint32(b, uint32(v.UID))
	return binary.LittleEndian.AppendUint64(b, uint64(v.ModSeq))
}

// appendKeywords appends a K item. Names that do not fit are left out, which
// makes them look changed.
func appendKeywords(b []byte, names []string) []byte {
	b = append(b, 'K', 0, 0)
	start := len(b)
	for _, name := range names {
		if len(b)-start+len(name) >= 1<<16-1 {
			break
		}
		b = append(append(b, name...), 0)
	}
	binary.LittleEndian.PutUint16(b[start-2:], uint16(len(b)-start))
	return b
}

// appendItems appends the whole state.
func (s *State) appendItems(b []byte) []byte {
	b = append(b, 'F')
	b = binary.LittleEndian.AppendUint64(b, uint64(s.VanishedFrom))
	b = append(b, 'H')
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Highest))
	b = appendKeywords(b, s.Keywords)
	for _, c := range s.Messages {
		b = c.appendItem(b)
	}
	for _, v := range s.Vanished {
		b = v.appendItem(b)
	}
	return b
}

// size is about the length of appendItems.
func (s *State) size() int64 {
	return int64(messageItemLen*len(s.Messages) + vanishedItemLen*len(s.Vanished))
}

// stateReader puts a state together.
type stateReader struct {
	State
	sorted   int   // so many Messages are sorted and have no doubles
	record   int64 // where the record of the items begins
	complete bool  // the last item says so
}

// items reads the items of a record.
func (r *stateReader) items(b []byte) error {
	r.Messages = slices.Grow(r.Messages, len(b)/messageItemLen)
	for len(b) > 0 {
		n := itemLen(b)
		if n == 0 {
			return errFormat
		}
		if b[0] == 'M' {
			r.message(b)
		} else {
			r.item(b[:n])
		}
		r.complete = b[0] == 'C' && int64(binary.LittleEndian.Uint64(b[1:])) == r.record
		b = b[n:]
	}
	return nil
}

// itemLen is the length of the item that b begins with; 0 if it is none.
func itemLen(b []byte) int {
	n := 0
	switch b[0] {
	case 'M':
		n = messageItemLen
	case 'X':
		n = vanishedItemLen
	case 'F', 'H':
		n = 9
	case 'C':
		n = completeItemLen
	case 'O':
		n = 1
	case 'K':
		if len(b) >= 3 {
			n = 3 + int(binary.LittleEndian.Uint16(b[1:]))
		}
	}
	if n > len(b) {
		return 0
	}
	return n
}

func (r *stateReader) message(b []byte) {
	_ = b[messageItemLen-1]
	c := MessageState{
		UID:    UID(binary.LittleEndian.Uint32(b[1:])),
		Flags:  binary.LittleEndian.Uint32(b[5:]),
		Base:   binary.LittleEndian.Uint32(b[9:]),
		ModSeq: ModSeq(binary.LittleEndian.Uint64(b[13:])),
	}
	if n := len(r.Messages); r.sorted == n && (n == 0 || r.Messages[n-1].UID < c.UID) {
		r.sorted++
	}
	r.Messages = append(r.Messages, c)
	r.Highest = max(r.Highest, c.ModSeq)
}

func (r *stateReader) item(b []byte) {
	switch b[0] {
	case 'X':
		v := Vanished{UID: UID(binary.LittleEndian.Uint32(b[1:])), ModSeq: ModSeq(binary.LittleEndian.Uint64(b[5:]))}
		r.Vanished = append(r.Vanished, v)
		r.Highest = max(r.Highest, v.ModSeq)
	case 'F':
		r.VanishedFrom = ModSeq(binary.LittleEndian.Uint64(b[1:]))
	case 'H':
		r.Highest = max(r.Highest, ModSeq(binary.LittleEndian.Uint64(b[1:])))
	case 'K':
		r.Keywords = nil
		for names := b[3:]; len(names) > 0; {
			end := slices.Index(names, 0)
			if end < 0 {
				break
			}
			r.Keywords = append(r.Keywords, string(names[:end]))
			names = names[end+1:]
		}
	}
}

// finish sorts the messages; of several items of a UID the last counts, and
// none of those that have vanished.
func (r *stateReader) finish() {
	byModSeq := func(a, b Vanished) int { return cmp.Compare(a.ModSeq, b.ModSeq) }
	slices.SortStableFunc(r.Vanished, byModSeq)
	if r.sorted < len(r.Messages) || len(r.Vanished) > 0 {
		r.merge()
	}
	r.trim()
}

// merge is finish of the messages.
func (r *stateReader) merge() {
	byUID := func(a, b MessageState) int { return compareUID(a.UID, b.UID) }
	tail := slices.Clone(r.Messages[r.sorted:])
	slices.SortStableFunc(tail, byUID)
	gone := make([]UID, len(r.Vanished))
	for i, v := range r.Vanished {
		gone[i] = v.UID
	}
	slices.Sort(gone)
	head := r.Messages[:r.sorted]
	merged := make([]MessageState, 0, len(r.Messages))
	for len(head) > 0 || len(tail) > 0 {
		var c MessageState
		switch {
		case len(tail) > 1 && tail[0].UID == tail[1].UID, len(tail) > 0 && len(head) > 0 && head[0].UID == tail[0].UID:
			if len(head) > 0 && head[0].UID == tail[0].UID {
				head = head[1:]
			} else {
				tail = tail[1:]
			}
			continue
		case len(tail) == 0, len(head) > 0 && head[0].UID < tail[0].UID:
			c, head = head[0], head[1:]
		default:
			c, tail = tail[0], tail[1:]
		}
		for len(gone) > 0 && gone[0] < c.UID {
			gone = gone[1:]
		}
		if len(gone) == 0 || gone[0] != c.UID {
			merged = append(merged, c)
		}
	}
	r.Messages = merged
}

func (m *Mailbox) statePath() string { return filepath.Join(m.dir, "state") }

// readState reads the file whole. The error is errFormat if it is damaged.
func (m *Mailbox) readState() (r stateReader, size int64, err error) {
	f, err := os.Open(m.statePath())
	if err != nil {
		return r, 0, fmt.Errorf("opening a state: %w", err)
	}
	defer f.Close()
	head := make([]byte, headerLen)
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return r, 0, fmt.Errorf("reading a state: %w", err)
	}
	stamp, err := m.header(stateFile).check(head)
	if err != nil {
		return r, 0, err
	}
	if stamp != m.index.trust {
		return r, 0, errUntrusted
	}
	records := recordReader{r: f, at: headerLen}
	for {
		p, at, err := records.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return r, 0, err
		}
		r.record = at
		if err := r.items(p); err != nil {
			return r, 0, err
		}
	}
	r.finish()
	return r, records.at, nil
}

// errUntrusted means that a state may lack changes.
var errUntrusted = errors.New("state was not completed")

// loadState does the work of LoadState. m.io is held.
func (m *Mailbox) loadState() (s State, ok bool, err error) {
	if m.state.begun { // by one who has not closed yet: what it noted is ours
		if err := m.flushState(); err != nil {
			return s, false, err
		}
	}
	open, size := m.state.begun && m.state.whole, m.state.size
	m.index.wroteState(m)
	m.state.session++
	m.state.begun, m.state.whole = true, false
	r, now, err := m.readState()
	if err == nil && !r.complete && (!open || now != size) {
		err = errUntrusted
	}
	if err != nil {
		os.Remove(m.statePath())
		if errors.Is(err, errUntrusted) || errors.Is(err, fs.ErrNotExist) {
			return s, false, nil
		}
		m.index.log.Info("modification sequences are made anew", "user", m.user, "dir", m.dir, "err", err)
		return s, false, nil
	}
	m.state.size = now
	if now > 2*r.size()+minWaste {
		err = m.writeState(r.appendItems(nil))
	} else {
		err = m.appendState([]byte{'O'})
		m.state.first = now
	}
	m.state.whole = err == nil
	return r.State, err == nil, err
}

// flushState writes queued items. m.io is held.
func (m *Mailbox) flushState() error {
	m.mu.Lock()
	items, reset := m.state.items, m.state.reset
	m.state.items, m.state.reset = nil, false
	removed := m.removed
	m.mu.Unlock()
	if len(items) == 0 || removed {
		return nil
	}
	if !m.state.begun { // after the state was marked as complete
		os.Remove(m.statePath())
		return nil
	}
	var err error
	switch {
	case reset:
		if err = m.writeState(items); err == nil {
			m.state.whole = true
		}
	case m.state.whole:
		err = m.appendState(items)
	}
	if err != nil {
		m.state.whole = false
		os.Remove(m.statePath())
		return err
	}
	return m.compactState()
}

// maxStateRecord bounds the items of one record.
const maxStateRecord = 1 << 20

// appendRecords appends items to b as records.
func appendRecords(b, items []byte) []byte {
	for len(items) > 0 {
		n := 0
		for n < len(items) && n < maxStateRecord {
			n += itemLen(items[n:])
		}
		start := len(b)
		b = append(beginRecord(b), items[:n]...)
		endRecord(b, start)
		items = items[n:]
	}
	return b
}

// writeState makes the file anew, in use.
func (m *Mailbox) writeState(items []byte) error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("making a cache directory: %w", err)
	}
	h := m.header(stateFile)
	h.stamp = m.index.trust
	b := appendRecords(h.append(make([]byte, 0, len(items)+1024)), items)
	b = appendRecords(b, []byte{'O'})
	tmp := m.statePath() + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("writing a state: %w", err)
	}
	if err := os.Rename(tmp, m.statePath()); err != nil {
		return fmt.Errorf("writing a state: %w", err)
	}
	m.state.size, m.state.first = int64(len(b)), int64(len(b))
	return nil
}

// appendState appends items to the file. If it is not there any more, it is not
// made: it would not be whole.
func (m *Mailbox) appendState(items []byte) error {
	f, err := os.OpenFile(m.statePath(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("opening a state: %w", err)
	}
	defer f.Close()
	b := appendRecords(make([]byte, 0, len(items)+recordHead), items)
	n, err := f.Write(b)
	m.state.size += int64(n)
	if err != nil {
		return fmt.Errorf("writing a state: %w", err)
	}
	return nil
}

// compactState writes the log anew when it has become long.
func (m *Mailbox) compactState() error {
	if m.state.size < 4*m.state.first+16*minWaste {
		return nil
	}
	r, size, err := m.readState()
	if err == nil && size != m.state.size {
		err = errFormat
	}
	if err != nil {
		m.state.whole = false
		os.Remove(m.statePath())
		return fmt.Errorf("compacting a state: %w", err)
	}
	return m.writeState(r.appendItems(nil))
}

// closeState marks the state as complete, if it is the one of this session.
// m.io is held.
func (m *Mailbox) closeState(session int) error {
	if !m.state.begun || m.state.session != session {
		return nil
	}
	m.state.begun = false
	if !m.state.whole {
		return nil
	}
	return m.appendState(binary.LittleEndian.AppendUint64([]byte{'C'}, uint64(m.state.size)))
}
