package index

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"
)

// writeAfter is how long changes are collected before they are written.
const writeAfter = 150 * time.Millisecond

// A queue of more bytes than hurryAt is written at once; one of more than
// maxQueue takes nothing more.
const (
	hurryAt  = 2 << 20
	maxQueue = 4 << 20
)

// queue is what is to be written to rows and wire.
type queue struct {
	rows   []queuedRow
	bytes  []byte // of all rows, one behind the other
	forget []UID
}

// queuedRow is a row payload and its wire in queue.bytes.
type queuedRow struct {
	uid       UID
	at        int
	row, wire int // lengths
}

// queues lends out queues that are empty but have memory.
var queues = sync.Pool{New: func() any { return new(queue) }}

func (q *queue) empty() bool { return len(q.rows) == 0 && len(q.forget) == 0 }

func (q *queue) add(uid UID, row, wire []byte) {
	q.rows = append(q.rows, queuedRow{uid, len(q.bytes), len(row), len(wire)})
	q.bytes = append(append(q.bytes, row...), wire...)
}

// Put makes the row of a message and queues it; it reads msg.File, and nothing
// else of the disk. While the cache cannot be written it does nothing. The error
// is one of reading msg.File.
func (m *Mailbox) Put(msg Message) error {
	if m == nil || !m.accepts() {
		return nil
	}
	b := builders.Get().(*builder)
	defer builders.Put(b)
	if err := b.build(msg); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queueRow(msg.UID, b.row, b.wire)
	return nil
}

// putCopy queues a row of another message under the key of its copy.
func (m *Mailbox) putCopy(row Row, k Key) {
	long := row.wireBytes()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.removed {
		return
	}
	m.queueRow(k.UID, row.b, long)
	q := &m.queue
	p := q.bytes[q.rows[len(q.rows)-1].at:]
	binary.LittleEndian.PutUint32(p[rowUIDAt:], uint32(k.UID))
	binary.LittleEndian.PutUint64(p[rowBaseAt:], baseSum(k.Base))
}

// accepts reports whether rows are wanted now.
func (m *Mailbox) accepts() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.removed && !m.full && len(m.queue.bytes) < maxQueue && !m.index.now().Before(m.retry)
}

// queueRow adds a row. m.mu is held.
func (m *Mailbox) queueRow(uid UID, row, wire []byte) {
	if m.removed {
		return
	}
	if m.queue.bytes == nil {
		lent := queues.Get().(*queue)
		m.queue.rows, m.queue.bytes = lent.rows, lent.bytes
	}
	m.queue.add(uid, row, wire)
	m.wakeWriter(len(m.queue.bytes) > hurryAt)
}

// Forget drops the rows of messages that are gone.
func (m *Mailbox) Forget(uids []UID) {
	if m == nil || len(uids) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.removed {
		m.queue.forget = append(m.queue.forget, uids...)
		m.wakeWriter(false)
	}
}

// wakeWriter sees to it that the queue will be written. m.mu is held.
func (m *Mailbox) wakeWriter(now bool) {
	if !m.writing {
		m.writing = true
		m.hurry = make(chan struct{}, 1)
		m.index.writers.Go(m.writer)
	}
	if now {
		select {
		case m.hurry <- struct{}{}:
		default:
		}
	}
}

// writer writes until the queue is empty.
func (m *Mailbox) writer() {
	for {
		timer := time.NewTimer(writeAfter)
		select {
		case <-timer.C:
		case <-m.hurry:
			timer.Stop()
		}
		m.flush()
		m.mu.Lock()
		if m.queue.empty() && m.state.queued() == 0 {
			m.writing = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
	}
}

// flush writes what is queued.
func (m *Mailbox) flush() {
	m.io.Lock()
	defer m.io.Unlock()
	m.mu.Lock()
	q, removed := m.queue, m.removed
	m.queue = queue{}
	m.room.Broadcast()
	m.mu.Unlock()
	if err := m.flushState(); err != nil {
		m.failed(err)
	}
	if q.empty() || removed {
		return
	}
	written, err := m.writeRows(q)
	if err != nil {
		m.removeRows() // what was written in part is not trusted
		m.failed(err)
		return
	}
	m.index.metrics.rows.Add(float64(len(q.rows)))
	queues.Put(&queue{rows: q.rows[:0], bytes: q.bytes[:0]})
	m.grow(written)
}

// writeRows appends what is queued to the files; it returns how many bytes that
// were. m.io is held.
func (m *Mailbox) writeRows(q queue) (int64, error) {
	f := m.openLocked()
	if f == nil {
		if len(q.rows) == 0 {
			return 0, nil
		}
		var err error
		if f, err = createRows(m.dir, m.header(0)); err != nil {
			return 0, err
		}
		m.setFiles(f)
		m.index.opened(m)
		f.use()
	}
	defer f.release()
	slices.Sort(q.forget)
	written, err := f.append(&q)
	if err == nil && f.wasteful() {
		err = m.compact(f)
	}
	return written, err
}

// encoded is the memory that encode works in.
type encoded struct{ rows, wire []byte }

var encodeds = sync.Pool{New: func() any { return new(encoded) }}

// append writes what is queued; q.forget is sorted. Mailbox.io is held.
func (f *rowFiles) append(q *queue) (written int64, err error) {
	e := encodeds.Get().(*encoded)
	defer encodeds.Put(e)
	added := q.encode(e, f.rowsEnd, f.wireEnd)
	if _, err := f.wire.WriteAt(e.wire, f.wireEnd); err != nil {
		return 0, fmt.Errorf("writing wire: %w", err)
	}
	if _, err := f.rows.WriteAt(e.rows, f.rowsEnd); err != nil {
		return 0, fmt.Errorf("writing rows: %w", err)
	}
	f.wireEnd += int64(len(e.wire))
	f.rowsEnd += int64(len(e.rows))
	f.apply(added, q.forget, int64(len(e.rows)))
	return int64(len(e.rows) + len(e.wire)), nil
}

// encode makes the bytes to append to rows and wire, whose ends are given, and
// the entries of the new rows, by UID. q.forget is sorted.
func (q *queue) encode(e *encoded, rowsEnd, wireEnd int64) (added table) {
	slices.SortStableFunc(q.rows, func(a, b queuedRow) int { return compareUID(a.uid, b.uid) })
	rows := slices.Grow(e.rows[:0], len(q.bytes)) // more than enough
	wire := slices.Grow(e.wire[:0], len(q.bytes))
	added = make(table, 0, len(q.rows))
	for i, r := range q.rows {
		if _, gone := slices.BinarySearch(q.forget, r.uid); gone || i+1 < len(q.rows) && q.rows[i+1].uid == r.uid {
			continue
		}
		long := q.bytes[r.at+r.row:][:r.wire]
		start := len(rows)
		rows = append(beginRecord(rows), q.bytes[r.at:][:r.row]...)
		p := rows[start+recordHead:]
		binary.LittleEndian.PutUint64(p[rowWireAt:], uint64(wireEnd)+uint64(len(wire)))
		binary.LittleEndian.PutUint32(p[rowWireLenAt:], uint32(len(long)))
		binary.LittleEndian.PutUint32(p[rowWireSumAt:], checksum(long))
		endRecord(rows, start)
		wire = append(wire, long...)
		added = append(added, entry{r.uid, uint32(len(rows) - start), rowsEnd + int64(start)})
	}
	for _, uid := range q.forget {
		start := len(rows)
		rows = append(beginRecord(rows), forgetRecord, 0, 0, 0)
		rows = binary.LittleEndian.AppendUint32(rows, uint32(uid))
		endRecord(rows, start)
	}
	e.rows, e.wire = rows, wire
	return added
}

// apply makes the new table. forget is sorted.
func (f *rowFiles) apply(added table, forget []UID, written int64) {
	t := *f.table.Load()
	size := int64(0)
	for _, e := range added {
		size += int64(e.size)
	}
	var gone int64
	if len(forget) > 0 {
		t, gone = t.without(forget)
		f.dead += gone
	}
	t, gone = t.merge(added)
	f.dead += gone + written - size
	f.setTable(t)
}
