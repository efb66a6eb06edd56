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
	var removed []UID
	for range 8 {
		lost, done, err := m.expungeOnce(ctx, uids)
		removed = append(removed, done...)
		if err != nil {
			return removed, fmt.Errorf("expunging in %s: %w", m.Name(), err)
		}
		if !lost {
			break
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

// doomedFile is a file to remove.
type doomedFile struct {
	uid  UID
	in   subdir
	name string
	gone bool
}

// expungeOnce removes what is where memory has it; lost tells that something
// was not.
func (m *Mailbox) expungeOnce(ctx context.Context, uids []UID) (lost bool, done []UID, err error) {
	list := m.doomed(uids)
	for start := 0; start < len(list) && err == nil; start += flagBatch {
		part := list[start:min(start+flagBatch, len(list))]
		err = m.do(ctx, func(f *folder) error {
			return m.own(f, func() error { return unlinkAll(f, part) })
		})
	}
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
	return lost && err == nil, done, err
}

// doomed lists the files of \Deleted messages, all or those of uids.
func (m *Mailbox) doomed(uids []UID) []doomedFile {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []doomedFile
	add := func(r *record) {
		if r.live() && r.flags&Deleted != 0 {
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

func unlinkAll(f *folder, part []doomedFile) error {
	for i := range part {
		d := &part[i]
		if err := f.fault("remove", d.name); err != nil {
			return err
		}
		dir, err := f.in(d.in)
		if err != nil {
			return err
		}
		err = unix.Unlinkat(int(dir.Fd()), d.name, 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a message: %w", err)
		}
		d.gone = err == nil
	}
	return nil
}
