package index

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Mailbox is what is cached of one folder. Its methods are safe for concurrent
// use; those of a nil Mailbox know and keep nothing.
type Mailbox struct {
	index    *Index
	user     string
	dir      string
	owner    owner
	validity uint32

	// io is held by who writes the folder's files or opens them; it is taken
	// before mu, and never by a caller of Put or Note.
	io sync.Mutex
	// Guarded by io.
	grown   int64 // bytes since the user's files were measured
	textSeq int   // the highest number of a text segment

	mu      sync.Mutex // guards what follows; held for moments
	refs    int        // guarded by Index.mu
	closing int        // calls of Close at work; guarded by Index.mu
	files   *rowFiles  // nil: not open
	absent  bool       // there are no files to open
	text    *textSet   // nil: not open
	removed bool       // the folder is gone: write nothing any more
	full    bool       // the user has no room for more
	queue   queue
	writing bool          // a writer is on its way or at work
	hurry   chan struct{} // tells it not to wait
	room    sync.Cond     // broadcast when the queue has been taken; on mu
	retry   time.Time     // after a failed write: not before
	state   stateLog
	used    time.Time // when the files were used last
}

// header is what this folder's files begin with.
func (m *Mailbox) header(k fileKind) fileHeader {
	return fileHeader{kind: k, validity: m.validity, owner: m.owner}
}

// View calls fn with a Reader of the rows that are there now. The Reader and
// what it gives must not be used after fn. No lock is held meanwhile. The error
// is fn's.
func (m *Mailbox) View(fn func(*Reader) error) error {
	r := readers.Get().(*Reader)
	defer readers.Put(r)
	defer func() { r.box = nil }()
	f := m.open()
	if f != nil {
		defer f.release()
		r.files, r.table = f, *f.table.Load()
		defer func() { r.files, r.table = nil, nil }()
	}
	r.box, r.next = m, 0
	r.rows.reset()
	r.wire.reset()
	return fn(r)
}

// open returns the folder's files, opened if they are not, with a user counted;
// nil if there are none.
func (m *Mailbox) open() *rowFiles {
	if m == nil {
		return nil
	}
	if f, done := m.opened(); done {
		return f
	}
	m.io.Lock()
	defer m.io.Unlock()
	return m.openLocked()
}

// opened is open without touching the disk; done is false if that is not enough.
func (m *Mailbox) opened() (f *rowFiles, done bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used = m.index.now()
	if m.files != nil && m.files.use() {
		return m.files, true
	}
	return nil, m.absent
}

// openLocked is open with m.io held.
func (m *Mailbox) openLocked() *rowFiles {
	if f, done := m.opened(); done {
		return f
	}
	f, err := openRows(m.dir, m.header(0))
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			m.index.log.Info("cache is made anew", "user", m.user, "dir", m.dir, "err", err)
			m.index.metrics.rebuilt.Inc()
		}
		m.removeRows()
		return nil
	}
	m.setFiles(f)
	m.index.opened(m)
	f.use()
	return f
}

func (m *Mailbox) setFiles(f *rowFiles) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files, m.absent = f, f == nil
}

// removeRows removes files that are of no use. m.io is held.
func (m *Mailbox) removeRows() {
	m.closeFiles()
	os.Remove(filepath.Join(m.dir, "rows"))
	os.Remove(filepath.Join(m.dir, "wire"))
	m.setFiles(nil)
}

// closeFiles closes the files as soon as nobody reads them. They can be opened
// again.
func (m *Mailbox) closeFiles() {
	m.mu.Lock()
	f, t := m.files, m.text
	m.files, m.text = nil, nil
	m.mu.Unlock()
	if f != nil {
		f.release()
	}
	if t != nil {
		t.release()
	}
}

// Close gives back what Index.Mailbox gave. What is not yet written is written
// now, and the folder's state is marked as complete.
func (m *Mailbox) Close() {
	if m == nil || !m.index.drop(m) {
		return
	}
	m.finish()
	m.index.forget(m)
}

// finish writes all and closes the files.
func (m *Mailbox) finish() {
	m.io.Lock()
	session := m.state.session
	m.io.Unlock()
	m.flush()
	m.io.Lock()
	defer m.io.Unlock()
	if err := m.closeState(session); err != nil {
		m.failed(err)
	}
	m.closeFiles()
	m.index.notOpen(m)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writing {
		m.wakeWriter(true) // it has nothing to wait for any more
	}
}

// abandon makes the Mailbox keep nothing any more.
func (m *Mailbox) abandon() {
	m.mu.Lock()
	m.removed, m.absent = true, true
	m.mu.Unlock()
	m.closeFiles()
}

// lastUse is when the files were used last.
func (m *Mailbox) lastUse() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// failed notes that the cache could not be written, so that nothing is tried
// again for a while.
func (m *Mailbox) failed(err error) {
	if errors.Is(err, fs.ErrNotExist) {
		return // somebody deleted the cache, as he may
	}
	m.mu.Lock()
	m.retry = m.index.now().Add(retryAfter)
	m.mu.Unlock()
	m.index.metrics.failed.Inc()
	m.index.log.Warn("writing the cache failed", "user", m.user, "dir", m.dir, "err", err)
}

// retryAfter is how long nothing is written after a failure.
const retryAfter = time.Minute
