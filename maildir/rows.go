package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir/index"
)

// What the cache (maildir/index) knows of messages. It is asked by UID and base
// name, so that it cannot answer for another file, and everything works without
// it: a message that it does not know is read.
//
// The cache is the daemon's own: it is never touched while a thread works as the
// owner of the mail, except for what only queues (Note, Forget).

// Caches reports whether there is a cache for this folder.
func (m *Mailbox) Caches() bool { return m.cached() != nil }

// cached is the folder's cache; nil without one.
func (m *Mailbox) cached() *index.Mailbox {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cache
}

// rowsChunk is how many rows are looked up under one lock.
const rowsChunk = 4096

// Rows calls fn with what the cache knows of messages, in the order of uids; i is
// the place in uids. ok is false for one that it does not know, or that does not
// exist. A row must not be used after fn. The error is fn's.
func (m *Mailbox) Rows(uids []UID, fn func(i int, row index.Row, ok bool) error) error {
	cache := m.cached()
	return cache.View(func(r *index.Reader) error {
		var keys []index.Key
		for start := 0; start < len(uids); start += rowsChunk {
			keys = m.keys(uids[start:min(start+rowsChunk, len(uids))], keys[:0])
			for i, k := range keys {
				row, ok := index.Row{}, false
				if k.Base != "" {
					row, ok = r.Row(k.UID, k.Base)
				}
				if err := fn(start+i, row, ok); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// keys appends the cache's keys of messages to dst; one that does not exist has
// no base.
func (m *Mailbox) keys(uids []UID, dst []index.Key) []index.Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	dst = slices.Grow(dst, len(uids))
	next := 0
	for _, uid := range uids {
		k := index.Key{UID: index.UID(uid)}
		if next >= len(m.recs) || m.recs[next].uid != uid {
			next, _ = m.index(uid)
		}
		if next < len(m.recs) && m.recs[next].uid == uid && m.recs[next].live() {
			k.Base = m.recs[next].base
		}
		next++
		dst = append(dst, k)
	}
	return dst
}

// liveKeys are the keys of those of uids that exist.
func (m *Mailbox) liveKeys(uids []UID) []index.Key {
	return slices.DeleteFunc(m.keys(uids, nil), func(k index.Key) bool { return k.Base == "" })
}

// allKeys are the keys of all messages, by UID.
func (m *Mailbox) allKeys() []index.Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := make([]index.Key, 0, m.live)
	for i := range m.recs {
		if r := &m.recs[i]; r.live() {
			keys = append(keys, index.Key{UID: index.UID(r.uid), Base: r.base})
		}
	}
	return keys
}

// Fill reads those messages that the cache does not know, on all processors, and
// makes their rows. progress, which may be nil, is called by several goroutines.
// It returns what the cache still does not know: everything without one. The
// error is that of ctx.
func (m *Mailbox) Fill(ctx context.Context, uids []UID, progress func(done, total int)) (unknown []UID, err error) {
	cache := m.cached()
	if cache == nil {
		return uids, nil
	}
	missing := missingRows(cache, m.liveKeys(uids))
	if len(missing) == 0 {
		return nil, nil
	}
	err = m.read(ctx, missing, func(open index.Opener) error { return cache.Fill(ctx, missing, open, progress) })
	for _, k := range missingRows(cache, missing) {
		unknown = append(unknown, UID(k.UID))
	}
	return unknown, err
}

func missingRows(cache *index.Mailbox, keys []index.Key) (missing []index.Key) {
	_ = cache.View(func(r *index.Reader) error {
		missing = r.Missing(keys, nil)
		return nil
	})
	return missing
}

// read gives work an Opener for messages that it asks for about in order.
func (m *Mailbox) read(ctx context.Context, keys []index.Key, work func(index.Opener) error) error {
	if len(keys) == 0 {
		return nil
	}
	uids := make([]UID, len(keys))
	for i, k := range keys {
		uids[i] = UID(k.UID)
	}
	opener := m.Opener(ctx, uids)
	defer opener.Close()
	return work(func(uid index.UID) (*os.File, error) { return opener.Open(UID(uid)) })
}

// Candidates divides messages, which ascend, for a search of TEXT, BODY or a
// header field: those in maybe may hold the needle, those in unknown are not in
// the full-text index, and the others do not hold it. Both must be looked at
// (message.Part.MatchText). The error is that of ctx.
func (m *Mailbox) Candidates(ctx context.Context, needle *message.Matcher, uids []UID) (maybe, unknown []UID, err error) {
	a, b, err := m.cached().Candidates(ctx, needle, m.liveKeys(uids))
	return fromIndex(a), fromIndex(b), err
}

func fromIndex(uids []index.UID) []UID {
	list := make([]UID, len(uids))
	for i, uid := range uids {
		list[i] = UID(uid)
	}
	return list
}

// Reindex makes all that the cache lacks of this folder: rows, and the full-text
// index if it is on. progress, which may be nil, is called by several goroutines.
func (m *Mailbox) Reindex(ctx context.Context, progress func(done, total int)) error {
	cache := m.cached()
	if cache == nil {
		return nil
	}
	keys := m.allKeys()
	uids := make([]UID, len(keys))
	for i, k := range keys {
		uids[i] = UID(k.UID)
	}
	if _, err := m.Fill(ctx, uids, progress); err != nil {
		return err
	}
	return m.read(ctx, cache.Untexted(keys, nil), func(open index.Opener) error {
		return cache.FillText(ctx, keys, open, progress)
	})
}

// ReindexSoon makes the full-text index in background, one folder at a time,
// unless that is under way.
func (m *Mailbox) ReindexSoon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.texting || m.cache == nil || !m.store.all.begin() {
		return
	}
	m.texting = true
	go m.indexTexts(m.cache)
}

func (m *Mailbox) indexTexts(cache *index.Mailbox) {
	defer m.store.all.work.Done()
	ctx := m.store.all.ctx
	keys := m.allKeys()
	err := m.read(ctx, cache.Untexted(keys, nil), func(open index.Opener) error {
		return cache.FillTextAside(ctx, keys, open)
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrRemoved) {
		m.store.all.log.Warn("full-text indexing", "user", m.store.owner.Name, "mailbox", m.Name(), "err", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.texting = false
}

// maxFresh bounds the new messages that wait for their rows; those beyond get
// them when somebody asks.
const maxFresh = 4096

// cacheFresh makes the rows of new messages in background. No lock is held.
func (m *Mailbox) cacheFresh() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.fresh) == 0 || m.filling {
		return
	}
	if m.cache == nil || !m.store.all.begin() {
		m.fresh = nil
		return
	}
	m.filling = true
	go m.fillFresh()
}

func (m *Mailbox) fillFresh() {
	defer m.store.all.work.Done()
	for {
		m.mu.Lock()
		uids := m.fresh
		m.fresh = nil
		if len(uids) == 0 {
			m.filling = false
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		_, _ = m.Fill(m.store.all.ctx, uids, nil)
	}
}

// learn puts into the cache what a scan of the file has told.
func (m *Mailbox) learn(uid UID, file *os.File, info Info) {
	cache := m.cached()
	if cache == nil {
		return
	}
	keys := m.liveKeys([]UID{uid})
	if len(keys) == 0 {
		return
	}
	err := cache.Put(index.Message{Key: keys[0], Internal: info.Internal, File: file, Part: info.Part})
	if err != nil {
		m.store.all.log.Debug("message was not put into the cache", "user", m.store.owner.Name, "uid", uid, "err", err)
	}
}

// copyRows gives copies the rows of their originals.
func (m *Mailbox) copyRows(dst *Mailbox, sources []doomedFile, batch []*arrival) {
	from, to := m.cached(), dst.cached()
	if from == nil || to == nil {
		return
	}
	pairs := make([]index.Pair, 0, len(batch))
	for i, a := range batch {
		src := m.liveKeys([]UID{sources[i].uid})
		if res := dst.resultOf(a); res.err == nil && len(src) > 0 {
			pairs = append(pairs, index.Pair{From: src[0], To: index.Key{UID: index.UID(res.uid), Base: a.Name}})
		}
	}
	from.Copy(to, pairs)
}

// guidOf reads the GUID of a folder below the Maildir f; "" if it has none.
func (s *Store) guidOf(f *folder, dir string) (guid string) {
	_ = s.inChild(f, dir, func(c *folder) error {
		file, err := c.openRegular(listName)
		if err != nil {
			return fmt.Errorf("opening the uidlist: %w", err)
		}
		defer file.Close()
		line := make([]byte, 1024)
		n, _ := file.ReadAt(line, 0)
		if end := indexLF(string(line[:n])); end >= 0 {
			h, _ := parseListHeader(string(line[:end]))
			guid = h.guid
		}
		return nil
	})
	return guid
}
