package index

import (
	"encoding/binary"
	"os"
	"sync"
)

// Reader reads rows of a folder as they were when Mailbox.View began. It is for
// one goroutine.
type Reader struct {
	box   *Mailbox
	files *rowFiles // nil: there are none
	table table
	next  int // where the row behind the last one is
	rows  window
	wire  window
}

var readers = sync.Pool{New: func() any { return new(Reader) }}

// Row returns what is known of a message; ok is false if nothing is, or only of
// another file. Rows in rising order of UID cost least.
func (r *Reader) Row(uid UID, base string) (row Row, ok bool) {
	p := r.record(uid)
	if p == nil || binary.LittleEndian.Uint64(p[rowBaseAt:]) != baseSum(base) {
		return Row{}, false
	}
	return Row{r, p}, true
}

// record returns the payload of a message's row, or nil.
func (r *Reader) record(uid UID) []byte {
	if r.next >= len(r.table) || r.table[r.next].uid != uid {
		i, found := r.table.find(uid)
		if !found {
			r.next = i
			return nil
		}
		r.next = i
	}
	e := r.table[r.next]
	r.next++
	p, err := payload(r.rows.read(r.files.rows, e.off, int(e.size)))
	if err != nil || !validRow(p) || UID(binary.LittleEndian.Uint32(p[rowUIDAt:])) != uid {
		return nil
	}
	return p
}

// Missing appends the keys without a row to dst.
func (r *Reader) Missing(keys, dst []Key) []Key {
	for _, k := range keys {
		if _, ok := r.Row(k.UID, k.Base); !ok {
			dst = append(dst, k)
		}
	}
	return dst
}

// Wire returns the long part of what is known of the message. ok is false if it
// was too long to be kept, or is damaged: use the message itself.
func (row Row) Wire() (w Wire, ok bool) {
	b := row.wireBytes()
	if b == nil {
		if row.flags()&flagNoWire == 0 { // damaged: it shall be made anew
			row.r.box.Forget([]UID{UID(binary.LittleEndian.Uint32(row.b[rowUIDAt:]))})
		}
		return w, false
	}
	return parseWire(b)
}

// wireBytes returns the long part as it stands in the file, or nil.
func (row Row) wireBytes() []byte {
	n := binary.LittleEndian.Uint32(row.b[rowWireLenAt:])
	if row.flags()&flagNoWire != 0 || n > maxWire {
		return nil
	}
	b := row.r.wire.read(row.r.files.wire, row.int64(rowWireAt), int(n))
	if len(b) == 0 || checksum(b) != binary.LittleEndian.Uint32(row.b[rowWireSumAt:]) {
		return nil
	}
	return b
}

// window is a piece of a file in memory. It grows while it is read in order, so
// that one row costs little and many cost few calls.
type window struct {
	buf  []byte
	off  int64 // of buf in the file
	size int   // how much to read next
}

// The sizes of a window.
const (
	minWindow = 4 << 10
	maxWindow = 128 << 10
)

// read returns n bytes of f, valid until the next call; fewer if f ends or
// cannot be read.
func (w *window) read(f *os.File, off int64, n int) []byte {
	if off >= w.off && off+int64(n) <= w.off+int64(len(w.buf)) {
		return w.buf[off-w.off:][:n]
	}
	if off >= w.off && off <= w.off+int64(len(w.buf))+maxWindow {
		w.size = min(4*w.size, maxWindow)
	} else {
		w.size = minWindow
	}
	w.size = max(w.size, minWindow)
	size := max(w.size, n)
	if cap(w.buf) < size {
		w.buf = make([]byte, size)
	}
	got, _ := f.ReadAt(w.buf[:size], off)
	w.buf, w.off = w.buf[:got], off
	return w.buf[:min(n, got)]
}

func (w *window) reset() { w.buf, w.off, w.size = w.buf[:0], 0, 0 }
