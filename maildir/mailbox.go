package maildir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"svc.plus/mailsrvd/maildir/index"
)

// Mailbox is an open folder: UIDs, flags, modseqs and file names of its
// messages, once for all sessions that have it open. Its methods are safe for
// concurrent use.
type Mailbox struct {
	store *Store
	id    uint64 // order of taking two disk locks

	// Guarded by store.all.mu.
	refs      int
	idleSince time.Time

	// disk is held by who works on the folder's files; it holds one token.
	disk chan struct{}

	// Guarded by disk.
	loaded   bool
	dirID    inode     // the directory, so that another one in its place is noticed
	seen     diskState // what the files looked like when memory last agreed
	list     listState
	recheck  time.Time // look again although times are unchanged; zero if not needed
	sight    lockSight
	patience time.Time // until then nobody waits for a foreign lock
	lock     *dotlock  // held over several calls that work as the user

	force   atomic.Bool  // look at the directories whatever their times
	watched atomic.Bool  // inotify reports changes
	relied  atomic.Int64 // see rely

	following sync.Mutex // held while watches are added or removed; taken before mu
	followed  bool       // guarded by following
	lingering bool       // guarded by following: see linger

	mu sync.Mutex // guards what follows; never held during a system call

	name, dir string
	err       error // ErrRemoved once the folder is gone
	validity  uint32
	next      UID // the next to give
	top       UID // the highest ever announced
	guid      string
	words     string // other words of the uidlist's header
	recs      []record
	byBase    map[string]int32
	live      int // messages
	dead      int // tombstones
	gen       uint32
	odd       map[UID]string
	ext       map[UID]string
	vsize     map[UID]int64
	keywords  keywordTable
	letters   Flags // keyword letters seen in file names
	modseq    ModSeq
	expunged  expungeLog
	cache     *index.Mailbox // nil: there is none
	fresh     []UID          // they wait for their rows
	filling   bool           // somebody makes them
	texting   bool           // somebody makes the full-text index

	watchers map[*Watcher]struct{}
	log      changeLog
	dirtyLog bool
	claimers int  // watchers that called ClaimRecent
	claimDue bool // something may be in new/

	pending   []*arrival // files that wait for their UID
	assigning bool
}

// Open returns the shared state of a folder, read or brought up to date with
// the disk; Close gives it back. Messages in new/ stay there until a session
// claims them (Watcher.ClaimRecent). ErrNotFound, ErrInvalidName.
func (s *Store) Open(ctx context.Context, name string) (*Mailbox, error) {
	m, err := s.acquire(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := m.Sync(ctx); err != nil {
		m.Close()
		if errors.Is(err, ErrRemoved) {
			// State from memory of a folder that others removed: what is there now?
			if m, err = s.acquire(ctx, name); err == nil {
				if err = m.Sync(ctx); err != nil {
					m.Close()
				}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("opening mailbox %q: %w", name, err)
		}
	}
	return m, nil
}

// acquire finds or makes the state in memory and counts a reference.
func (s *Store) acquire(ctx context.Context, name string) (*Mailbox, error) {
	dir, err := s.dirOf(name)
	if err != nil {
		return nil, err
	}
	if m := s.find(dir); m != nil {
		return m, nil
	}
	err = s.withRoot(ctx, func(f *folder) (err error) {
		dir, err = s.resolve(f, name)
		return err
	})
	if errors.Is(err, ErrNotFound) && strings.EqualFold(name, inboxName) {
		dir, err = "", s.Prepare(ctx)
	}
	if err != nil {
		return nil, err
	}
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if s.all.closed {
		return nil, ErrClosed
	}
	m := s.open[dir]
	if m == nil {
		m = s.newMailbox(dir)
		s.open[dir] = m
	}
	s.all.idle.take(s.all, m)
	return m, nil
}

// find returns the Mailbox of a directory if it is in memory, with a reference.
func (s *Store) find(dir string) *Mailbox {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	m := s.open[dir]
	if m != nil {
		s.all.idle.take(s.all, m)
	}
	return m
}

func (s *Store) newMailbox(dir string) *Mailbox {
	s.all.nextID++
	name := inboxName
	if dir != "" {
		name, _ = s.nameOf(dir)
	}
	m := &Mailbox{
		store: s, id: s.all.nextID, name: name, dir: dir, next: 1,
		disk: make(chan struct{}, 1), byBase: map[string]int32{}, odd: map[UID]string{},
		ext: map[UID]string{}, vsize: map[UID]int64{}, watchers: map[*Watcher]struct{}{},
	}
	m.tick()
	m.expunged.from = m.modseq
	return m
}

// hold takes one more reference of a Mailbox that is in use; Close gives it back.
func (m *Mailbox) hold() {
	all := m.store.all
	all.mu.Lock()
	defer all.mu.Unlock()
	all.idle.take(all, m)
}

// Close drops a reference that Open gave.
func (m *Mailbox) Close() {
	all := m.store.all
	m.mu.Lock()
	size, keep := len(m.recs), m.err == nil && m.validity != 0
	m.mu.Unlock()
	all.mu.Lock()
	defer all.mu.Unlock()
	all.idle.release(all, m, size, keep)
}

// lockDisk takes the right to work on the files.
func (m *Mailbox) lockDisk(ctx context.Context) error {
	select {
	case m.disk <- struct{}{}:
		return nil
	default:
	}
	select {
	case m.disk <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for mailbox %s: %w", m.Name(), context.Cause(ctx))
	}
}

func (m *Mailbox) unlockDisk() {
	<-m.disk
	m.wake()
}

// do runs fn as the owner in the folder. ErrRemoved when it is gone or another
// directory stands in its place.
func (m *Mailbox) do(ctx context.Context, fn func(f *folder) error) error {
	m.store.renaming.RLock()
	defer m.store.renaming.RUnlock()
	m.mu.Lock()
	dir, id, err := m.dir, m.dirID, m.err
	m.mu.Unlock()
	if err != nil {
		return err
	}
	err = m.store.withFolder(ctx, dir, func(f *folder) error {
		if id != (inode{}) && f.id() != id {
			return ErrRemoved
		}
		return fn(f)
	})
	if errors.Is(err, ErrNotFound) {
		err = ErrRemoved
	}
	if errors.Is(err, ErrRemoved) {
		m.remove()
	}
	return err
}

// remove makes every later use fail with ErrRemoved and tells the watchers.
func (m *Mailbox) remove() {
	m.store.forget(m)
	m.mu.Lock()
	if m.err == nil {
		m.err = ErrRemoved
		m.logChange(Change{Kind: Removed}, nil)
	}
	m.mu.Unlock()
	m.wake()
	m.store.all.notify.follow(m)
}

// forget takes a Mailbox out of the table, so that the next Open reads anew.
func (s *Store) forget(m *Mailbox) {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.dropOpen(m)
	if s.all.idle.forget(s.all, m); m.refs == 0 {
		s.all.retire(m)
	}
}

// detach ends the Mailbox of a deleted folder. s.renaming is held.
func (s *Store) detach(dir string) {
	s.all.mu.Lock()
	m := s.open[dir]
	s.all.mu.Unlock()
	if m != nil {
		m.remove()
	}
}

// reattach gives open Mailboxes their new names. s.renaming is held.
func (s *Store) reattach(moves [][2]string) {
	moved := map[string]*Mailbox{}
	s.all.mu.Lock()
	for _, mv := range moves {
		if m := s.open[mv[0]]; m != nil {
			delete(s.open, mv[0])
			moved[mv[1]] = m
		}
	}
	for dir, m := range moved {
		s.open[dir] = m
	}
	s.all.mu.Unlock()
	for dir, m := range moved {
		name, _ := s.nameOf(dir)
		m.mu.Lock()
		m.name, m.dir = name, dir
		m.logChange(Change{Kind: Renamed}, nil)
		m.mu.Unlock()
		s.all.notify.rewatch(m)
		m.wake()
	}
}

// Store is the Store that the folder belongs to.
func (m *Mailbox) Store() *Store { return m.store }

// Name is the folder's name for clients.
func (m *Mailbox) Name() string { m.mu.Lock(); defer m.mu.Unlock(); return m.name }

// UIDValidity is the folder's UIDVALIDITY; it never changes while it is open.
func (m *Mailbox) UIDValidity() uint32 { m.mu.Lock(); defer m.mu.Unlock(); return m.validity }

// UIDNext is above every UID given so far.
func (m *Mailbox) UIDNext() UID { m.mu.Lock(); defer m.mu.Unlock(); return m.next }

// HighestModSeq is at least the modseq of every message and expunge.
func (m *Mailbox) HighestModSeq() ModSeq { m.mu.Lock(); defer m.mu.Unlock(); return m.modseq }

// GUID is the folder's identity, 32 hex digits, kept by renames: MAILBOXID (RFC
// 8474 section 4).
func (m *Mailbox) GUID() string { m.mu.Lock(); defer m.mu.Unlock(); return m.guid }

// Keywords returns the folder's keywords; the index is the bit in Flags. It ends
// with the last keyword known, may grow, and never changes an entry that is not
// empty. An empty entry is a letter that is free.
func (m *Mailbox) Keywords() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for i := range m.keywords {
		if m.keywords[i] != "" || m.letters&Keyword(i) != 0 {
			list = append(list, make([]string, i-len(list))...)
			list = append(list, m.keywords.name(i))
		}
	}
	return list
}

// Len is the number of messages.
func (m *Mailbox) Len() int { m.mu.Lock(); defer m.mu.Unlock(); return m.live }

// Messages returns the state of all messages in UID order. The slice is the
// caller's.
func (m *Mailbox) Messages() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.messages()
}

func (m *Mailbox) messages() []Message {
	list := make([]Message, 0, m.live)
	for i := range m.recs {
		if m.recs[i].live() {
			list = append(list, m.recs[i].message())
		}
	}
	return list
}

// Lookup appends the state of these messages to dst, in their order; what does
// not exist is left out.
func (m *Mailbox) Lookup(uids []UID, dst []Message) []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	dst = slices.Grow(dst, len(uids))
	for _, uid := range uids {
		if i, ok := m.index(uid); ok {
			dst = append(dst, m.recs[i].message())
		}
	}
	return dst
}

// ExpungedSince returns the UIDs expunged after a modseq (RFC 7162 section
// 3.2.10.2). ok is false when that is longer ago than we remember: then every
// UID that the client names and that does not exist counts as vanished.
func (m *Mailbox) ExpungedSince(at ModSeq) (uids []UID, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.expunged.since(at)
}

// EmailID is the identity of a message's content, kept by COPY and MOVE (RFC
// 8474 section 5.1): Dovecot's GUID. "" if the message does not exist.
func (m *Mailbox) EmailID(uid UID) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.index(uid)
	if !ok {
		return ""
	}
	if g, ok := extValue(m.ext[uid], 'G'); ok && g != "" {
		return g
	}
	return m.recs[i].base
}
