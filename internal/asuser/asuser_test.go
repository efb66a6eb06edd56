package asuser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// needRoot skips where identities cannot be changed; CI runs as root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to change file system identities")
	}
}

func owner(uid int) Owner { return Owner{Name: fmt.Sprint("user", uid), UID: uid, GID: uid} }

// privateDir makes a directory that only uid may enter. It lies outside
// t.TempDir, whose parents belong to root alone.
func privateDir(t *testing.T, uid int) string {
	t.Helper()
	base, err := os.MkdirTemp("", "asuser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	dir := filepath.Join(base, "home")
	if err := errors.Join(os.Chmod(base, 0o711), os.Mkdir(dir, 0o700), os.Chown(dir, uid, uid)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDoCreatesFilesAsOwner(t *testing.T) {
	needRoot(t)
	dir := privateDir(t, 20001)
	name := filepath.Join(dir, "f")
	if err := Do(context.Background(), owner(20001), func() error { return os.WriteFile(name, nil, 0o600) }); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 20001 || st.Gid != 20001 {
		t.Errorf("file belongs to %d:%d", st.Uid, st.Gid)
	}
}

func TestDoGivesNoRightOfOthers(t *testing.T) {
	needRoot(t)
	bob := privateDir(t, 20002)
	err := Do(context.Background(), owner(20001), func() error {
		_, err := os.ReadDir(bob)
		if !errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("reading bob's directory as alice: %v", err)
		}
		_, err = os.ReadFile("/etc/shadow")
		if !errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("reading /etc/shadow as alice: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDoReturnsToTheDaemonsIdentity(t *testing.T) {
	needRoot(t)
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			o := owner(20001 + i%2)
			err := Do(context.Background(), o, func() error {
				if got := setfsuid(o.UID); got != o.UID {
					return fmt.Errorf("works as %d", got)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range 200 {
		wg.Go(func() {
			if u, g := setfsuid(os.Geteuid()), setfsgid(os.Getegid()); u != os.Geteuid() || g != os.Getegid() {
				t.Errorf("a thread stayed at %d:%d", u, g)
			}
		})
	}
	wg.Wait()
}

func TestDoRefusesRoot(t *testing.T) {
	for _, o := range []Owner{{Name: "g", UID: 20001, GID: 0}} {
		err := Do(context.Background(), o, func() error { t.Error("work ran"); return nil })
		if !errors.Is(err, ErrRoot) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestDoWaitsNoLongerThanItsContext(t *testing.T) {
	needRoot(t)
	for range maxThreads {
		slots <- struct{}{}
	}
	defer func() {
		for range maxThreads {
			<-slots
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Do(ctx, owner(20001), func() error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestDoAsSelfRunsDirectly(t *testing.T) {
	ran := false
	if err := Do(context.Background(), Self("me", "/"), func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("ran %v, err %v", ran, err)
	}
}

func BenchmarkDo(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("missing: root, to change file system identities")
	}
	for b.Loop() {
		if err := Do(context.Background(), owner(20001), func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
