package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// openDirs counts this process's descriptors below a directory.
func openDirs(t *testing.T, dir string) (n int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("missing: /proc")
	}
	for _, e := range list {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if rel, err := filepath.Rel(dir, to); err == nil && filepath.IsLocal(rel) {
			n++
		}
	}
	return n
}

func TestAVisitUsesWhatTheLastOneOpened(t *testing.T) {
	s, dir := testStore(t, Options{NoInotify: true})
	m, _ := filledIn(t, s, dir, 3)
	for uid := UID(1); uid <= 3; uid++ {
		subject(t, m, uid)
	}
	if n := len(s.all.kept.at[keptKey{s, ""}]); n != 1 {
		t.Errorf("%d folders are kept after visits one by one", n)
	}
	before := openDirs(t, dir)
	for range 100 {
		subject(t, m, 2)
	}
	if n := openDirs(t, dir); n != before {
		t.Errorf("descriptors grew from %d to %d", before, n)
	}
}

// filledIn puts n messages into INBOX and opens it.
func filledIn(t *testing.T, s *Store, dir string, n int) (*Mailbox, string) {
	t.Helper()
	for i := range n {
		write(t, dir, fmt.Sprintf("cur/%d.h:2,", i+1), fmt.Sprintf("Subject: %d\n\n", i+1))
	}
	return open(t, s, "INBOX"), dir
}

// What stands at the path counts, not what was opened before.
func TestAReplacedDirectoryIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name    string
		replace func(dir string) error
		folder  string
		want    []string // subjects afterwards
	}{
		{"the Maildir by another", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".old"), copyTree(dir+".old", dir, "cur/1.h:2,"))
		}, "INBOX", []string{"2", "3"}},
		{"the Maildir by a copy of it", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+".old"), copyTree(dir+".old", dir, ""))
		}, "INBOX", []string{"1", "2", "3"}},
		{"cur by another", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "cur"), filepath.Join(dir, "old")), copyTree(filepath.Join(dir, "old"), filepath.Join(dir, "cur"), "2.h:2,"))
		}, "INBOX", []string{"1", "3"}},
		{"cur by a link", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "cur"), filepath.Join(dir, "old")), os.Symlink("old", filepath.Join(dir, "cur")))
		}, "INBOX", nil},
		{"the folder by another", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, ".A"), filepath.Join(dir, "old")), copyTree(filepath.Join(dir, "old"), filepath.Join(dir, ".A"), "cur/3.h:2,"))
		}, "A", []string{"1", "2"}},
		{"the folder by a link", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, ".A"), filepath.Join(dir, "old")), os.Symlink("old", filepath.Join(dir, ".A")))
		}, "A", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, dir := testStore(t, Options{NoInotify: true})
			if err := s.Create(t.Context(), "A"); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				write(t, dir, fmt.Sprintf("cur/%d.h:2,", i+1), fmt.Sprintf("Subject: %d\n\n", i+1))
				write(t, dir, fmt.Sprintf(".A/cur/%d.h:2,", i+1), fmt.Sprintf("Subject: %d\n\n", i+1))
			}
			m := open(t, s, c.folder)
			for uid := UID(1); uid <= 3; uid++ {
				subject(t, m, uid)
			}
			if err := c.replace(dir); err != nil {
				t.Fatal(err)
			}
			// The old state may end with ErrRemoved; opened anew it is what is there.
			if f, err := m.OpenMessage(t.Context(), 2); err == nil {
				if c.want == nil {
					t.Error("a message was read through a link")
				}
				f.Close()
			}
			again, err := s.Open(t.Context(), c.folder)
			if err != nil {
				if c.want != nil {
					t.Fatal(err)
				}
				return
			}
			defer again.Close()
			var got []string
			for _, msg := range again.Messages() {
				if f, err := again.OpenMessage(t.Context(), msg.UID); err == nil {
					f.Close()
					got = append(got, subject(t, again, msg.UID))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("messages %q, want %q", got, c.want)
			}
		})
	}
}

// copyTree copies a directory, one file left out.
func copyTree(from, to, without string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	if without == "" {
		return nil
	}
	return os.Remove(filepath.Join(to, without))
}

// Mail goes where readers look now, not into the directory that was there before.
func TestDeliveryAfterTheMaildirWasReplaced(t *testing.T) {
	for _, sub := range []string{".", "new", "tmp"} {
		s, dir := testStore(t, Options{NoInotify: true})
		deliver(t, s, "INBOX", "before")
		place := filepath.Join(dir, sub)
		if err := errors.Join(os.Rename(place, filepath.Join(filepath.Dir(dir), "old")), os.Mkdir(place, 0o700)); err != nil {
			t.Fatal(err)
		}
		deliver(t, s, "INBOX", "after")
		list := files(t, filepath.Join(dir, "new"))
		if want := map[string]int{".": 1, "new": 1, "tmp": 2}[sub]; len(list) != want {
			t.Errorf("%s replaced: new has %q", sub, list)
		}
	}
}

func TestDeliveryWhenTmpIsGone(t *testing.T) {
	s, dir := testStore(t, Options{NoInotify: true})
	for range 3 {
		deliver(t, s, "INBOX", "x")
		if err := os.RemoveAll(filepath.Join(dir, "tmp")); err != nil {
			t.Fatal(err)
		}
	}
	if list := files(t, filepath.Join(dir, "new")); len(list) != 3 {
		t.Errorf("new has %q", list)
	}
}

// A chmod between two visits rules the next one.
func TestKeptFolderLearnsNewModes(t *testing.T) {
	s, dir := testStore(t, Options{NoInotify: true})
	deliver(t, s, "INBOX", "a")
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	got := ""
	err := s.withRoot(t.Context(), func(f *folder) error {
		got = fmt.Sprintf("%o %o", f.fileMode, f.dirMode)
		return nil
	})
	if err != nil || got != "640 750" {
		t.Errorf("modes %s, %v", got, err)
	}
}

func TestFewFoldersAreKept(t *testing.T) {
	s, dir := testStore(t, Options{NoInotify: true})
	k := &s.all.kept
	var keys []keptKey
	for i := range maxKept + 10 {
		key := keptKey{s, fmt.Sprint(i)}
		keys = append(keys, key)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.newFolder(root)
		if err != nil {
			t.Fatal(err)
		}
		k.give(key, f)
	}
	if k.order.Len() != maxKept || len(k.at) != maxKept {
		t.Errorf("%d kept, %d keys", k.order.Len(), len(k.at))
	}
	if k.take(keys[9]) != nil {
		t.Error("the longest unused is kept")
	}
	if f := k.take(keys[10]); f == nil {
		t.Error("the limit is too low")
	} else {
		f.shut()
	}
	k.close()
	if n := openDirs(t, dir); n != 0 {
		t.Errorf("%d descriptors after the end", n)
	}
}

func TestVisitsSideBySideHaveTheirOwnFolder(t *testing.T) {
	s, dir := testStore(t, Options{NoInotify: true})
	var wg sync.WaitGroup
	var mu sync.Mutex
	inUse := map[*folder]bool{}
	for range 8 {
		wg.Go(func() {
			for range 50 {
				err := s.withRoot(t.Context(), func(f *folder) error {
					mu.Lock()
					if inUse[f] {
						t.Error("two visits with one folder")
					}
					inUse[f] = true
					mu.Unlock()
					_, err := f.in(inCur)
					mu.Lock()
					delete(inUse, f)
					mu.Unlock()
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.all.kept.at[keptKey{s, ""}]); n > maxKeptEach {
		t.Errorf("%d kept", n)
	}
	if n := openDirs(t, dir); n > maxKeptEach*6 {
		t.Errorf("%d descriptors", n)
	}
}

func TestKeptFoldersExpire(t *testing.T) {
	s, dir := testStore(t, Options{NoInotify: true})
	deliver(t, s, "INBOX", "a")
	k := &s.all.kept
	if openDirs(t, dir) == 0 {
		t.Fatal("nothing is kept")
	}
	k.mu.Lock()
	for e := k.order.Front(); e != nil; e = e.Next() {
		kept := e.Value.(keptFolder)
		kept.since = kept.since.Add(-keepFor - time.Second)
		e.Value = kept
	}
	k.mu.Unlock()
	k.expire()
	if n := openDirs(t, dir); n != 0 {
		t.Errorf("%d descriptors", n)
	}
	if k.timer != nil {
		t.Error("a timer for nothing")
	}
	deliver(t, s, "INBOX", "b")
}

func TestAFailedVisitIsNotKept(t *testing.T) {
	s, dir := testStore(t, Options{NoInotify: true})
	boom := errors.New("stale file handle")
	if err := s.withRoot(t.Context(), func(*folder) error { return boom }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if n := openDirs(t, dir); n != 0 {
		t.Errorf("%d descriptors", n)
	}
}
