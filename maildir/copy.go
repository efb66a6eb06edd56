package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// A copy is a hard link, as with Dovecot: no bytes are copied, and the mtime,
// which is INTERNALDATE, stays. A stored file is therefore never written to. The
// base of the name stays too if it is free in the target; else the copy gets a
// new one and its line in the uidlist notes the old base as the message's GUID
// (G), so that EMAILID stays the same. Where links are refused (another file
// system, too many links) the bytes are copied.
//
// All links are made before the first UID is given. If one step fails, all are
// taken back: a COPY or MOVE happens whole or not at all.

// ErrOtherStore: messages can be copied between the folders of one owner only.
var ErrOtherStore = errors.New("mailboxes belong to different accounts")

// Copy copies messages into dst, which may be the same folder, and returns the
// UIDs of those that existed and of their copies, in the order of uids. Flags
// go along, keywords as far as dst has room for them. It is durable when the
// error is nil. ErrLocked, ErrRemoved, ErrOtherStore, or a *status.Error when
// the disk is full.
func (m *Mailbox) Copy(ctx context.Context, uids []UID, dst *Mailbox) (from, to []UID, err error) {
	return m.transfer(ctx, uids, dst, false)
}

// Move is Copy that removes the originals once the copies are durable (RFC 6851).
// Every watcher, the caller's too, gets Expunged changes for them.
func (m *Mailbox) Move(ctx context.Context, uids []UID, dst *Mailbox) (from, to []UID, err error) {
	return m.transfer(ctx, uids, dst, true)
}

// transfer is one Copy or Move.
func (m *Mailbox) transfer(ctx context.Context, uids []UID, dst *Mailbox, move bool) (from, to []UID, err error) {
	if m.store != dst.store {
		return nil, nil, ErrOtherStore
	}
	if !move { // a move needs no more room than there is
		if err := m.store.checkQuota(ctx, m.usage(uids)); err != nil {
			return nil, nil, storeError(err)
		}
	}
	unlock, err := lockBoth(ctx, m, dst)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	letters, err := m.translate(ctx, uids, dst)
	if err != nil {
		return nil, nil, err
	}
	var sources []doomedFile
	var batch []*arrival
	for try := 0; try < 8; try++ {
		sources, batch = m.planCopies(uids, letters)
		err = dst.locked(ctx, m.store.all.opt.LockWait, func(f *folder) error {
			return dst.linkBatch(f, m, sources, batch)
		})
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		m.force.Store(true) // another program renamed a source
		if err := m.sync(ctx, syncLockWait); err != nil {
			return nil, nil, err
		}
	}
	if err != nil {
		return nil, nil, storeError(fmt.Errorf("copying to %s: %w", dst.Name(), err))
	}
	m.copyRows(dst, sources, batch)
	for i, a := range batch {
		res := dst.resultOf(a)
		if res.err == nil {
			from, to = append(from, sources[i].uid), append(to, res.uid)
		}
	}
	if move && len(sources) > 0 {
		err = m.removeMoved(ctx, sources)
	}
	return from, to, err
}

// lockBoth takes the disk locks of both folders in the order of their ids.
func lockBoth(ctx context.Context, a, b *Mailbox) (unlock func(), err error) {
	if a == b {
		return a.unlockDisk, a.lockDisk(ctx)
	}
	if b.id < a.id {
		a, b = b, a
	}
	if err := a.lockDisk(ctx); err != nil {
		return nil, err
	}
	if err := b.lockDisk(ctx); err != nil {
		a.unlockDisk()
		return nil, err
	}
	return func() { b.unlockDisk(); a.unlockDisk() }, nil
}

// translate maps the keyword bits of the source that uids have to those of dst,
// where new keywords get a letter; what finds no room is 0.
func (m *Mailbox) translate(ctx context.Context, uids []UID, dst *Mailbox) (letters [maxKeywords]Flags, err error) {
	if m == dst {
		for i := range letters {
			letters[i] = Keyword(i)
		}
		return letters, nil
	}
	for i, name := range m.keywordsOf(uids) {
		if name == "" {
			continue
		}
		letters[i], err = dst.keywordBitsLocked(ctx, []string{name})
		if errors.Is(err, ErrTooManyKeywords) || errors.Is(err, ErrInvalidName) {
			letters[i], err = 0, nil
		}
		if err != nil {
			return letters, err
		}
	}
	return letters, nil
}

// keywordsOf names the keywords that any of the messages has, by index.
func (m *Mailbox) keywordsOf(uids []UID) (names [maxKeywords]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var used Flags
	for _, uid := range uids {
		if i, ok := m.index(uid); ok {
			used |= m.recs[i].flags
		}
	}
	for i := range names {
		if used&Keyword(i) != 0 {
			names[i] = m.keywords.name(i)
		}
	}
	return names
}

// planCopies lists the source files and what is to come of them.
func (m *Mailbox) planCopies(uids []UID, letters [maxKeywords]Flags) (sources []doomedFile, batch []*arrival) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, uid := range uids {
		i, ok := m.index(uid)
		if !ok {
			continue
		}
		r := &m.recs[i]
		flags := r.flags &^ AllKeywords
		for k := range letters {
			if r.flags&Keyword(k) != 0 {
				flags |= letters[k]
			}
		}
		a := &arrival{done: make(chan arrivalResult, 1), guid: r.base}
		if g, ok := extValue(m.ext[uid], 'G'); ok && g != "" {
			a.guid = g
		}
		a.Name, a.in = r.base, inCur
		a.name = plainName(r.base, flags)
		sources = append(sources, doomedFile{uid: uid, in: r.where(), name: m.fileName(r)})
		batch = append(batch, a)
	}
	return sources, batch
}

// linkBatch runs in the folder of dst, under its lock: it makes the links and
// gives them UIDs. After an error nothing is left.
func (dst *Mailbox) linkBatch(f *folder, m *Mailbox, sources []doomedFile, batch []*arrival) error {
	dst.store.quota.counting.RLock()
	defer dst.store.quota.counting.RUnlock()
	if err := dst.seek(f, batch); err != nil {
		return err
	}
	return dst.withSource(f, m, func(src *folder) error {
		return dst.own(f, func() error {
			for i, a := range batch {
				if a.placed || a.err != nil { // on a second try
					continue
				}
				if err := dst.link(f, src, &sources[i], a); err != nil {
					for _, made := range batch[:i] {
						f.remove(made.in, made.name)
						made.placed = false
					}
					return err
				}
			}
			return dst.commit(f, batch)
		})
	})
}

// withSource runs fn with the other folder of the same Maildir.
func (dst *Mailbox) withSource(f *folder, m *Mailbox, fn func(src *folder) error) error {
	m.mu.Lock()
	dir := m.dir
	m.mu.Unlock()
	if m == dst {
		return fn(f)
	}
	err := dst.store.inChild(f.inbox, dir, fn)
	if errors.Is(err, ErrNotFound) {
		err = ErrRemoved
	}
	return err
}

// link makes one copy in cur/ and notes it in a.
func (dst *Mailbox) link(f, src *folder, s *doomedFile, a *arrival) error {
	if err := f.fault("link", a.name); err != nil {
		return err
	}
	if dst.hasBase(a.Name) {
		dst.renameCopy(f, a)
	}
	from, err := src.in(s.in)
	if err != nil {
		return err
	}
	into, err := f.in(inCur)
	if err != nil {
		return err
	}
	err = unix.Linkat(int(from.Fd()), s.name, int(into.Fd()), a.name, 0)
	if errors.Is(err, fs.ErrExist) { // a file that memory does not know yet
		dst.renameCopy(f, a)
		err = unix.Linkat(int(from.Fd()), s.name, int(into.Fd()), a.name, 0)
	}
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EMLINK) {
		err = f.copyBytes(src, s, a)
	}
	if err != nil {
		return fmt.Errorf("linking a message: %w", err)
	}
	if a.guid == a.Name {
		a.guid = "" // the base itself is the GUID
	}
	a.placed = true
	a.Size = f.fileSize(a.in, a.name)
	return nil
}

func (m *Mailbox) hasBase(base string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.byBase[base]
	return ok
}

// renameCopy gives a copy a base of its own; sizes and flags stay.
func (dst *Mailbox) renameCopy(f *folder, a *arrival) {
	old := a.Name
	a.Name = newBase(f.opt.Hostname, f.now())
	if s, ok := sizeField(old, 'S'); ok {
		if w, ok := sizeField(old, 'W'); ok {
			a.Name = addSizes(a.Name, s, w)
		}
	}
	_, flags, _, _ := splitName([]byte(a.name))
	a.name = plainName(a.Name, flags)
}

// copyBytes stores the bytes of a message that cannot be linked, durable but for
// its name.
func (f *folder) copyBytes(src *folder, s *doomedFile, a *arrival) error {
	in, err := src.openIn(s.in, s.name)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := f.createTmp(a.tmpName())
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Sync(fi.ModTime().Truncate(time.Second)); err != nil {
		return err
	}
	out.Done()
	return f.place(&a.stored)
}

// removeMoved removes the originals, durable on return, so that no power cut
// brings them back beside their copies.
func (m *Mailbox) removeMoved(ctx context.Context, sources []doomedFile) error {
	uids := make([]UID, 0, len(sources))
	var touched [2]bool
	for _, s := range sources {
		uids = append(uids, s.uid)
		touched[s.in] = true
	}
	_, err := m.unlink(ctx, uids, 0)
	if err == nil {
		err = m.do(ctx, func(f *folder) error {
			for in, yes := range touched {
				if yes {
					if err := f.syncIn(subdir(in)); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("removing moved messages from %s: %w", m.Name(), err)
	}
	return nil
}
