package maildir

import (
	"slices"
	"sync"
)

// FolderEventKind says what happened to the folders of a Store.
type FolderEventKind uint8

const (
	// FolderCreated: Name is new.
	FolderCreated FolderEventKind = iota + 1
	// FolderDeleted: Name is gone.
	FolderDeleted
	// FolderRenamed: OldName is now Name, its children likewise.
	FolderRenamed
	// FolderSubscribed and FolderUnsubscribed: Name was added to or taken from
	// the subscriptions.
	FolderSubscribed
	FolderUnsubscribed
	// FolderAnnotated: Entries of Name have changed; an empty Name is the server.
	FolderAnnotated
)

// FolderEvent is one change of a Store's folders.
type FolderEvent struct {
	Kind          FolderEventKind
	Name, OldName string
	Entries       []string
}

// maxFolderEvents bounds what a slow FolderWatcher makes us keep.
const maxFolderEvents = 4096

// folderWatchers are those of a Store.
type folderWatchers struct {
	mu  sync.Mutex // guards the map, and the events of every watcher
	all map[*FolderWatcher]struct{}
}

// FolderWatcher follows the folders of one Store: what this process changes, not
// what other programs do to them. Its methods are safe for concurrent use.
type FolderWatcher struct {
	s      *Store
	notify func()
	events []FolderEvent
	lost   bool
}

// WatchFolders begins to follow. notify is called from any goroutine for each
// event, without locks held, and must not block. Close ends it.
func (s *Store) WatchFolders(notify func()) *FolderWatcher {
	w := &FolderWatcher{s: s, notify: notify}
	s.watching.mu.Lock()
	defer s.watching.mu.Unlock()
	if s.watching.all == nil {
		s.watching.all = map[*FolderWatcher]struct{}{}
	}
	s.watching.all[w] = struct{}{}
	return w
}

// Events returns what has happened since the last call, in order. lost tells that
// there was more than is kept, and some of it is missing.
func (w *FolderWatcher) Events() (events []FolderEvent, lost bool) {
	w.s.watching.mu.Lock()
	defer w.s.watching.mu.Unlock()
	events, lost = w.events, w.lost
	w.events, w.lost = nil, false
	return events, lost
}

// Close stops following.
func (w *FolderWatcher) Close() {
	w.s.watching.mu.Lock()
	defer w.s.watching.mu.Unlock()
	delete(w.s.watching.all, w)
}

// tellFolders tells the watchers. No lock is held.
func (s *Store) tellFolders(e FolderEvent) {
	s.watching.mu.Lock()
	watchers := make([]*FolderWatcher, 0, len(s.watching.all))
	for w := range s.watching.all {
		watchers = append(watchers, w)
		if len(w.events) >= maxFolderEvents {
			w.events, w.lost = nil, true
		}
		w.events = append(w.events, e)
	}
	s.watching.mu.Unlock()
	for _, w := range watchers {
		w.notify()
	}
}

// entriesOf names what changes are about.
func entriesOf(changes []AnnotationChange) []string {
	var entries []string
	for _, c := range changes {
		entries = append(entries, c.Entry)
	}
	slices.Sort(entries)
	return slices.Compact(entries)
}
