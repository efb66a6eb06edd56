package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/durable"
	"svc.plus/mailsrvd/maildir/index"
)

// Options are the settings of all Stores of a process. The zero value works.
type Options struct {
	// Separator is the hierarchy separator that clients see, '.' (default) or
	// '/'. Clients cache names: keep what the server before had.
	Separator byte
	// Hostname stands in the names of new message files; default: the host's.
	Hostname string
	// Logger gets the events that nobody asked for (a stale lock removed, a
	// corrupt list moved aside); nil is silence.
	Logger *slog.Logger
	// Registerer gets the metrics mailsrvd_maildir_*; nil is none.
	Registerer prometheus.Registerer
	// Quota is asked before a message of size bytes is stored; an error, which
	// should wrap ErrQuota, refuses it. The kernel's own quota needs no setting.
	Quota func(ctx context.Context, owner asuser.Owner, path string, size int64) error
	// Limits gives the quota of a Maildir, which is kept in its file maildirsize;
	// nil is none.
	Limits QuotaLimits
	// IdleFor is how long the state of a folder is kept in memory after its last
	// user has closed it (default 5 minutes), and IdleMessages how many messages
	// all such folders may have together (default 1,000,000, about 120 MB).
	IdleFor      time.Duration
	IdleMessages int
	// LockWait bounds the wait for a uidlist that another program has locked,
	// where a UID must be given (Append, Copy; default 125 seconds, Dovecot's
	// staleness limit and a bit). Deliveries never wait for it.
	LockWait time.Duration
	// PollEvery is how often directories are looked at that inotify cannot watch
	// (default 5 seconds); NoInotify polls all.
	PollEvery time.Duration
	NoInotify bool
	// Index is the cache of what is in messages; nil is none. It must be closed
	// after the Stores.
	Index *index.Index
	// Fault fails steps on purpose; for tests.
	Fault durable.Fault

	clock       func() time.Time
	readdirStep int // see listing.step
}

// Check reports every setting that cannot work.
func (o Options) Check(context.Context) error {
	var errs []error
	if o.Separator != 0 && o.Separator != '.' && o.Separator != '/' {
		errs = append(errs, fmt.Errorf("mailbox separator %q: must be '.' or '/'", o.Separator))
	}
	if o.IdleFor < 0 || o.IdleMessages < 0 || o.LockWait < 0 || o.PollEvery < 0 {
		errs = append(errs, errors.New("mail storage: durations and limits must not be negative"))
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.Separator == 0 {
		o.Separator = '.'
	}
	if o.Hostname == "" {
		o.Hostname = lockHost()
	}
	o.Hostname = hostPart(o.Hostname)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.clock == nil {
		o.clock = time.Now
	}
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{{&o.IdleFor, 5 * time.Minute}, {&o.LockWait, 125 * time.Second}, {&o.PollEvery, 5 * time.Second}} {
		if *d.at == 0 {
			*d.at = d.def
		}
	}
	if o.IdleMessages == 0 {
		o.IdleMessages = 1_000_000
	}
	return o
}

// Stores holds all open mail storage of the process, one Store for each owner
// and path, so that sessions and deliveries share the state of a folder. All
// methods are safe for concurrent use.
type Stores struct {
	opt     Options
	log     *slog.Logger
	metrics *metrics
	notify  *notifier
	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	work    sync.WaitGroup // goroutines that write for an open Mailbox
	infos   infoCache
	kept    keeper

	mu     sync.Mutex // guards what follows, and the references of every Mailbox; taken after Mailbox.mu
	stores map[storeKey]*Store
	idle   idleList
	nextID uint64
	closed bool
}

type storeKey struct {
	uid  int
	path string
}

// NewStores makes an empty set. Close ends it.
func NewStores(o Options) *Stores {
	o = o.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	s := &Stores{opt: o, log: o.Logger, ctx: ctx, stop: stop, stores: map[storeKey]*Store{}}
	s.metrics = newMetrics(o.Registerer)
	s.notify = newNotifier(s)
	return s
}

// Store returns the Store of an owner's Maildir. path may begin with "~/", the
// owner's home. Nothing is opened or made.
func (s *Stores) Store(owner asuser.Owner, p string) *Store {
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		p = path.Join(owner.Home, rest)
	}
	key := storeKey{owner.UID, path.Clean(p)}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stores[key]
	if st == nil {
		st = &Store{all: s, owner: owner, path: key.path, sep: s.opt.Separator, open: map[string]*Mailbox{}}
		s.stores[key] = st
	}
	return st
}

// Close forgets all state and stops the background work; UIDs that open
// Mailboxes are about to give are written first. Open Mailboxes must not be
// used any more.
func (s *Stores) Close() error {
	s.mu.Lock()
	s.idle.drop(s, 0)
	for _, st := range s.stores {
		for _, m := range st.open {
			s.retire(m)
		}
	}
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.work.Wait()
	err := s.notify.close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.mu.Lock()
	stores := slices.Collect(maps.Values(s.stores))
	s.mu.Unlock()
	for _, st := range stores {
		st.removeLockSource(ctx)
	}
	s.kept.close()
	return err
}

// begin announces background work; false after Close. work.Done ends it.
func (s *Stores) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Add(1)
	}
	return !s.closed
}

// Store is one owner's Maildir. All methods are safe for concurrent use.
type Store struct {
	all   *Stores
	owner asuser.Owner
	path  string
	sep   byte

	// renaming is held for reading by work on a folder that is found by its name,
	// and for writing while folders are renamed or deleted.
	renaming sync.RWMutex

	// source is the file in tmp/ that our locks link to, "" if there is none yet.
	sourceMu sync.Mutex // guards source and sourceID; held while the file is made
	source   string
	sourceID inode

	quota quotaState

	validities sync.Mutex // held while a UIDVALIDITY is taken

	watching folderWatchers

	// open holds the Mailboxes in memory by directory name; all.mu guards it.
	open map[string]*Mailbox
}

// Separator is the hierarchy separator of this Store's names.
func (s *Store) Separator() byte { return s.sep }

// Owner is the owner as whom all work is done.
func (s *Store) Owner() asuser.Owner { return s.owner }

// Path is the absolute path of the Maildir.
func (s *Store) Path() string { return s.path }

// Prepare makes the Maildir with cur, new and tmp where they are missing, and the
// directories above it where the owner may.
func (s *Store) Prepare(ctx context.Context) error {
	err := s.withRoot(ctx, (*folder).openSubs)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := asuser.Do(ctx, s.owner, s.makeMaildir); err != nil {
		return fmt.Errorf("making the Maildir: %w", err)
	}
	return s.withRoot(ctx, (*folder).openSubs)
}

// makeMaildir makes the Maildir itself, and the directories above it where the
// owner may; durable on return.
func (s *Store) makeMaildir() error {
	err := os.Mkdir(s.path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(s.path, 0o700)
	}
	if err != nil {
		return err
	}
	parent, err := os.Open(path.Dir(s.path))
	if errors.Is(err, fs.ErrPermission) {
		return nil // a home that may be entered but not read: nothing more can be done
	}
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// resolve finds the directory of an existing folder, "" for INBOX.
func (s *Store) resolve(f *folder, name string) (string, error) {
	dir, err := s.dirOf(name)
	if err != nil || dir == "" {
		return dir, err
	}
	if f.isDir(dir) {
		return dir, nil
	}
	if raw, ok := s.rawDirOf(name); ok && f.isDir(raw) {
		return raw, nil
	}
	return "", fmt.Errorf("%q: %w", name, ErrNotFound)
}
