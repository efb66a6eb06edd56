package maildir

import (
	"svc.plus/mailsrvd/maildir/index"
)

// The modseqs of a folder are kept by the cache while the folder is not in memory.
// When it is read, a message keeps its modseq if its file has the same flags as
// then; whatever has changed meanwhile gets a new one, and what is gone counts as
// expunged now. Without a kept state every message gets a new modseq.

// start makes a folder that was just read for the first time known: it opens its
// cache and gives the messages their modseqs. m.disk is held, and no thread works
// as the owner.
func (m *Mailbox) start() {
	cache := m.openCache()
	state, ok := cache.LoadState()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cache = cache
	if ok {
		m.resume(state)
	} else {
		m.startAnew()
	}
	m.compact()
	m.loaded = true
}

// openCache returns the folder's cache; nil if it has no lasting identity.
func (m *Mailbox) openCache() *index.Mailbox {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.guid == "" { // the list cannot be written: an identity for this time
		m.guid = newGUID()
		return nil
	}
	if m.list.header.guid != m.guid || m.err != nil {
		return nil
	}
	return m.store.all.opt.Index.Mailbox(m.store.owner.Name, m.guid, m.validity)
}

// startAnew gives all messages one new modseq. m.mu is held.
func (m *Mailbox) startAnew() {
	at := m.tick()
	s := index.State{VanishedFrom: index.ModSeq(at), Highest: index.ModSeq(at), Keywords: m.keywordNames()}
	m.expunged.from = at
	for i := range m.recs {
		r := &m.recs[i]
		if r.state&recUnseen == 0 || r.state&recGone != 0 {
			continue
		}
		m.announce(r, at, false)
		if m.cache != nil {
			s.Messages = append(s.Messages, stateOf(r))
		}
	}
	m.cache.Reset(s)
}

// resume gives the messages the modseqs that they had. m.mu is held.
func (m *Mailbox) resume(s index.State) {
	m.modseq = ModSeq(s.Highest)
	m.expunged = expungeLog{from: ModSeq(s.VanishedFrom)}
	for _, v := range s.Vanished {
		m.expunged.add(UID(v.UID), ModSeq(v.ModSeq))
	}
	same := m.sameKeywords(s.Keywords)
	if same != AllKeywords {
		m.cache.NoteKeywords(m.keywordNames())
	}
	old := s.Messages
	var at ModSeq
	for i := range m.recs {
		r := &m.recs[i]
		if r.state&recUnseen == 0 || r.state&recGone != 0 {
			continue
		}
		for len(old) > 0 && UID(old[0].UID) < r.uid {
			m.vanished(UID(old[0].UID))
			old = old[1:]
		}
		keep := ModSeq(0)
		if len(old) > 0 && UID(old[0].UID) == r.uid {
			if old[0].Base == index.BaseHash(r.base) && Flags(old[0].Flags) == r.flags && r.flags&AllKeywords&^same == 0 {
				keep = ModSeq(old[0].ModSeq)
			}
			old = old[1:]
		}
		if keep != 0 {
			m.announce(r, keep, false)
			continue
		}
		if at == 0 {
			at = m.tick()
		}
		m.announce(r, at, false)
		m.note(r)
	}
	for _, o := range old {
		m.vanished(UID(o.UID))
	}
}

// vanished notes an expunge. m.mu is held.
func (m *Mailbox) vanished(uid UID) ModSeq {
	at := m.tick()
	m.expunged.add(uid, at)
	m.cache.NoteVanished(index.Vanished{ModSeq: index.ModSeq(at), UID: index.UID(uid)})
	return at
}

// sameKeywords are the keyword bits whose names have not changed. m.mu is held.
func (m *Mailbox) sameKeywords(names []string) (same Flags) {
	for i := range m.keywords {
		old := ""
		if i < len(names) {
			old = names[i]
		}
		if m.keywords[i] == old {
			same |= Keyword(i)
		}
	}
	return same
}

// keywordNames are the names of the keyword bits. m.mu is held.
func (m *Mailbox) keywordNames() []string {
	names := make([]string, 0, len(m.keywords))
	for i, name := range m.keywords {
		if name != "" {
			names = append(append(names, make([]string, i-len(names))...), name)
		}
	}
	return names
}

// stateOf is what the cache keeps of a message's state.
func stateOf(r *record) index.MessageState {
	return index.MessageState{ModSeq: index.ModSeq(r.modseq), UID: index.UID(r.uid), Flags: uint32(r.flags), Base: index.BaseHash(r.base)}
}

// note gives a message's new modseq to the cache. m.mu is held.
func (m *Mailbox) note(r *record) {
	if m.cache != nil {
		m.cache.Note(stateOf(r))
	}
}

// retire gives back the cache of a Mailbox that has left memory and has no users.
// s.mu is held.
func (s *Stores) retire(m *Mailbox) {
	if s.opt.Index == nil {
		return
	}
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		m.mu.Lock()
		cache := m.cache
		m.cache = nil
		m.mu.Unlock()
		cache.Close()
	}()
}
