package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
)

// textPart is how many messages are indexed before others have their turn.
const textPart = 16 << 10

// FillText indexes the texts of those messages that are not indexed yet. keys
// are all messages of the folder, by UID: what is not among them is dropped from
// the index at an occasion. It works in memory of some 60 MB; in the whole Index
// one call does at a time, and calls for large folders let others in between.
// progress, which may be nil, is called from this goroutine. Messages that cannot
// be read stay unindexed. The error is that of ctx or of writing; what was done
// until then is kept.
func (m *Mailbox) FillText(ctx context.Context, keys []Key, open Opener, progress func(done, total int)) error {
	return m.fillText(ctx, keys, open, runtime.GOMAXPROCS(0), progress)
}

// FillTextAside is FillText for work that nobody waits for: it leaves half of the
// processors to others.
func (m *Mailbox) FillTextAside(ctx context.Context, keys []Key, open Opener) error {
	return m.fillText(ctx, keys, open, (runtime.GOMAXPROCS(0)+1)/2, nil)
}

func (m *Mailbox) fillText(ctx context.Context, keys []Key, open Opener, workers int, progress func(done, total int)) error {
	if m == nil || m.index.opt.NoText {
		return nil
	}
	missing := m.Untexted(keys, nil)
	done := 0
	count := func(n int) {
		if done += n; progress != nil {
			progress(done, len(missing))
		}
	}
	acc := newAccumulator()
	for part := range slices.Chunk(missing, textPart) {
		if err := m.inTurn(ctx, func() error { return m.buildText(ctx, acc, m.extract(ctx, part, open, workers), count) }); err != nil {
			return err
		}
	}
	return m.inTurn(ctx, func() error { return m.mergeText(ctx, keys) })
}

// inTurn runs work when no other folder's texts are worked on.
func (m *Mailbox) inTurn(ctx context.Context, work func() error) error {
	select {
	case m.index.texting <- struct{}{}:
		defer func() { <-m.index.texting }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return fmt.Errorf("indexing texts: %w", context.Cause(ctx))
	}
	if !m.wants(ctx) {
		return nil
	}
	err := work()
	if err != nil && ctx.Err() == nil {
		m.failed(err)
	}
	return err
}

// buildText indexes what was extracted; acc is empty before and after.
func (m *Mailbox) buildText(ctx context.Context, acc *accumulator, batches iter.Seq[*textBatch], count func(int)) error {
	for b := range batches {
		at := 0
		for i, d := range b.docs {
			acc.add(d, b.trigrams[at:b.ends[i]])
			at = b.ends[i]
		}
		count(b.size)
		textBatches.Put(b)
		if acc.full() {
			if err := m.writeSegment(acc); err != nil {
				return err
			}
		}
	}
	if len(acc.docs) > 0 {
		if err := m.writeSegment(acc); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("indexing texts: %w", context.Cause(ctx))
	}
	return nil
}

// textBatch are the trigrams of some messages.
type textBatch struct {
	size     int // messages asked for
	docs     []document
	ends     []int // where each one's trigrams end
	trigrams []trigram
}

var textBatches = sync.Pool{New: func() any { return new(textBatch) }}

// extract yields the trigrams of messages, in the order of keys. Several workers
// read those that come next meanwhile; a single one reads in between. It ends early
// if ctx does.
func (m *Mailbox) extract(ctx context.Context, keys []Key, open Opener, workers int) iter.Seq[*textBatch] {
	if workers > 1 {
		return m.extractAhead(ctx, keys, open, workers)
	}
	return func(yield func(*textBatch) bool) {
		for part := range slices.Chunk(keys, fillChunk) {
			var b *textBatch
			m.index.work(func() { b = m.extractBatch(ctx, part, open) })
			if ctx.Err() != nil || !yield(b) {
				return
			}
		}
	}
}

func (m *Mailbox) extractAhead(ctx context.Context, keys []Key, open Opener, workers int) iter.Seq[*textBatch] {
	type job struct {
		keys   []Key
		result chan *textBatch
	}
	return func(yield func(*textBatch) bool) {
		ctx, cancel := context.WithCancel(ctx)
		jobs := make(chan job)
		order := make(chan chan *textBatch, 2*workers)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		for range workers {
			wg.Go(func() {
				for j := range jobs {
					m.index.work(func() { j.result <- m.extractBatch(ctx, j.keys, open) })
				}
			})
		}
		wg.Go(func() {
			defer close(order)
			defer close(jobs)
			for part := range slices.Chunk(keys, fillChunk) {
				j := job{part, make(chan *textBatch, 1)}
				select {
				case order <- j.result:
				case <-ctx.Done():
					return
				}
				jobs <- j
			}
		})
		for result := range order {
			if !yield(<-result) {
				return
			}
		}
	}
}

// extractors are lent out: each takes 2 MiB.
var extractors = sync.Pool{New: func() any { return newExtractor() }}

// extractBatch reads the messages of keys.
func (m *Mailbox) extractBatch(ctx context.Context, keys []Key, open Opener) *textBatch {
	x := extractors.Get().(*extractor)
	defer extractors.Put(x)
	w := fillers.Get().(*filler)
	defer fillers.Put(w)
	b := textBatches.Get().(*textBatch)
	b.size, b.docs, b.ends, b.trigrams = len(keys), b.docs[:0], b.ends[:0], b.trigrams[:0]
	for _, k := range keys {
		if ctx.Err() != nil {
			break
		}
		at := len(b.trigrams)
		if err := w.extract(x, k, open); err != nil {
			x.take(nil)
			m.index.log.Debug("text of a message was not indexed", "user", m.user, "uid", k.UID, "err", err)
			continue
		}
		b.trigrams = x.take(b.trigrams[:at])
		b.docs = append(b.docs, documentOf(k))
		b.ends = append(b.ends, len(b.trigrams))
	}
	m.index.metrics.texts.Add(float64(len(b.docs)))
	return b
}

// extract collects the trigrams of one message.
func (w *filler) extract(x *extractor, k Key, open Opener) error {
	return w.read(k, open, func(msg Message) error {
		if err := msg.Part.FoldText(msg.File, x.add); err != nil {
			return fmt.Errorf("reading texts: %w", err)
		}
		return nil
	})
}

// writeSegment writes what was accumulated and puts it into use.
func (m *Mailbox) writeSegment(acc *accumulator) error {
	return m.makeSegment(nil, func(w io.Writer) error { return acc.write(w, m.header(textFile)) })
}

// errNothing means that a segment would have no documents.
var errNothing = errors.New("no documents")

// makeSegment writes a segment in place of old ones.
func (m *Mailbox) makeSegment(old []*segment, write func(io.Writer) error) error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("making a cache directory: %w", err)
	}
	tmp := filepath.Join(m.dir, "text.tmp")
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing a text segment: %w", err)
	}
	defer os.Remove(tmp)
	err = write(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	switch {
	case errors.Is(err, errNothing):
		return m.replaceSegments(old, "")
	case err != nil:
		return err
	}
	return m.replaceSegments(old, tmp)
}

// Segments of fewer than smallSegment documents are merged with each other.
const smallSegment = 8 << 10

// mergeText merges what is worth it: small segments of about the same size, and
// those whose messages are gone for the most part. keys are all messages, by
// UID.
func (m *Mailbox) mergeText(ctx context.Context, keys []Key) error {
	for ctx.Err() == nil {
		t := m.openText()
		group := worthMerging(t.segments, keys)
		if len(group) == 0 {
			t.release()
			return nil
		}
		err := m.makeSegment(group, func(w io.Writer) error {
			n, err := merge(w, m.header(textFile), group, func(d document) bool { return isLive(keys, d) })
			if err == nil && n == 0 {
				err = errNothing
			}
			return err
		})
		t.release()
		if errors.Is(err, errFormat) { // one of them is damaged: all are made anew
			err = m.replaceSegments(group, "")
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("merging text segments: %w", context.Cause(ctx))
}

// isLive reports whether a document is one of keys.
func isLive(keys []Key, d document) bool {
	i, ok := slices.BinarySearchFunc(keys, d.uid, func(k Key, uid UID) int { return compareUID(k.UID, uid) })
	return ok && BaseHash(keys[i].Base) == d.base
}

// worthMerging returns the segments to merge next.
func worthMerging(segments []*segment, keys []Key) []*segment {
	segments = slices.Clone(segments)
	slices.SortFunc(segments, func(a, b *segment) int { return len(a.docs) - len(b.docs) })
	var group []*segment
	sum := 0
	for _, s := range segments {
		live := 0
		for _, d := range s.docs {
			if isLive(keys, d) {
				live++
			}
		}
		if live < len(s.docs)/2 || live == 0 {
			return []*segment{s}
		}
		if n := len(s.docs); n < smallSegment && (sum == 0 || n <= 2*sum) {
			group = append(group, s)
			sum += n
		}
	}
	if len(group) < 2 {
		return nil
	}
	return group
}
