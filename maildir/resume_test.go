package maildir

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir/index"
)

// cachedStore opens a Store with a cache, as a start of the daemon does; stop ends
// both in order.
func cachedStore(t testing.TB, home, cacheDir string) (s *Store, stop func()) {
	t.Helper()
	x, err := index.Open(index.Options{Dir: cacheDir})
	if err != nil {
		t.Fatal(err)
	}
	all := NewStores(Options{Index: x, Hostname: "test"})
	done := false
	stop = func() {
		if done {
			return
		}
		done = true
		if err := all.Close(); err != nil {
			t.Error(err)
		}
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return all.Store(asuser.Self("alice", home), "~/Maildir"), stop
}

func openInbox(t testing.TB, s *Store) *Mailbox {
	t.Helper()
	m, err := s.Open(t.Context(), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func storeIn(t testing.TB, m *Mailbox, text string, keywords ...string) UID {
	t.Helper()
	uid, err := m.Append(t.Context(), message.FromBytes([]byte(text)), Delivery{Keywords: keywords})
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

// restartCase is something that happens in a folder, and what of the modseqs
// holds after a restart.
func TestModSeqsSurviveARestart(t *testing.T) {
	cases := []struct {
		name      string
		meanwhile func(t *testing.T, home string) // while nobody serves
		changed   []UID                           // that have a new modseq then
		gone      []UID
		anew      bool // nothing is remembered
	}{
		{name: "nothing happened"},
		{name: "a flag was changed", meanwhile: func(t *testing.T, home string) {
			renameOne(t, home, 2, ":2,F")
		}, changed: []UID{2}},
		{name: "a message was removed", meanwhile: func(t *testing.T, home string) {
			os.Remove(fileOf(t, home, 3))
		}, gone: []UID{3}},
		{name: "a keyword got another name", meanwhile: func(t *testing.T, home string) {
			write(t, home+"/Maildir", keywordsName, "0 other\n")
		}, changed: []UID{1}},
		{name: "the cache was deleted", meanwhile: func(t *testing.T, home string) {
			os.RemoveAll(home + "/cache")
		}, changed: []UID{1, 2, 3, 5}, anew: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			s, stop := cachedStore(t, home, home+"/cache")
			m := openInbox(t, s)
			for range 5 {
				keywords := []string{}
				if m.Len() == 0 {
					keywords = append(keywords, "label")
				}
				storeIn(t, m, "Subject: x\n\ny\n", keywords...)
			}
			early := m.HighestModSeq()
			if _, _, err := m.StoreFlags(t.Context(), []UID{4}, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Expunge(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			before, highest := m.Messages(), m.HighestModSeq()
			m.Close()
			stop()
			if c.meanwhile != nil {
				c.meanwhile(t, home)
			}

			s, _ = cachedStore(t, home, home+"/cache")
			m = openInbox(t, s)
			defer m.Close()
			for _, old := range before {
				now := m.Lookup([]UID{old.UID}, nil)
				switch {
				case slices.Contains(c.gone, old.UID):
					if len(now) > 0 {
						t.Errorf("message %d is there", old.UID)
					}
				case len(now) == 0:
					t.Errorf("message %d is gone", old.UID)
				case slices.Contains(c.changed, old.UID):
					if now[0].ModSeq <= highest {
						t.Errorf("message %d has modseq %d, not above %d", old.UID, now[0].ModSeq, highest)
					}
				case now[0].ModSeq != old.ModSeq:
					t.Errorf("message %d has modseq %d, had %d", old.UID, now[0].ModSeq, old.ModSeq)
				}
			}
			if c.meanwhile == nil && m.HighestModSeq() != highest {
				t.Errorf("HIGHESTMODSEQ is %d, was %d", m.HighestModSeq(), highest)
			}
			uids, ok := m.ExpungedSince(early)
			if c.anew {
				if ok {
					t.Error("expunges are remembered without a cache")
				}
				return
			}
			if want := append([]UID{4}, c.gone...); !ok || !slices.Equal(uids, want) {
				t.Errorf("expunged since %d: %v, %v; want %v", early, uids, ok, want)
			}
		})
	}
}

// fileOf finds the file of a message by its place in the uidlist.
func fileOf(t testing.TB, home string, uid UID) string {
	t.Helper()
	s := NewStores(Options{NoInotify: true}).Store(asuser.Self("alice", home), "~/Maildir")
	m := openInbox(t, s)
	defer m.Close()
	in, name, err := m.guess(uid)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(home, "Maildir", subNames[in], name)
}

func renameOne(t testing.TB, home string, uid UID, info string) {
	t.Helper()
	old := fileOf(t, home, uid)
	base := baseOf(filepath.Base(old))
	if err := os.Rename(old, filepath.Join(home, "Maildir", "cur", base+info)); err != nil {
		t.Fatal(err)
	}
}

func TestModSeqsSurviveIdleTime(t *testing.T) {
	home := t.TempDir()
	x, err := index.Open(index.Options{Dir: home + "/cache"})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	all := NewStores(Options{Index: x, IdleFor: time.Nanosecond})
	defer all.Close()
	s := all.Store(asuser.Self("alice", home), "~/Maildir")
	m := openInbox(t, s)
	for range 3 {
		storeIn(t, m, "Subject: x\n\ny\n")
	}
	before := m.Messages()
	for round := range 20 { // at times the old state is still being written
		m.Close()
		for inMemory(all, m) {
			time.Sleep(time.Millisecond)
		}
		m = openInbox(t, s)
		if now := m.Messages(); !slices.EqualFunc(now, before, func(a, b Message) bool { return a.UID == b.UID && a.ModSeq == b.ModSeq }) {
			t.Fatalf("round %d: %+v, were %+v", round, now, before)
		}
	}
	m.Close()
}

func inMemory(s *Stores, m *Mailbox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.store.open[m.dir] == m
}
