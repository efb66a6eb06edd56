package maildir

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/asuser"
)

func TestOptionsCheckNamesEveryProblem(t *testing.T) {
	if err := (Options{}).Check(t.Context()); err != nil {
		t.Error(err)
	}
	err := Options{Separator: '\\', LockWait: -1}.Check(t.Context())
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 2 {
		t.Errorf("%v", err)
	}
}

func TestStoreIsSharedByOwnerAndPath(t *testing.T) {
	stores := NewStores(Options{})
	defer stores.Close()
	alice, bob := asuser.Owner{Name: "alice", UID: 1001, GID: 1001, Home: "/home/alice"}, asuser.Owner{Name: "bob", UID: 1002, GID: 1002, Home: "/home/bob"}
	a := stores.Store(alice, "~/Maildir")
	if a != stores.Store(alice, "/home/alice/Maildir/") || a.Path() != "/home/alice/Maildir" {
		t.Error("one Maildir has two Stores")
	}
	if a == stores.Store(bob, "/home/alice/Maildir") {
		t.Error("bob works as alice")
	}
	if a.Owner() != alice || a.Separator() != '.' {
		t.Errorf("%+v %c", a.Owner(), a.Separator())
	}
}

func TestPrepareMakesWhatIsMissing(t *testing.T) {
	home := t.TempDir()
	stores := NewStores(Options{})
	defer stores.Close()
	s := stores.Store(asuser.Self("alice", home), "~/mail/alice/Maildir")
	for range 2 {
		if err := s.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if fi, err := os.Stat(filepath.Join(s.Path(), sub)); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", sub, fi, err)
		}
	}
	write(t, home, "file", "")
	if err := stores.Store(asuser.Self("alice", home), "~/file/Maildir").Prepare(t.Context()); err == nil {
		t.Error("made a Maildir below a file")
	}
}

func TestNothingWorksAfterClose(t *testing.T) {
	s, _ := testStore(t, Options{})
	m := open(t, s, "INBOX")
	if err := s.all.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "A"); err != nil { // needs no state in memory
		t.Error(err)
	}
	if _, err := s.Open(t.Context(), "A"); !errors.Is(err, ErrClosed) {
		t.Errorf("Open: %v", err)
	}
	if _, err := m.Append(t.Context(), content("x"), Delivery{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Append: %v", err)
	}
}

func TestIdleFoldersExpire(t *testing.T) {
	s, _ := testStore(t, Options{IdleFor: 30 * time.Millisecond})
	m, err := s.Open(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	for range 200 {
		s.all.mu.Lock()
		n := len(s.open)
		s.all.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("kept for ever")
}

func TestLostEventsMakeEverythingBeRead(t *testing.T) {
	s, dir := testStore(t, Options{})
	m := open(t, s, "INBOX")
	w := m.Watch(nil)
	defer w.Close()
	if !m.watched.Load() {
		t.Skip("missing: inotify")
	}
	time.Sleep(50 * time.Millisecond)
	// A change of which no event comes and no time tells: as if the queue ran over.
	n := s.all.notify
	n.removeWatches(m)
	write(t, dir, "cur/1.h:2,S", "x")
	m.lockDisk(t.Context())
	err := m.do(t.Context(), func(f *folder) error { return f.times(&m.seen.times) })
	m.unlockDisk()
	if err != nil || !n.addWatches(m, m.messageDirs()) {
		t.Fatal("cannot watch again", err)
	}
	n.lost(errOverflow)
	await(t, w, Arrived)
}

func TestMetricsCount(t *testing.T) {
	r := prometheus.NewRegistry()
	s, _ := testStore(t, Options{Registerer: r})
	deliver(t, s, "INBOX", "a", "b")
	m := open(t, s, "INBOX")
	if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Expunge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			got[f.GetName()] += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"mailsrvd_maildir_stored_total": 2, "mailsrvd_maildir_uids_assigned_total": 2, "mailsrvd_maildir_expunged_total": 1, "mailsrvd_maildir_open_mailboxes": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// The folder goes away, by another program, while we have its uidlist locked.
func TestFolderRemovedWhileWeHoldItsLock(t *testing.T) {
	armed := false
	var dir string
	o := Options{NoInotify: true, Fault: func(step, name string) error {
		if armed && step == "write" && name == listName {
			armed = false
			return errors.Join(os.Rename(filepath.Join(dir, ".A"), filepath.Join(dir, "away")), errors.New("gone"))
		}
		return nil
	}}
	s, d := testStore(t, o)
	dir = d
	if err := s.Create(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	m := open(t, s, "A")
	armed = true
	if _, err := m.Append(t.Context(), content("x"), Delivery{}); err == nil {
		t.Error("no error")
	}
	if err := m.Sync(t.Context()); !errors.Is(err, ErrRemoved) {
		t.Errorf("Sync: %v", err)
	}
	heldLocks.Lock()
	defer heldLocks.Unlock()
	for key := range heldLocks.m {
		t.Errorf("still held: %+v", key)
	}
}
