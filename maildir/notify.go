package maildir

import (
	"context"
	"errors"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
)

// Foreign changes of folders that sessions follow arrive by inotify: one
// instance for the process (the kernel counts instances per user), the watches
// added as the owner of the Maildir. Our own renames cause events too. So an
// event is no reason to read 100,000 names: the file it names is compared with
// memory (news.go), and only what stays unclear makes the directory be read.
//
// Where inotify cannot help (network file systems, no watch left) the
// directories' times are looked at every Options.PollEvery.

const (
	// gather is how long events of a folder are collected before they are
	// looked at: a delivery by another program is two of them.
	gather = 2 * time.Millisecond
	// lookAgain is when a folder with files that could not get their UID is looked
	// at again.
	lookAgain = 2 * time.Second
	// maxNamed is how many named files are compared one by one.
	maxNamed = 512
)

// notifier follows the folders that have watchers.
type notifier struct {
	all     *Stores
	inotify *inotify // nil: everything is polled
	done    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	points map[string]watchPoint
	paths  map[*Mailbox][]string
	polled map[*Mailbox]struct{}
	news   map[*Mailbox]*folderNews
	// waiting are the folders that later looks at.
	waiting map[*Mailbox]struct{}
}

// watchPoint is a directory that inotify watches.
type watchPoint struct {
	m  *Mailbox
	in subdir
}

// folderNews are the events of one folder that nobody has looked at yet.
type folderNews struct {
	names map[namedFile]bool // whether the file was there after the last event
	all   bool               // too many, or not told apart
	begun bool               // following began: what came before is looked for
}

type namedFile struct {
	in   subdir
	name string
}

func newNotifier(s *Stores) *notifier {
	n := &notifier{
		all: s, points: map[string]watchPoint{}, paths: map[*Mailbox][]string{},
		polled: map[*Mailbox]struct{}{}, news: map[*Mailbox]*folderNews{},
		waiting: map[*Mailbox]struct{}{},
	}
	if !s.opt.NoInotify {
		w, err := newInotify()
		if err != nil {
			s.log.Warn("no inotify: looking for changes of other programs by the clock", "every", s.opt.PollEvery, "err", err)
		} else {
			n.inotify = w
			n.done.Go(func() { w.listen(n.event, n.lost) })
		}
	}
	n.done.Go(n.poll)
	return n
}

// close ends both goroutines; Stores.ctx is done.
func (n *notifier) close() error {
	var err error
	if n.inotify != nil {
		err = n.inotify.close()
	}
	n.done.Wait()
	return err
}

// follow makes us follow a folder while it has watchers, and a moment longer where
// that spares the next session a reading (linger). It is called after the first
// came and after the last went, and decides by what is true now: the two may
// overtake each other.
func (n *notifier) follow(m *Mailbox) {
	m.following.Lock()
	defer m.following.Unlock()
	m.mu.Lock()
	gone := m.err != nil
	want := len(m.watchers) > 0 && !gone
	m.mu.Unlock()
	switch {
	case want && !m.followed:
		n.watch(m)
	case !want && m.followed:
		if !gone && m.unsettled() && n.linger(m) {
			return
		}
		n.unwatch(m)
	}
	m.followed = want
}

// unsettled reports whether memory has relied on inotify so short a time ago that
// an event may still be on its way, and is not to be read anew anyway.
func (m *Mailbox) unsettled() bool {
	return !m.force.Load() && m.relied.Load() > m.store.all.opt.clock().Add(-settleAfter).UnixNano()
}

// linger follows a folder without watchers until memory needs no more events to be
// sure of itself, so that a client that comes back at once, as many do, finds it
// ready. Meanwhile the Mailbox is in use. m.following is held.
func (n *notifier) linger(m *Mailbox) bool {
	if m.lingering {
		return true
	}
	if !n.all.begin() {
		return false
	}
	m.lingering = true
	m.hold()
	go func() {
		defer n.all.work.Done()
		defer m.Close()
		tick := time.NewTicker(settleAfter)
		defer tick.Stop()
		for lingers := true; lingers; {
			select {
			case <-tick.C:
				lingers = n.lingersOn(m)
			case <-n.all.ctx.Done():
				return
			}
		}
	}()
	return true
}

// lingersOn ends lingering if it is time.
func (n *notifier) lingersOn(m *Mailbox) bool {
	m.following.Lock()
	defer m.following.Unlock()
	m.mu.Lock()
	want := len(m.watchers) > 0 && m.err == nil
	m.mu.Unlock()
	if !want && m.followed && m.unsettled() {
		return true
	}
	m.lingering = false
	if !want && m.followed {
		n.unwatch(m)
		m.followed = false
	}
	return false
}

// watch begins to follow a folder. What has changed since it was read last is
// looked for at once.
func (n *notifier) watch(m *Mailbox) {
	dirs := m.messageDirs()
	ok := n.inotify != nil && n.addWatches(m, dirs)
	n.mu.Lock()
	if !ok {
		n.polled[m] = struct{}{}
	}
	n.mu.Unlock()
	m.watched.Store(ok)
	n.note(m, func(f *folderNews) { f.begun = true })
}

// messageDirs are the paths of new/ and cur/.
func (m *Mailbox) messageDirs() [2]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	base := path.Join(m.store.path, m.dir)
	return [2]string{path.Join(base, "new"), path.Join(base, "cur")}
}

// addWatches asks the kernel, as the owner. The points are entered before, so
// that the first event finds them.
func (n *notifier) addWatches(m *Mailbox, dirs [2]string) bool {
	n.mu.Lock()
	for in, dir := range dirs {
		n.points[dir] = watchPoint{m, subdir(in)}
	}
	n.paths[m] = dirs[:]
	n.mu.Unlock()
	err := asuser.Do(n.all.ctx, m.store.owner, func() error {
		for _, dir := range dirs {
			if remote(dir) {
				return errRemote
			}
			if err := n.inotify.add(dir); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return true
	}
	if !errors.Is(err, errRemote) {
		n.all.log.Warn("cannot watch a mailbox: looking by the clock", "user", m.store.owner.Name, "mailbox", m.Name(), "err", err)
	}
	n.removeWatches(m)
	return false
}

// errRemote means that other hosts can change the directory unseen.
var errRemote = errors.New("network file system")

// remote reports whether a directory is on a file system of which inotify does
// not see all changes.
func remote(dir string) bool {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return false
	}
	switch int64(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC,
		unix.FUSE_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.V9FS_MAGIC:
		return true
	}
	return false
}

func (n *notifier) removeWatches(m *Mailbox) {
	n.mu.Lock()
	dirs := n.paths[m]
	delete(n.paths, m)
	for _, dir := range dirs {
		delete(n.points, dir)
	}
	n.mu.Unlock()
	for _, dir := range dirs {
		n.inotify.remove(dir)
	}
}

// unwatch ends following. What nobody will look at any more, the next Sync must
// read: events that came, and those that may be on their way about the moment in
// which memory relied on them. A session that changed nothing leaves no such work.
func (n *notifier) unwatch(m *Mailbox) {
	m.watched.Store(false)
	n.mu.Lock()
	delete(n.polled, m)
	f := n.news[m]
	delete(n.news, m)
	if f != nil && (f.all || len(f.names) > 0) || m.unsettled() {
		m.force.Store(true)
	}
	_, have := n.paths[m]
	n.mu.Unlock()
	if have {
		n.removeWatches(m)
	}
}

// rewatch follows a folder under its new name.
func (n *notifier) rewatch(m *Mailbox) {
	m.following.Lock()
	defer m.following.Unlock()
	if m.followed {
		n.unwatch(m)
		n.watch(m)
	}
}

// lost makes all watched folders be read.
func (n *notifier) lost(err error) {
	n.all.log.Warn("inotify lost events: reading all watched mailboxes", "err", err)
	n.mu.Lock()
	watched := make([]*Mailbox, 0, len(n.paths))
	for m := range n.paths {
		watched = append(watched, m)
	}
	n.mu.Unlock()
	for _, m := range watched {
		m.force.Store(true)
		n.note(m, func(f *folderNews) { f.all = true })
	}
}

// event notes that a name has come or gone, or, without one, that the directory has.
func (n *notifier) event(dir, name string, there bool) {
	n.mu.Lock()
	point, ok := n.points[dir]
	n.mu.Unlock()
	switch {
	case !ok: // not any more
	case name == "":
		n.note(point.m, func(f *folderNews) { f.all = true })
	default:
		n.note(point.m, func(f *folderNews) { f.names[namedFile{point.in, name}] = there })
	}
}

// note adds to a folder's news; the first of them starts the one who looks.
func (n *notifier) note(m *Mailbox, add func(*folderNews)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.news[m]
	if f == nil {
		if !n.all.begin() {
			return
		}
		f = &folderNews{names: map[namedFile]bool{}}
		n.news[m] = f
		time.AfterFunc(gather, func() {
			defer n.all.work.Done()
			n.look(m)
		})
	}
	if add(f); len(f.names) > maxNamed {
		f.all = true
	}
}

// later looks at a followed folder again in a while: a file waits for its UID.
func (n *notifier) later(m *Mailbox) {
	n.mu.Lock()
	_, waits := n.waiting[m]
	n.waiting[m] = struct{}{}
	n.mu.Unlock()
	if waits || !n.all.begin() {
		return
	}
	timer := time.NewTimer(lookAgain)
	go func() {
		defer n.all.work.Done()
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-n.all.ctx.Done():
			return
		}
		n.mu.Lock()
		delete(n.waiting, m)
		n.mu.Unlock()
		m.mu.Lock()
		followed := len(m.watchers) > 0 && m.err == nil
		m.mu.Unlock()
		if followed {
			n.note(m, func(f *folderNews) { f.all = true })
		}
	}()
}

// look compares a folder's news with memory and reads what differs.
func (n *notifier) look(m *Mailbox) {
	n.mu.Lock()
	f := n.news[m]
	delete(n.news, m)
	n.mu.Unlock()
	if f == nil {
		return // not followed any more
	}
	ctx, cancel := context.WithTimeout(n.all.ctx, time.Minute)
	defer cancel()
	if err := m.syncNews(ctx, f); err != nil && !errors.Is(err, ErrRemoved) && n.all.ctx.Err() == nil {
		n.all.log.Warn("looking for changes of other programs", "user", m.store.owner.Name, "err", err)
	}
}

// poll looks at what inotify does not watch.
func (n *notifier) poll() {
	tick := time.NewTicker(n.all.opt.PollEvery)
	defer tick.Stop()
	for {
		select {
		case <-n.all.ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		list := make([]*Mailbox, 0, len(n.polled))
		for m := range n.polled {
			list = append(list, m)
		}
		n.mu.Unlock()
		for _, m := range list {
			n.note(m, func(f *folderNews) { f.all = true })
		}
	}
}
