package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// FlagOp is what StoreFlags does with the flags it is given.
type FlagOp uint8

const (
	// SetFlags replaces all flags and keywords but Passed, which IMAP does not
	// have.
	SetFlags FlagOp = iota
	// AddFlags and RemoveFlags leave the others alone.
	AddFlags
	RemoveFlags
)

// StoreOptions are the finer points of StoreFlags.
type StoreOptions struct {
	// UnchangedSince leaves messages alone whose modseq is greater (RFC 7162
	// section 3.1.3), unless it is nil.
	UnchangedSince *ModSeq
	// By does not get the changes by Changes: its session has them as result.
	By *Watcher
}

// StoreFlags changes the flags of messages: a rename each, not synced, since a
// flag lost in a power cut is no mail lost. stored is the state of every message
// of uids that exists and was not left alone, changed or not, in the order of
// uids; a message that did not change keeps its modseq. modified are the UIDs
// left alone by UnchangedSince. UIDs that do not exist are passed over.
//
// Keywords are given by name and get a letter when they are new;
// ErrTooManyKeywords when none is left, and then nothing is changed. Keyword bits
// in f count too. If files cannot be renamed, the error comes with the messages
// that were stored before.
func (m *Mailbox) StoreFlags(ctx context.Context, uids []UID, op FlagOp, f Flags, keywords []string, o StoreOptions) (stored []Message, modified []UID, err error) {
	if err := m.lockDisk(ctx); err != nil {
		return nil, nil, err
	}
	defer m.unlockDisk()
	if op == RemoveFlags {
		keywords = m.knownKeywords(keywords)
	}
	bits, err := m.keywordBitsLocked(ctx, keywords)
	if err != nil {
		return nil, nil, err
	}
	job := &flagJob{m: m, op: op, bits: f | bits, by: o.By}
	m.mu.Lock()
	modified = job.plan(uids, o.UnchangedSince)
	m.mu.Unlock()
	err = job.run(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, uid := range job.all {
		if i, ok := m.index(uid); ok {
			stored = append(stored, m.recs[i].message())
		}
	}
	return stored, modified, err
}

// apply gives the flags after an operation.
func (op FlagOp) apply(have, f Flags) Flags {
	switch op {
	case AddFlags:
		return have | f
	case RemoveFlags:
		return have &^ f
	}
	return f | have&Passed
}

// flagJob is one StoreFlags at work. Mailbox.disk is held throughout.
type flagJob struct {
	m    *Mailbox
	op   FlagOp
	bits Flags
	by   *Watcher
	all  []UID
	todo []flagChange
}

// flagChange is one file to rename.
type flagChange struct {
	uid      UID
	flags    Flags
	from     subdir
	old, new string
	state    changeState
}

type changeState uint8

const (
	waiting changeState = iota
	renamed
	lostFile // not where memory has it
)

// plan finds the files to rename. m.mu is held.
func (j *flagJob) plan(uids []UID, since *ModSeq) (modified []UID) {
	for _, uid := range uids {
		i, ok := j.m.index(uid)
		if !ok {
			continue
		}
		r := &j.m.recs[i]
		if since != nil && r.modseq > *since {
			modified = append(modified, uid)
			continue
		}
		j.all = append(j.all, uid)
		if c, ok := j.m.planChange(r, j.op.apply(r.flags, j.bits)); ok {
			j.todo = append(j.todo, c)
		}
	}
	return modified
}

// planChange is the rename that gives a record new flags. m.mu is held.
func (m *Mailbox) planChange(r *record, flags Flags) (c flagChange, ok bool) {
	if flags == r.flags {
		return c, false
	}
	c = flagChange{uid: r.uid, flags: flags, from: r.where(), old: m.fileName(r)}
	if r.state&recOdd != 0 {
		c.new = withFlags(c.old, flags)
	} else {
		c.new = plainName(r.base, flags)
	}
	return c, true
}

// flagBatch is how many renames are done in one visit.
const flagBatch = 2000

// run renames everything; files that others renamed meanwhile are looked for.
func (j *flagJob) run(ctx context.Context) error {
	for round := 0; len(j.todo) > 0 && round < 8; round++ {
		for start := 0; start < len(j.todo); start += flagBatch {
			part := j.todo[start:min(start+flagBatch, len(j.todo))]
			err := j.m.do(ctx, func(f *folder) error {
				return j.m.own(f, func() error { return renameFlags(f, part) })
			})
			j.commit(part)
			if err != nil {
				return fmt.Errorf("storing flags in %s: %w", j.m.Name(), err)
			}
		}
		if err := j.findLost(ctx); err != nil {
			return err
		}
	}
	return nil
}

func renameFlags(f *folder, part []flagChange) error {
	for i := range part {
		c := &part[i]
		err := f.move(c.from, c.old, inCur, c.new)
		switch {
		case err == nil:
			c.state = renamed
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
			c.state = lostFile
		default:
			return err
		}
	}
	return nil
}

// commit takes the renames into memory.
func (j *flagJob) commit(part []flagChange) {
	m := j.m
	m.mu.Lock()
	defer m.mu.Unlock()
	var at ModSeq
	for _, c := range part {
		i, ok := m.index(c.uid)
		if c.state != renamed || !ok {
			continue
		}
		if at == 0 {
			at = m.tick()
		}
		r := &m.recs[i]
		r.flags, r.modseq = c.flags, at
		r.state &^= recNew | recBare
		if r.state&recOdd != 0 {
			m.odd[c.uid] = c.new
		}
		m.letters |= c.flags & AllKeywords
		m.note(r)
		m.logChange(Change{Kind: FlagsChanged, UID: c.uid, Flags: c.flags, ModSeq: at}, j.by)
	}
}

// findLost reads the directories when files were not where memory had them, and
// plans their changes anew from the flags they have now.
func (j *flagJob) findLost(ctx context.Context) error {
	var lost []UID
	for _, c := range j.todo {
		if c.state == lostFile {
			lost = append(lost, c.uid)
		}
	}
	j.todo = j.todo[:0]
	if len(lost) == 0 {
		return nil
	}
	j.m.force.Store(true)
	if err := j.m.sync(ctx, syncLockWait); err != nil {
		return err
	}
	j.m.mu.Lock()
	defer j.m.mu.Unlock()
	for _, uid := range lost {
		if i, ok := j.m.index(uid); ok {
			r := &j.m.recs[i]
			if c, ok := j.m.planChange(r, j.op.apply(r.flags, j.bits)); ok {
				j.todo = append(j.todo, c)
			}
		}
	}
	return nil
}

// knownKeywords leaves out what the table lacks: it cannot be removed.
func (m *Mailbox) knownKeywords(names []string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var known []string
	for _, name := range names {
		if m.keywordIndex(name) >= 0 {
			known = append(known, name)
		}
	}
	return known
}

// keywordIndex finds a keyword, those without an entry included. m.mu is held.
func (m *Mailbox) keywordIndex(name string) int {
	if i := m.keywords.find(name); i >= 0 {
		return i
	}
	for i := range m.keywords {
		if m.keywords[i] == "" && m.letters&Keyword(i) != 0 && strings.EqualFold(name, m.keywords.name(i)) {
			return i
		}
	}
	return -1
}

// keywordBits gives the bits of keywords; new ones get a letter.
func (m *Mailbox) keywordBits(ctx context.Context, names []string) (Flags, error) {
	if bits, ok := m.bitsOf(names); ok {
		return bits, nil
	}
	if err := m.lockDisk(ctx); err != nil {
		return 0, err
	}
	defer m.unlockDisk()
	return m.keywordBitsLocked(ctx, names)
}

// bitsOf is keywordBits for keywords that have letters.
func (m *Mailbox) bitsOf(names []string) (bits Flags, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		i := m.keywordIndex(name)
		if i < 0 {
			return 0, false
		}
		bits |= Keyword(i)
	}
	return bits, true
}

// keywordBitsLocked is keywordBits for who holds disk.
func (m *Mailbox) keywordBitsLocked(ctx context.Context, names []string) (Flags, error) {
	if bits, ok := m.bitsOf(names); ok {
		return bits, nil
	}
	for _, name := range names {
		if !validKeyword(name) {
			return 0, fmt.Errorf("keyword %q: %w", name, ErrInvalidName)
		}
	}
	var bits Flags
	err := m.locked(ctx, m.store.all.opt.LockWait, func(f *folder) error {
		m.mu.Lock()
		table, letters := m.keywords, m.letters
		m.mu.Unlock()
		var err error
		var grew bool
		if bits, grew, err = table.add(names, letters); err != nil || !grew {
			return err
		}
		if err := f.writeKeywords(&table); err != nil {
			return err
		}
		m.mu.Lock()
		m.setKeywords(table)
		m.mu.Unlock()
		m.seen.keywords = f.mark(keywordsName)
		return nil
	})
	return bits, err
}
