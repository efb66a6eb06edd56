package imapd

import (
	"errors"
	"iter"
	"slices"
	"sync"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/maildir"
	"svc.plus/mailsrvd/maildir/index"
)

// Messages are fetched in chunks: many where only what is in memory is asked
// for, few where \Seen is set on the way, so that what a broken connection did
// not deliver stays unseen.
const (
	fetchChunk = 1024
	seenChunk  = 16
)

// fetch runs FETCH and UID FETCH (RFC 9051 section 6.4.5).
func (s *session) fetch(c *call) error {
	s.dec.SP()
	set := s.dec.Set()
	s.dec.SP()
	req := s.parseFetch()
	s.parseFetchModifiers(c, &req)
	if err := s.dec.End(); err != nil {
		return err
	}
	if c.uid && !req.uid {
		req.items = slices.Insert(req.items, 0, fetchItem{name: "UID", write: (*fetcher).uid})
	}
	spans, err := s.view.resolve(set, c.uid)
	if err != nil {
		return err
	}
	if req.vanished {
		s.tellVanished(true, s.view.vanishedSince(req.changedSince, s.view.knownRanges(set)))
	}
	if req.partial != nil {
		spans = req.partial.cut(spans)
	}
	f := &fetcher{s: s, c: c, req: req}
	if err := f.run(spans); err != nil {
		return err
	}
	if f.expunged {
		c.ok("EXPUNGEISSUED", "Some messages were already expunged.")
	}
	return f.failed
}

// fetcher is one FETCH at work.
type fetcher struct {
	s        *session
	c        *call
	req      fetchRequest
	messages []maildir.Message // scratch
	msg      fetched           // the message at hand
	buf      []byte            // scratch
	ahead    sync.WaitGroup    // the cache learns of the chunk that follows
	expunged bool              // a message was not there any more
	failed   error             // the first message that could not be read
}

// run fetches all messages of spans.
func (f *fetcher) run(spans []span) error {
	size := fetchChunk
	if f.req.seen {
		size = seenChunk
	}
	defer f.ahead.Wait()
	var at span
	for next := range chunks(spans, size) {
		if at.hi > 0 {
			if err := f.chunk(at, next); err != nil {
				return err
			}
		}
		at = next
	}
	return f.chunk(at, span{})
}

// chunks yields the indexes of spans, at most size at a time.
func chunks(spans []span, size int) iter.Seq[span] {
	return func(yield func(span) bool) {
		for _, sp := range spans {
			for lo := sp.lo; lo < sp.hi; lo += size {
				if !yield(span{lo, min(lo+size, sp.hi)}) {
					return
				}
			}
		}
	}
}

// chunk fetches the messages of a span, which may be empty, while those of next
// are looked at.
func (f *fetcher) chunk(at, next span) error {
	if err := f.s.srv.ctx.Err(); err != nil {
		return err
	}
	uids := f.s.view.uids[at.lo:at.hi]
	f.messages = f.s.view.box.Lookup(uids, f.messages[:0])
	f.expunged = f.expunged || len(f.messages) < len(uids)
	if f.req.conditional {
		f.messages = slices.DeleteFunc(f.messages, func(m maildir.Message) bool { return m.ModSeq <= f.req.changedSince })
	}
	f.msg.batch = newBatch(f.s.srv.ctx, f.s.view.box, uids)
	defer f.msg.batch.close()
	marked := f.markSeen()
	if err := f.scanAhead(); err != nil {
		return err
	}
	f.fillAhead(f.s.view.uids[next.lo:next.hi])
	f.s.tellKeywords()
	i := at.lo
	return f.rows(func(k int, row index.Row, known bool) error {
		m := f.messages[k]
		for f.s.view.uids[i] != m.UID {
			i++
		}
		f.msg = fetched{Message: m, batch: f.msg.batch, row: row, known: known}
		return f.message(uint32(i+1), m, marked[m.UID])
	})
}

// rows calls fn for the messages of the chunk, with what the cache knows of them
// if that can be of use.
func (f *fetcher) rows(fn func(i int, row index.Row, known bool) error) error {
	if f.req.needs&needCached != 0 {
		return f.s.view.box.Rows(uidsOf(f.messages), fn)
	}
	for i := range f.messages {
		if err := fn(i, index.Row{}, false); err != nil {
			return err
		}
	}
	return nil
}

func uidsOf(messages []maildir.Message) []maildir.UID {
	uids := make([]maildir.UID, len(messages))
	for i, m := range messages {
		uids[i] = m.UID
	}
	return uids
}

// scans reports whether structures are needed, and nothing else of the files.
func (f *fetcher) scans() bool {
	return f.req.needs&(needWire|needFields) != 0 && f.req.needs&needFile == 0
}

// fillAhead makes the cache learn in background what scanAhead will ask of it, so
// that the processors have work while a chunk is written to the client.
func (f *fetcher) fillAhead(uids []maildir.UID) {
	if len(uids) == 0 || !f.scans() || !f.s.view.box.Caches() {
		return
	}
	box := f.s.view.box
	f.ahead.Go(func() {
		_, _ = box.Fill(f.s.srv.ctx, uids, nil) // what it could not, scanAhead tries again
	})
}

// scanAhead finds the structures of many messages at once, on all processors,
// where nothing else of the files is needed: into the cache or, without one, into
// memory.
func (f *fetcher) scanAhead() error {
	if !f.scans() {
		return nil
	}
	if f.s.view.box.Caches() {
		f.ahead.Wait()
		_, err := f.s.view.box.Fill(f.s.srv.ctx, uidsOf(f.messages), nil)
		return err
	}
	if f.req.needs&needFields != 0 || len(f.messages) < 2*searchChunk {
		return nil
	}
	infos := make([]scanned, len(f.messages))
	f.msg.infos = make(map[maildir.UID]*scanned, len(infos))
	for i, m := range f.messages {
		f.msg.infos[m.UID] = &infos[i]
	}
	return f.s.inChunks(f.c, costText, len(infos), func(lo, hi int) error {
		for i := lo; i < hi; i++ {
			infos[i].info, infos[i].err = f.s.view.box.Info(f.s.srv.ctx, f.messages[i].UID)
		}
		return nil
	})
}

// markSeen sets \Seen on the messages of the chunk, if the FETCH does so, and
// returns those on which it was not set before. A failure is no reason not to
// show the message.
func (f *fetcher) markSeen() map[maildir.UID]bool {
	if !f.req.seen || f.s.view.readOnly {
		return nil
	}
	var unseen []maildir.UID
	for _, m := range f.messages {
		if m.Flags&maildir.Seen == 0 {
			unseen = append(unseen, m.UID)
		}
	}
	if len(unseen) == 0 {
		return nil
	}
	stored, _, err := f.s.view.box.StoreFlags(f.s.srv.ctx, unseen, maildir.AddFlags, maildir.Seen, nil,
		maildir.StoreOptions{By: f.s.view.watcher})
	if err != nil {
		f.s.logger().Warn("marking messages as seen failed", "mailbox", f.s.view.box.Name(), "err", err)
	}
	f.s.view.touch(stored)
	marked := make(map[maildir.UID]bool, len(stored))
	for _, m := range stored {
		marked[m.UID] = true
	}
	for i := range f.messages {
		for len(stored) > 0 && stored[0].UID < f.messages[i].UID {
			stored = stored[1:]
		}
		if len(stored) > 0 && stored[0].UID == f.messages[i].UID {
			f.messages[i] = stored[0]
		}
	}
	return marked
}

// message writes the FETCH response of one message. All that may fail without
// ending the connection happens before the first byte.
func (f *fetcher) message(seq uint32, m maildir.Message, marked bool) error {
	defer f.msg.close()
	if err := f.msg.load(f.req.needs); err != nil {
		f.miss(m.UID, err)
		return nil
	}
	e := f.s.enc
	f.s.startFetch(seq, m.UID)
	for i := range f.req.items {
		if i > 0 {
			e.SP()
		}
		item := &f.req.items[i]
		e.Raw(item.name).SP()
		if err := item.write(f, item, &f.msg); err != nil {
			return &fatalError{err}
		}
	}
	if marked {
		f.markedSeen(m)
	}
	e.Raw(")").CRLF()
	if e.Err() != nil {
		return &fatalError{e.Err()}
	}
	return nil
}

// markedSeen adds what the client must know of a message that has become \Seen,
// if it is not among the items.
func (f *fetcher) markedSeen(m maildir.Message) {
	if !f.req.flags {
		f.s.enc.Raw(" FLAGS ").Raw(f.s.flagsOf(m))
	}
	if f.s.enabled.condstore && !f.req.has("MODSEQ") {
		f.s.enc.Raw(" MODSEQ (").Number(uint64(m.ModSeq)).Byte(')')
	}
}

// miss notes a message that is left out.
func (f *fetcher) miss(uid maildir.UID, err error) {
	if errors.Is(err, maildir.ErrExpunged) {
		f.expunged = true
		return
	}
	f.s.logger().Error("reading a message failed", "mailbox", f.s.view.box.Name(), "uid", uid, "err", err)
	if f.failed == nil {
		f.failed = err
	}
}

func (f *fetcher) flags(_ *fetchItem, m *fetched) error {
	f.s.enc.Raw(f.s.flagsOf(m.Message))
	return nil
}

func (f *fetcher) uid(_ *fetchItem, m *fetched) error {
	f.s.enc.Number(uint64(m.UID))
	return nil
}

func (f *fetcher) size(_ *fetchItem, m *fetched) error {
	f.s.enc.Number(uint64(m.size))
	return nil
}

func (f *fetcher) internalDate(_ *fetchItem, m *fetched) error {
	f.buf = wire.AppendDateTime(f.buf[:0], m.times.Internal)
	f.s.enc.Bytes(f.buf)
	return nil
}

func (f *fetcher) saveDate(_ *fetchItem, m *fetched) error {
	f.buf = wire.AppendDateTime(f.buf[:0], m.times.Saved)
	f.s.enc.Bytes(f.buf)
	return nil
}

func (f *fetcher) envelope(_ *fetchItem, m *fetched) error {
	switch utf8 := f.s.enc.UTF8(); {
	case m.wired:
		f.buf = m.wire.AppendEnvelope(f.buf[:0], utf8)
	case utf8:
		f.buf = m.part.AppendEnvelopeUTF8(f.buf[:0])
	default:
		f.buf = m.part.AppendEnvelope(f.buf[:0])
	}
	f.s.enc.Bytes(f.buf)
	return nil
}

func (f *fetcher) bodyStructure(item *fetchItem, m *fetched) error {
	extended := item.name == "BODYSTRUCTURE"
	switch utf8 := f.s.enc.UTF8(); {
	case m.wired:
		f.buf = m.wire.AppendBodyStructure(f.buf[:0], extended, utf8)
	case utf8:
		f.buf = m.part.AppendBodyStructureUTF8(f.buf[:0], extended)
	default:
		f.buf = m.part.AppendBodyStructure(f.buf[:0], extended)
	}
	f.s.enc.Bytes(f.buf)
	return nil
}
