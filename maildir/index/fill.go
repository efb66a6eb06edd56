package index

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"svc.plus/mailsrvd/internal/message"
)

// An Opener opens the stored file of a message. Its file is closed by who asked
// for it. An error means that the message is passed over, as one that was
// expunged meanwhile.
type Opener func(UID) (*os.File, error)

// fillChunk is how many messages a worker takes at a time.
const fillChunk = 32

// Fill makes the rows of messages, GOMAXPROCS at a time. Rows can be read while
// it goes on, some 100 ms after their message was read. progress, which may be
// nil, is called by several goroutines now and then. Messages that cannot be
// opened or read are passed over. The error is that of ctx.
func (m *Mailbox) Fill(ctx context.Context, keys []Key, open Opener, progress func(done, total int)) error {
	if m == nil {
		return nil
	}
	err := m.index.inParallel(ctx, keys, progress, func(part []Key) {
		w := fillers.Get().(*filler)
		defer fillers.Put(w)
		for _, k := range part {
			if ctx.Err() != nil || !m.wants(ctx) {
				return
			}
			w.fill(m, k, open)
		}
	})
	m.flush()
	return err
}

// rowsChunk is how many rows Rows makes before it gives them.
const rowsChunk = 1024

// Rows calls fn with the row of each of keys, in their order; rows that are not
// there are made first, some hundred at a time, as Fill does. ok is false for a
// message that cannot be read, and for all that have no row if the cache cannot
// be written: use the message itself. A Row is valid during fn. The error is fn's
// or that of ctx.
func (m *Mailbox) Rows(ctx context.Context, keys []Key, open Opener, fn func(k Key, row Row, ok bool) error) error {
	var missing []Key
	for part := range slices.Chunk(keys, rowsChunk) {
		err := m.View(func(r *Reader) error {
			missing = r.Missing(part, missing[:0])
			if len(missing) > 0 {
				return nil
			}
			return r.each(part, fn)
		})
		if err == nil && len(missing) > 0 {
			if err = m.Fill(ctx, missing, open, nil); err == nil {
				err = m.View(func(r *Reader) error { return r.each(part, fn) })
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) each(keys []Key, fn func(k Key, row Row, ok bool) error) error {
	for _, k := range keys {
		row, ok := r.Row(k.UID, k.Base)
		if err := fn(k, row, ok); err != nil {
			return err
		}
	}
	return nil
}

// inParallel gives the keys to several goroutines, part by part and in order. How
// many are at work in the whole Index is bounded.
func (x *Index) inParallel(ctx context.Context, keys []Key, progress func(done, total int), work func([]Key)) error {
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (len(keys)+fillChunk-1)/fillChunk) {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(fillChunk)) - fillChunk
				if i >= len(keys) {
					return
				}
				part := keys[i:min(i+fillChunk, len(keys))]
				x.work(func() { work(part) })
				if n := done.Add(int64(len(part))); progress != nil {
					progress(int(n), len(keys))
				}
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("filling the cache: %w", context.Cause(ctx))
	}
	return nil
}

// work runs fn in one of the Index's slots.
func (x *Index) work(fn func()) {
	x.working <- struct{}{}
	defer func() { <-x.working }()
	fn()
}

// wants waits until the queue has room. It reports false if rows are not wanted.
func (m *Mailbox) wants(ctx context.Context) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue.bytes) >= maxQueue && ctx.Err() == nil {
		m.wakeWriter(true)
		m.room.Wait()
	}
	return !m.removed && !m.full && !m.index.now().Before(m.retry)
}

// filler makes rows of files.
type filler struct {
	builder builder
	scanner *message.Scanner
	buf     []byte
}

var fillers = sync.Pool{New: func() any { return &filler{scanner: message.NewScanner()} }}

// maxWhole is how long a file may be to be read at once.
const maxWhole = 1 << 20

// fill makes the row of one message and queues it.
func (w *filler) fill(m *Mailbox, k Key, open Opener) {
	err := w.read(k, open, func(msg Message) error { return w.builder.build(msg) })
	if err != nil {
		m.index.log.Debug("message was not put into the cache", "user", m.user, "uid", k.UID, "err", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queueRow(k.UID, w.builder.row, w.builder.wire)
}

// read opens and scans a message and gives it to use. A panic becomes an error:
// no mail may end the process for the sake of a cache.
func (w *filler) read(k Key, open Opener, use func(Message) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	file, err := open(k.UID)
	if err != nil {
		return fmt.Errorf("opening a message: %w", err)
	}
	defer file.Close()
	msg, err := w.load(k, file)
	if err != nil {
		return err
	}
	return use(msg)
}

// load scans a file; a file that is not long is read once.
func (w *filler) load(k Key, file *os.File) (Message, error) {
	info, err := file.Stat()
	if err != nil {
		return Message{}, fmt.Errorf("reading the attributes of a message: %w", err)
	}
	msg := Message{Key: k, Internal: info.ModTime(), File: file}
	if size := info.Size(); size <= maxWhole {
		w.buf = slices.Grow(w.buf[:0], int(size))[:size]
		if _, err := file.ReadAt(w.buf, 0); err != nil && err != io.EOF {
			return Message{}, fmt.Errorf("reading a message: %w", err)
		}
		msg.File = bytes.NewReader(w.buf)
		w.scanner.Reset()
		w.scanner.Write(w.buf)
		msg.Part = w.scanner.Finish()
	} else if msg.Part, err = message.Scan(io.NewSectionReader(file, 0, size)); err != nil {
		return Message{}, fmt.Errorf("scanning a message: %w", err)
	}
	return msg, nil
}

// Copy gives copies of messages the rows of their originals: after COPY or MOVE
// from m to dst. Originals without a row are passed over.
func (m *Mailbox) Copy(dst *Mailbox, pairs []Pair) {
	if m == nil || dst == nil || !dst.accepts() {
		return
	}
	m.View(func(r *Reader) error {
		for _, p := range pairs {
			if row, ok := r.Row(p.From.UID, p.From.Base); ok {
				dst.putCopy(row, p.To)
			}
		}
		return nil
	})
}
