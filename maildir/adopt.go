package maildir

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// What the side files of a folder say, taken into memory, and the other way.

// refreshList reads what is new in the uidlist. m.disk is held.
func (sw *sweep) refreshList(f *folder) error {
	m := sw.m
	r, err := f.readList(m.list)
	if err == nil {
		err = m.adopt(&r)
	}
	if errors.Is(err, errCorrupt) {
		f.log.Warn("uidlist", "user", f.owner, "mailbox", m.dir, "err", err)
		sw.aside, err = true, nil
		m.list = listState{}
		if !m.loaded {
			m.mu.Lock()
			m.clear()
			m.mu.Unlock()
		}
	}
	if r.whole {
		sw.both = true
	}
	return err
}

// clear forgets what a list gave that is not used after all, before anything was
// announced. m.mu is held.
func (m *Mailbox) clear() {
	m.recs, m.byBase, m.ext = nil, map[string]int32{}, map[UID]string{}
	m.validity, m.next, m.dead = 0, 1, 0
}

// adopt takes records of the uidlist into memory. m.disk is held.
func (m *Mailbox) adopt(r *listRead) error {
	if !r.state.present || !r.whole && r.text == "" {
		m.list = r.state
		return nil
	}
	if m.loaded { // nothing may change if a later line proves to be corrupt
		check := *r
		if err := check.parse(func(listLine) {}); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h := r.state.header
	var listed []bool // what a new list still has of the records we know
	switch {
	case m.loaded && h.validity != m.validity:
		return fmt.Errorf("UIDVALIDITY changed from %d to %d: %w", m.validity, h.validity, ErrRemoved)
	case m.loaded && r.whole:
		listed = make([]bool, len(m.recs))
	case r.whole:
		m.begin(h, strings.Count(r.text, "\n"))
	}
	if err := r.parse(m.adopter(listed, !m.loaded && r.whole)); err != nil {
		return err
	}
	for i, ok := range listed {
		if !ok && m.recs[i].live() {
			m.drop(i) // another program saw it go; a file that is still there gets a new UID
		}
	}
	m.next = max(m.next, r.state.nextUID())
	m.list = r.state
	return nil
}

// begin makes room for a list that is read for the first time. m.mu is held.
func (m *Mailbox) begin(h listHeader, lines int) {
	m.clear()
	m.validity, m.guid, m.words = h.validity, h.guid, h.words
	m.recs = make([]record, 0, lines+lines/8+16)
	m.byBase = make(map[string]int32, lines+lines/8)
}

// adopter returns the function that takes one record. It notes in listed which
// known records it saw. share lets the names share the memory of the list, which
// is right when nearly all of it is names that are kept. m.mu is held.
func (m *Mailbox) adopter(listed []bool, share bool) func(listLine) {
	known := m.top + 1
	if n := len(m.recs); n > 0 {
		known = max(known, m.recs[n-1].uid+1)
	}
	return func(l listLine) {
		if i, ok := m.byBase[l.base]; ok && m.recs[i].uid == l.uid {
			if listed != nil && int(i) < len(listed) {
				listed[i] = true
			}
			return
		}
		if l.uid < known {
			return // expunged long ago: what was told to nobody may come again
		}
		if !share {
			l.base, l.ext = strings.Clone(l.base), strings.Clone(l.ext)
		}
		m.addRecord(l.uid, l.base, l.ext)
	}
}

// listIsEmptied recognises Dovecot's new list for a folder whose old list was
// lost: a header alone, its next UID 1 although Dovecot's index has given UIDs.
// They must not be given again under this UIDVALIDITY.
func (sw *sweep) listIsEmptied(f *folder) bool {
	m := sw.m
	if m.loaded || !m.list.present || m.list.lines > 0 || m.list.header.next > 1 {
		return false
	}
	inside := false
	for _, s := range sw.stray {
		inside = inside || s.in == inCur
	}
	var st unix.Stat_t
	return inside && f.lstat("dovecot.index.log", &st) == nil
}

// freshList begins a new list with a new UIDVALIDITY.
func (sw *sweep) freshList() {
	m := sw.m
	m.mu.Lock()
	m.validity = 0
	m.mu.Unlock()
	m.list = listState{}
}

// assign gives a UID to each stray file, durable in the uidlist on return. m.disk
// and the lock are held, and the strays were found under the lock.
func (sw *sweep) assign(f *folder) error {
	m := sw.m
	if sw.aside {
		if err := f.asideList(); err != nil {
			return err
		}
		sw.aside = false
	}
	if err := m.needValidity(f); err != nil {
		return err
	}
	bases := make([]string, 0, len(sw.stray))
	for base, s := range sw.stray {
		if base == "" {
			if err := f.rebase(s.in, s.name); err != nil {
				return err
			}
			m.force.Store(true)
			continue
		}
		bases = append(bases, base)
	}
	sortNames(bases)
	pack(bases)
	m.mu.Lock()
	from := len(m.recs)
	m.recs = slices.Grow(m.recs, len(bases))
	if len(m.byBase) == 0 {
		m.byBase = make(map[string]int32, len(bases))
	}
	for _, base := range bases {
		m.addStray(base, sw.stray[base])
	}
	m.mu.Unlock()
	if err := m.writeList(f, from); err != nil {
		return err
	}
	clear(sw.stray)
	return nil
}

// pack gives the names memory side by side, in their order, as those have that
// come from the uidlist: a search compares the base of every message with the
// cache, and waited for the memory of 100,000 scattered names longer than for
// everything else.
func pack(names []string) {
	text := strings.Join(names, "")
	for i, name := range names {
		names[i], text = text[:len(name)], text[len(name):]
	}
}

// addStray makes a record of a file that was found without a UID. m.mu is held.
func (m *Mailbox) addStray(base string, s strayFile) int {
	i := m.addRecord(m.next, base, "")
	r := &m.recs[i]
	r.gen = m.gen
	_, flags, info, odd := splitName([]byte(s.name))
	var none ModSeq
	m.found(r, []byte(s.name), s.in, flags, info, odd, &none)
	r.state |= recRecent
	return i
}

// needValidity takes a UIDVALIDITY where the folder has none.
func (m *Mailbox) needValidity(f *folder) error {
	m.mu.Lock()
	have := m.validity
	m.mu.Unlock()
	if have != 0 {
		return nil
	}
	v, err := f.inbox.nextValidity()
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.validity = v
	m.mu.Unlock()
	return nil
}

// writeList makes the records from index from on durable in the uidlist, by
// lines at its end or by a rewrite. If it fails they are forgotten, their UIDs
// stay unused, and the list will be read anew. m.disk and the lock are held.
func (m *Mailbox) writeList(f *folder, from int) error {
	m.mu.Lock()
	var text []byte
	rewrite := m.needsRewrite(len(m.recs) - from)
	if rewrite {
		text = m.formatList()
	} else {
		for i := from; i < len(m.recs); i++ {
			text = m.lineOf(&m.recs[i]).append(text)
		}
	}
	if m.next > maxUID {
		m.forgetFrom(from)
		m.mu.Unlock()
		return errors.New("no UID is left for this mailbox")
	}
	m.mu.Unlock()
	var err error
	switch {
	case rewrite:
		err = f.rewriteList(&m.list, text)
	case len(text) > 0:
		err = f.appendList(&m.list, text)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.forgetFrom(from)
		m.list = listState{}
		return err
	}
	m.list.lines += len(m.recs) - from
	if rewrite {
		m.list.lines = len(m.recs) - m.dead
		m.list.header = m.header()
	}
	if n := len(m.recs); n > 0 {
		m.list.last = max(m.list.last, m.recs[n-1].uid)
	}
	m.store.all.metrics.assigned.Add(float64(len(m.recs) - from))
	return nil
}

// needsRewrite reports whether appending n lines is not enough: the rules of
// Dovecot. m.mu is held.
func (m *Mailbox) needsRewrite(n int) bool {
	l := &m.list
	if !l.present || l.header.version != 3 || l.header.guid == "" || l.untidy || l.partial || l.torn > 0 {
		return true
	}
	return n > 0 && (len(m.recs)-m.dead)*4 <= (l.lines+n)*3
}

// formatList writes the whole list. m.mu is held.
func (m *Mailbox) formatList() []byte {
	if m.guid == "" {
		m.guid = newGUID()
	}
	b := make([]byte, 0, 128+len(m.recs)*72)
	b = m.header().append(b)
	for i := range m.recs {
		if m.recs[i].state&recGone == 0 {
			b = m.lineOf(&m.recs[i]).append(b)
		}
	}
	return b
}

func (m *Mailbox) header() listHeader {
	return listHeader{version: 3, validity: m.validity, next: m.next, guid: m.guid, words: m.words}
}

// lineOf is a record's line, with the virtual size if only we know it.
func (m *Mailbox) lineOf(r *record) listLine {
	l := listLine{uid: r.uid, base: r.base, ext: m.ext[r.uid]}
	if size, ok := m.vsize[r.uid]; ok {
		if _, have := extValue(l.ext, 'W'); !have {
			l.ext = strings.TrimSpace(fmt.Sprintf("W%d %s", size, l.ext))
		}
	}
	return l
}

// forgetFrom takes back records that nobody was told of. m.mu is held.
func (m *Mailbox) forgetFrom(from int) {
	for i := from; i < len(m.recs); i++ {
		m.drop(i)
	}
	m.dead -= len(m.recs) - from
	m.recs = m.recs[:from]
}

// refreshKeywords reads the table of keywords if it has changed. m.disk is held.
func (m *Mailbox) refreshKeywords(f *folder) error {
	mark := f.mark(keywordsName)
	if mark == m.seen.keywords {
		return nil
	}
	if err := m.loadKeywords(f); err != nil {
		return err
	}
	m.seen.keywords = mark
	return nil
}

// loadKeywords reads the table of keywords. m.disk is held.
func (m *Mailbox) loadKeywords(f *folder) error {
	t, err := f.readKeywords()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, name := range m.keywords { // a table that was lost: file names still carry its letters
		if t[i] == "" && name != "" && t.find(name) < 0 && m.letters&Keyword(i) != 0 {
			t[i] = name
		}
	}
	m.setKeywords(t)
	return nil
}

// setKeywords takes a table of keywords into use. m.mu is held.
func (m *Mailbox) setKeywords(t keywordTable) {
	changed := t != m.keywords
	if m.keywords = t; changed && m.cache != nil {
		m.cache.NoteKeywords(m.keywordNames())
	}
}
