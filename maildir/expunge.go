package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Expunge removes messages that have \Deleted: all of them, or those of uids
// (UID EXPUNGE, RFC 9051 section 6.4.9), and returns what it removed. Every
// watcher, the caller's too, gets an Expunged change. A message from which
// another program has just taken \Deleted stays.
func (m *Mailbox) Expunge(ctx context.Context, uids []UID) ([]UID, error) {
	if err := m.lockDisk(ctx); err != nil {
		return nil, err
	}
	defer m.unlockDisk()
	removed, err := m.unlink(ctx, uids, Deleted)
	if err != nil {
		err = fmt.Errorf("expunging in %s: %w", m.Name(), err)
	}
	return removed, err
}

// unlink removes the files of messages, nil for all, that have the flags must,
// and tells the watchers. m.disk is held.
func (m *Mailbox) unlink(ctx context.Context, uids []UID, must Flags) (removed []UID, err error) {
	for range 8 {
		list := m.doomed(uids, must)
		err = m.unlinkFiles(ctx, list)
		lost, done := m.buried(list)
		removed = append(removed, done...)
		if err != nil || !lost {
			return removed, err
		}
		// Another program renamed files; what it removed is expunged by the
		// reading itself.
		m.force.Store(true)
		if err := m.sync(ctx, syncLockWait); err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// doomedFile is a file to remove or to copy.
type doomedFile struct {
	uid  UID
	in   subdir
	name string
	gone bool
}

// doomed lists the files of the messages, nil for all, that have the flags must.
func (m *Mailbox) doomed(uids []UID, must Flags) (list []doomedFile) {
	m.mu.Lock()
	defer m.mu.Unlock()
	add := func(r *record) {
		if r.live() && r.flags&must == must {
			list = append(list, doomedFile{uid: r.uid, in: r.where(), name: m.fileName(r)})
		}
	}
	if uids == nil {
		for i := range m.recs {
			add(&m.recs[i])
		}
		return list
	}
	for _, uid := range uids {
		if i, ok := m.index(uid); ok {
			add(&m.recs[i])
		}
	}
	return list
}

// unlinkFiles removes what is where memory has it and marks it gone.
func (m *Mailbox) unlinkFiles(ctx context.Context, list []doomedFile) (err error) {
	for start := 0; start < len(list) && err == nil; start += flagBatch {
		part := list[start:min(start+flagBatch, len(list))]
		err = m.do(ctx, func(f *folder) error {
			return m.own(f, func() error { return unlinkAll(f, part) })
		})
	}
	return err
}

// buried takes removed files out of memory; lost tells that one was not where
// memory has it.
func (m *Mailbox) buried(list []doomedFile) (lost bool, done []UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range list {
		if !d.gone {
			lost = true
			continue
		}
		if i, ok := m.index(d.uid); ok {
			m.drop(i)
			done = append(done, d.uid)
		}
	}
	m.compact()
	return lost, done
}

func unlinkAll(f *folder, part []doomedFile) error {
	f.store.quota.counting.RLock()
	defer f.store.quota.counting.RUnlock()
	var freed Usage
	defer func() { f.addUsage(freed) }()
	for i := range part {
		d := &part[i]
		if err := f.fault("remove", d.name); err != nil {
			return err
		}
		dir, err := f.in(d.in)
		if err != nil {
			return err
		}
		size := f.fileSize(d.in, d.name)
		err = unix.Unlinkat(int(dir.Fd()), d.name, 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a message: %w", err)
		}
		if d.gone = err == nil; d.gone {
			freed = freed.plus(Usage{-size, -1})
		}
	}
	return nil
}
