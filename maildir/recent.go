package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// ClaimRecent is what a read-write SELECT does: files in new/ move to cur/, and
// the messages that are \Recent are this session's. They stay Recent in what
// Mailbox and Watcher report until the Watcher is closed, and then are recent
// for nobody; a second session that looks meanwhile sees them as recent too,
// which RFC 3501 section 2.3.2 allows. While such a watcher is there, Sync
// moves what arrives later. An EXAMINE, which changes nothing, does not call it.
func (w *Watcher) ClaimRecent(ctx context.Context) error {
	m := w.m
	if err := m.lockDisk(ctx); err != nil {
		return err
	}
	defer m.unlockDisk()
	m.mu.Lock()
	if !w.claims && !w.closed {
		w.claims = true
		m.claimers++
	}
	m.mu.Unlock()
	return m.emptyNew(ctx)
}

// emptyNew moves the files in new/ to cur/. m.disk is held.
func (m *Mailbox) emptyNew(ctx context.Context) error {
	m.mu.Lock()
	m.claimDue = false
	var list []flagChange
	for i := range m.recs {
		if r := &m.recs[i]; r.live() && r.state&recNew != 0 {
			list = append(list, flagChange{uid: r.uid, from: inNew, old: m.fileName(r), new: m.curName(r)})
		}
	}
	m.mu.Unlock()
	for start := 0; start < len(list); start += flagBatch {
		part := list[start:min(start+flagBatch, len(list))]
		err := m.do(ctx, func(f *folder) error {
			return m.own(f, func() error { return renameFlags(f, part) })
		})
		m.commitClaimed(part)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return nil // what cannot be moved can still be read
		}
		if err != nil {
			return fmt.Errorf("moving new messages of %s: %w", m.Name(), err)
		}
	}
	return nil
}

// curName is a record's file name in cur/, where ":2," is expected. m.mu is
// held.
func (m *Mailbox) curName(r *record) string {
	if r.state&recBare != 0 {
		return plainName(r.base, r.flags)
	}
	return m.fileName(r)
}

func (m *Mailbox) commitClaimed(part []flagChange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range part {
		i, ok := m.index(c.uid)
		switch {
		case c.state == lostFile:
			m.force.Store(true)
		case c.state == renamed && ok:
			m.recs[i].state &^= recNew | recBare
		}
	}
}

// unclaim ends \Recent for what the session of w had. m.mu is held.
func (w *Watcher) unclaim() {
	if !w.claims {
		return
	}
	w.m.claimers--
	for i := range w.m.recs {
		w.m.recs[i].state &^= recRecent
	}
}
