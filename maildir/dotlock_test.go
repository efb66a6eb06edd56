package maildir

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// deadPID is the pid of a process that is no more.
func deadPID(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip("missing: true(1)")
	}
	return cmd.Process.Pid
}

// lockOnce tries for the uidlist's lock once.
func lockOnce(t *testing.T, s *Store, sight *lockSight) error {
	t.Helper()
	return s.withRoot(t.Context(), func(f *folder) error {
		l, err := f.tryLock(listLock, listName, lockStale, sight)
		f.unlock(l)
		return err
	})
}

func TestLockOfALivingHolderIsRespected(t *testing.T) {
	now := time.Now()
	s, dir := testStore(t, Options{clock: func() time.Time { return now }})
	for _, text := range []string{fmt.Sprintf("%d:%s", os.Getppid(), lockHost()), "1:otherhost", "", "garbage", "-5:" + lockHost()} {
		write(t, dir, listLock, text)
		write(t, dir, listName, "3 V1 N1\n")
		sight := &lockSight{}
		now = now.Add(time.Minute)
		for i := range 3 {
			if err := lockOnce(t, s, sight); !errors.Is(err, errHeld) {
				t.Errorf("%q, look %d: %v", text, i, err)
			}
			now = now.Add(50 * time.Second)
		}
		if got := read(t, dir, listLock); got != text {
			t.Errorf("%q became %q", text, got)
		}
		os.Remove(filepath.Join(dir, listLock))
	}
}

func TestLockOfADeadHolderIsBroken(t *testing.T) {
	now := time.Now()
	s, dir := testStore(t, Options{clock: func() time.Time { return now }})
	for name, c := range map[string]struct {
		text string
		age  time.Duration
	}{
		"pid is gone":                    {fmt.Sprintf("%d:%s", deadPID(t), lockHost()), 3 * time.Second},
		"our own pid from a life before": {fmt.Sprintf("%d:%s", os.Getpid(), lockHost()), 3 * time.Second},
		"other host, two minutes":        {"1:otherhost", 121 * time.Second},
		"no pid, two minutes":            {"", 121 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, dir, listLock, c.text)
			now = time.Now()
			sight := &lockSight{}
			if err := lockOnce(t, s, sight); !errors.Is(err, errHeld) {
				t.Errorf("a fresh lock was not respected: %v", err)
			}
			now = now.Add(c.age)
			if err := lockOnce(t, s, sight); !errors.Is(err, errHeld) {
				t.Errorf("taken in the same moment as it was broken: %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, listLock)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("not broken: %v", err)
			}
			now = now.Add(lockRest)
			if err := lockOnce(t, s, sight); err != nil {
				t.Errorf("not taken after a rest: %v", err)
			}
		})
	}
}

func TestLockThatChangesIsNotStale(t *testing.T) {
	now := time.Now()
	s, dir := testStore(t, Options{clock: func() time.Time { return now }})
	write(t, dir, listLock, "1:otherhost")
	sight := &lockSight{}
	for i := range 6 { // the holder touches the lock, or works on the list
		if err := lockOnce(t, s, sight); !errors.Is(err, errHeld) {
			t.Fatal(err)
		}
		now = now.Add(100 * time.Second)
		if i%2 == 0 {
			os.Chtimes(filepath.Join(dir, listLock), now, now)
		} else {
			write(t, dir, listName, fmt.Sprint("3 V1 N", i+1, "\n"))
		}
	}
	if _, err := os.Stat(filepath.Join(dir, listLock)); err != nil {
		t.Error(err)
	}
}

func TestTwoStoresOfOneProcessRespectEachOther(t *testing.T) {
	now := time.Now()
	s, dir := testStore(t, Options{clock: func() time.Time { return now }})
	other := NewStores(Options{clock: func() time.Time { return now }})
	defer other.Close()
	s2 := other.Store(s.owner, dir)
	err := s.withRoot(t.Context(), func(f *folder) error {
		l, err := f.tryLock(listLock, listName, lockStale, &lockSight{})
		if err != nil {
			return err
		}
		defer f.unlock(l)
		if text := read(t, dir, listLock); text != fmt.Sprintf("%d:%s", os.Getpid(), lockHost()) {
			t.Errorf("lock %q", text)
		}
		sight := &lockSight{}
		for range 3 {
			if err := lockOnce(t, s2, sight); !errors.Is(err, errHeld) {
				t.Errorf("the second store: %v", err)
			}
			now = now.Add(time.Minute)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := lockOnce(t, s2, &lockSight{}); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

func TestUnlockLeavesTheLockOfAnother(t *testing.T) {
	s, dir := testStore(t, Options{})
	err := s.withRoot(t.Context(), func(f *folder) error {
		l, err := f.tryLock(listLock, listName, lockStale, &lockSight{})
		if err != nil {
			return err
		}
		os.Remove(filepath.Join(dir, listLock)) // somebody overrode it
		write(t, dir, listLock, "1:otherhost")
		f.unlock(l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, listLock); got != "1:otherhost" {
		t.Errorf("%q", got)
	}
}

func TestLockWorksWhenItsSourceIsCleanedAway(t *testing.T) {
	s, dir := testStore(t, Options{})
	for range 3 {
		if err := lockOnce(t, s, &lockSight{}); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "tmp")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseRemovesTheLockSource(t *testing.T) {
	s, dir := testStore(t, Options{})
	open(t, s, "INBOX")
	if got := files(t, filepath.Join(dir, "tmp")); len(got) != 1 {
		t.Errorf("tmp has %q", got)
	}
	if err := s.all.Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, filepath.Join(dir, "tmp")); len(got) != 0 {
		t.Errorf("tmp has %q", got)
	}
}

func TestLockWaitEnds(t *testing.T) {
	w := lockWait{limit: 250 * time.Millisecond}
	var err error
	for n := 0; err == nil; n++ {
		if err = w.pause(t.Context()); n > 50 {
			t.Fatal("no end")
		}
	}
	if !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
}

// Another program renames the folder between two visits of ours, and our lock
// with it.
func TestLockDoesNotStayInARenamedFolder(t *testing.T) {
	for _, name := range []string{"A", "INBOX"} {
		s, dir := testStore(t, Options{NoInotify: true})
		if err := s.Create(t.Context(), "A"); err != nil {
			t.Fatal(err)
		}
		path, away := filepath.Join(dir, ".A"), filepath.Join(dir, ".B")
		if name == "INBOX" {
			path, away = dir, dir+".old"
		}
		m := open(t, s, name)
		m.disk <- struct{}{}
		err := m.do(t.Context(), func(f *folder) (err error) {
			m.lock, err = f.tryLock(listLock, listName, lockStale, &m.sight)
			f.keepLock(m.lock)
			return err
		})
		if err := errors.Join(err, os.Rename(path, away)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(away, listLock)); err != nil {
			t.Fatal(err)
		}
		m.releaseLock()
		m.unlockDisk()
		if _, err := os.Stat(filepath.Join(away, listLock)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the lock is still there: %v", name, err)
		}
		heldLocks.Lock()
		if len(heldLocks.m) > 0 {
			t.Errorf("%s: held: %v", name, heldLocks.m)
		}
		heldLocks.Unlock()
	}
}
