package maildir

import (
	"slices"
	"sync/atomic"
	"testing"
)

func kinds(list []Change) (kinds []ChangeKind) {
	for _, c := range list {
		kinds = append(kinds, c.Kind)
	}
	return kinds
}

func TestChangesComeInOrderAndOnce(t *testing.T) {
	m, _ := filled(t, Options{NoInotify: true}, 2)
	w, other := m.Watch(nil), m.Watch(nil)
	defer w.Close()
	defer other.Close()
	w.Changes()
	if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Deleted, nil, StoreOptions{By: w}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Append(t.Context(), content("x"), Delivery{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Expunge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := kinds(w.Changes()); !slices.Equal(got, []ChangeKind{Arrived, Expunged}) { // not its own flags
		t.Errorf("by itself: %v", got)
	}
	if got := kinds(other.Changes()); !slices.Equal(got, []ChangeKind{FlagsChanged, Arrived, Expunged}) {
		t.Errorf("the other: %v", got)
	}
	if got := w.Changes(); len(got) != 0 {
		t.Errorf("again: %v", got)
	}
	if len(m.log.entries) != 0 {
		t.Errorf("%d changes kept that all have read", len(m.log.entries))
	}
}

func TestSnapshotAndChangesFitTogether(t *testing.T) {
	m, _ := filled(t, Options{NoInotify: true}, 1)
	w := m.Watch(nil)
	defer w.Close()
	if _, err := m.Append(t.Context(), content("x"), Delivery{}); err != nil {
		t.Fatal(err)
	}
	if got := uidsOf(w.Snapshot()); !slices.Equal(got, []UID{1, 2}) {
		t.Errorf("%v", got)
	}
	if got := w.Changes(); len(got) != 0 {
		t.Errorf("reported what the snapshot has: %v", got)
	}
}

func TestSlowWatcherIsReset(t *testing.T) {
	m, _ := filled(t, Options{NoInotify: true}, 1)
	slow, quick := m.Watch(nil), m.Watch(nil)
	defer slow.Close()
	defer quick.Close()
	m.mu.Lock()
	for range maxChanges + 1 {
		m.logChange(Change{Kind: FlagsChanged, UID: 1}, nil)
	}
	m.mu.Unlock()
	if got := slow.Changes(); len(got) != 1 || got[0].Kind != Reset {
		t.Errorf("%d changes", len(got))
	}
	if got := slow.Changes(); len(got) != 0 {
		t.Errorf("after the reset: %v", got)
	}
	if len(m.log.entries) > maxChanges {
		t.Errorf("%d entries", len(m.log.entries))
	}
}

func TestNotifyIsCalledOncePerReading(t *testing.T) {
	m, _ := filled(t, Options{NoInotify: true}, 1)
	var calls atomic.Int32
	w := m.Watch(func() { calls.Add(1) })
	defer w.Close()
	store := func(op FlagOp) {
		if _, _, err := m.StoreFlags(t.Context(), []UID{1}, op, Seen, nil, StoreOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	store(AddFlags)
	store(RemoveFlags)
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls before Changes", n)
	}
	w.Changes()
	store(AddFlags)
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls", n)
	}
}

func TestWatchersThatComeAndGoLeaveTheFolderFollowed(t *testing.T) {
	s, dir := testStore(t, Options{})
	m := open(t, s, "INBOX")
	done := make(chan bool)
	for range 4 {
		go func() {
			for range 50 {
				m.Watch(nil).Close()
			}
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
	w := m.Watch(nil)
	defer w.Close()
	write(t, dir, "new/1.h", "x")
	await(t, w, Arrived)
}

func TestWatchOfARemovedFolderEndsAtOnce(t *testing.T) {
	s, _ := testStore(t, Options{})
	if err := s.Create(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	m := open(t, s, "A")
	if err := s.Delete(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	w := m.Watch(nil)
	defer w.Close()
	await(t, w, Removed)
}

func TestIdleFoldersAreKeptAndBounded(t *testing.T) {
	s, _ := testStore(t, Options{IdleMessages: 3})
	for _, name := range []string{"A", "B", "C"} {
		if err := s.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		deliver(t, s, name, "1", "2")
	}
	touch := func(name string) *Mailbox {
		m, err := s.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		return m
	}
	a := touch("A")
	if touch("A") != a {
		t.Error("an idle folder was read again")
	}
	b := touch("B") // 4 messages are too many: A goes
	if touch("B") != b {
		t.Error("B was read again")
	}
	if touch("A") == a {
		t.Error("A is kept beyond the limit")
	}
}

func TestIdleFolderSeesWhatChangedMeanwhile(t *testing.T) {
	s, dir := testStore(t, Options{})
	m, err := s.Open(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	deliver(t, s, "INBOX", "x")
	write(t, dir, "cur/1.h:2,S", "y")
	if again := open(t, s, "INBOX"); again != m || again.Len() != 2 {
		t.Errorf("%q", state(again))
	}
}
