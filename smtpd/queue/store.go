package queue

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/durable"
	"svc.plus/mailsrvd/internal/message"
)

// The names in the queue's directory.
const (
	lockName       = "lock"
	messageSuffix  = ".msg"
	envelopeSuffix = ".env"
	tmpSuffix      = ".tmp"
	brokenSuffix   = ".broken"
)

// ErrLocked means that another process runs this queue.
var ErrLocked = errors.New("the queue is in use by another process")

// ErrNotFound means that no item has this id.
var ErrNotFound = errors.New("no such item in the queue")

// store is the directory. It is safe for concurrent use, except that the
// caller serializes the calls for one id.
type store struct {
	dir   string
	root  *os.Root
	lock  *os.File
	fault durable.Fault
	names dirSync
}

func openStore(dir string, fault durable.Fault) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the queue's directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the queue's directory: %w", err)
	}
	s := &store{dir: dir, root: root, fault: fault}
	s.names.sync = func() error { return durable.SyncDir(root, ".", fault) }
	if s.lock, err = takeLock(root); err != nil {
		root.Close()
		return nil, fmt.Errorf("queue %s: %w", dir, err)
	}
	return s, nil
}

// takeLock keeps a second daemon out. The kernel gives the lock back when the
// process ends, however it ends.
func takeLock(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, fmt.Errorf("locking: %w", err)
}

// close makes the last removals durable and gives the lock back.
func (s *store) close() error {
	return errors.Join(s.names.wait(), s.lock.Close(), s.root.Close())
}

// create makes a new item durable. os.ErrExist means that the id is taken.
func (s *store) create(it *Item, c *message.Content) error {
	f, err := durable.Create(s.root, it.ID+messageSuffix, 0o600, s.fault)
	if err != nil {
		return err
	}
	if err := s.fill(f, it, c); err != nil {
		s.root.Remove(it.ID + envelopeSuffix)
		s.root.Remove(it.ID + messageSuffix)
		return err
	}
	return nil
}

func (s *store) fill(f *durable.File, it *Item, c *message.Content) error {
	n, err := io.Copy(f, c.NewReader())
	if err == nil && n != it.Size {
		err = fmt.Errorf("message of %d bytes gave %d", it.Size, n)
	}
	if err != nil {
		f.Abort()
		return fmt.Errorf("writing message %s: %w", it.ID, err)
	}
	// No rename: the message has no meaning before its envelope is there.
	if err := f.Sync(time.Time{}); err != nil {
		return err
	}
	return s.write(it)
}

// write replaces the envelope of it. When it returns nil the new one is
// durable; else the old or the new one is there, whole.
func (s *store) write(it *Item) error {
	b, err := it.encode()
	if err != nil {
		return err
	}
	name := it.ID + envelopeSuffix
	s.root.Remove(name + tmpSuffix) // left by a failed write
	f, err := durable.Create(s.root, name+tmpSuffix, 0o600, s.fault)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(time.Time{}); err != nil {
		return err
	}
	if err := f.Rename(name); err != nil {
		return err
	}
	return s.names.wait()
}

// read gives the item as its file has it.
func (s *store) read(id string) (*Item, error) {
	b, err := s.root.ReadFile(id + envelopeSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading an envelope: %w", err)
	}
	return decode(id, b)
}

// content opens the message of an item; the caller closes it.
func (s *store) content(id string) (*message.Content, error) {
	f, err := s.root.Open(id + messageSuffix)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("message of %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("opening a queued message: %w", err)
	}
	return message.FromFile(f)
}

// remove ends an item: the envelope first, so that a crash leaves an orphan
// message and no envelope without one. That the names are gone becomes durable
// soon after; until then a power cut would send the message again.
func (s *store) remove(id string) error {
	if err := s.root.Remove(id + envelopeSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing an envelope: %w", err)
	}
	s.names.soon()
	if err := s.root.Remove(id + messageSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing a message: %w", err)
	}
	return nil
}

// setAside takes a broken envelope out of the schedule for a human to look at.
// Its message stays.
func (s *store) setAside(id string) error {
	name := id + envelopeSuffix
	if err := s.root.Rename(name, name+brokenSuffix); err != nil {
		return fmt.Errorf("setting an envelope aside: %w", err)
	}
	return s.names.wait()
}

// listing is the directory sorted by what its names mean.
type listing struct {
	envelopes []string // ids
	messages  []string // ids
	aside     map[string]bool
	leftovers []string // whole names
}

func list(dir string) (listing, error) {
	l := listing{aside: make(map[string]bool)}
	d, err := os.Open(dir)
	if err != nil {
		return l, fmt.Errorf("reading the queue: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return l, fmt.Errorf("reading the queue: %w", err)
	}
	slices.Sort(names)
	for _, n := range names {
		if id, ok := strings.CutSuffix(n, envelopeSuffix); ok {
			l.envelopes = append(l.envelopes, id)
		} else if id, ok := strings.CutSuffix(n, messageSuffix); ok {
			l.messages = append(l.messages, id)
		} else if id, ok := strings.CutSuffix(n, envelopeSuffix+brokenSuffix); ok {
			l.aside[id] = true
		} else if strings.HasSuffix(n, tmpSuffix) {
			l.leftovers = append(l.leftovers, n)
		}
	}
	return l, nil
}

// recover puts the directory in order after a crash and calls found with each
// good item. It must run before anything else does, and under the lock.
func (s *store) recover(log *slog.Logger, found func(*Item)) error {
	l, err := list(s.dir)
	if err != nil {
		return err
	}
	for _, n := range l.leftovers {
		s.root.Remove(n)
	}
	kept := make(map[string]bool, len(l.envelopes))
	for _, id := range l.envelopes {
		kept[id] = true
		it, err := s.whole(id)
		switch {
		case err == nil:
			found(it)
		case errors.Is(err, ErrVersion):
			log.Error("leaving a queued message alone", "queue_id", id, "err", err)
		default:
			log.Error("setting a broken queue file aside", "queue_id", id, "file", filepath.Join(s.dir, id+envelopeSuffix+brokenSuffix), "err", err)
			if err := s.setAside(id); err != nil {
				return err
			}
		}
	}
	for _, id := range l.messages {
		if !kept[id] && !l.aside[id] {
			log.Info("removing a message that was never acknowledged", "queue_id", id)
			s.root.Remove(id + messageSuffix)
		}
	}
	return nil
}

// whole reads an item and makes sure that its message is there.
func (s *store) whole(id string) (*Item, error) {
	it, err := s.read(id)
	if err != nil {
		return nil, err
	}
	fi, err := s.root.Lstat(id + messageSuffix)
	if err != nil {
		return nil, fmt.Errorf("its message: %w", err)
	}
	if !fi.Mode().IsRegular() || fi.Size() != it.Size {
		return nil, fmt.Errorf("its message has %d bytes, not %d", fi.Size(), it.Size)
	}
	return it, nil
}
