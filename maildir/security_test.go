package maildir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
)

// Alice does with her Maildir what she can, and asks the daemon, which runs as
// root here and could read everything, for bob's mail. The tests need root, as
// which CI runs.

const secret = "Subject: secret\n\nbob's secret\n"

// twoUsers makes homes of alice and bob, 0700 each, with their Maildirs; bob's
// has one message.
func twoUsers(t *testing.T) (alice, bob *Store, aliceDir, bobDir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to change file system identities")
	}
	base, err := os.MkdirTemp("", "maildir")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	stores := NewStores(Options{})
	t.Cleanup(func() { stores.Close() })
	var all []*Store
	for i, name := range []string{"alice", "bob"} {
		home := filepath.Join(base, name)
		o := asuser.Owner{Name: name, UID: 20011 + i, GID: 20011 + i, Home: home}
		if err := errors.Join(os.Mkdir(home, 0o700), os.Chown(home, o.UID, o.GID)); err != nil {
			t.Fatal(err)
		}
		s := stores.Store(o, "~/Maildir")
		if err := s.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	alice, bob = all[0], all[1]
	asOwner(t, bob, func() error { return os.WriteFile(filepath.Join(bob.path, "cur/1.bob:2,S"), []byte(secret), 0o600) })
	return alice, bob, alice.path, bob.path
}

func asOwner(t *testing.T, s *Store, fn func() error) {
	t.Helper()
	if err := asuser.Do(t.Context(), s.owner, fn); err != nil {
		t.Fatal(err)
	}
}

// everything reads all that the store gives of a folder.
func everything(t *testing.T, s *Store, folder string) string {
	t.Helper()
	m, err := s.Open(t.Context(), folder)
	if err != nil {
		return ""
	}
	defer m.Close()
	var all strings.Builder
	for _, msg := range m.Messages() {
		f, err := m.OpenMessage(t.Context(), msg.UID)
		if err != nil {
			continue
		}
		io.Copy(&all, f)
		f.Close()
	}
	return all.String()
}

func TestAliceGetsNothingOfBob(t *testing.T) {
	alice, bob, dir, bobDir := twoUsers(t)
	fd, err := os.Open(bobDir) // a descriptor that the daemon happens to have open
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	file, err := os.Open(filepath.Join(bobDir, "cur/1.bob:2,S"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, plant := range map[string]func() error{
		"folder is a link to bob's Maildir": func() error { return os.Symlink(bobDir, filepath.Join(dir, ".x")) },
		"folder is a link to a descriptor":  func() error { return os.Symlink(fmt.Sprintf("/proc/self/fd/%d", fd.Fd()), filepath.Join(dir, ".x")) },
		"folder is a link to the root":      func() error { return os.Symlink("/", filepath.Join(dir, ".x")) },
		"cur is a link to bob's": func() error {
			return errors.Join(os.Mkdir(filepath.Join(dir, ".x"), 0o700), os.Symlink(filepath.Join(bobDir, "cur"), filepath.Join(dir, ".x/cur")))
		},
		"cur is a link to a descriptor": func() error {
			return errors.Join(os.Mkdir(filepath.Join(dir, ".x"), 0o700), os.Symlink(fmt.Sprintf("/proc/self/fd/%d/cur", fd.Fd()), filepath.Join(dir, ".x/cur")))
		},
		"message is a link to bob's":        func() error { return plantMessage(dir, filepath.Join(bobDir, "cur/1.bob:2,S")) },
		"message is a link to a descriptor": func() error { return plantMessage(dir, fmt.Sprintf("/proc/self/fd/%d", file.Fd())) },
		"message is a link to /etc/shadow":  func() error { return plantMessage(dir, "/etc/shadow") },
		"uidlist is a link to bob's": func() error {
			return errors.Join(makeFolder(dir), os.Symlink(filepath.Join(bobDir, "cur/1.bob:2,S"), filepath.Join(dir, ".x", listName)))
		},
		"keywords are a link to a descriptor": func() error {
			return errors.Join(makeFolder(dir), os.Symlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), filepath.Join(dir, ".x", keywordsName)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			asOwner(t, alice, plant)
			defer asOwner(t, alice, func() error { return os.RemoveAll(filepath.Join(dir, ".x")) })
			if got := everything(t, alice, "x"); got != "" {
				t.Errorf("alice read %.60q", got)
			}
			if m, err := alice.Open(t.Context(), "x"); err == nil {
				if kw := strings.Join(m.Keywords(), " "); strings.Contains(kw, "secret") {
					t.Errorf("keywords %q", kw)
				}
				m.Close()
			}
			alice.Deliver(t.Context(), "x", content("planted"), Delivery{})
			alice.Delete(t.Context(), "x")
			for _, sub := range []string{"cur", "new", "tmp"} {
				for _, left := range files(t, filepath.Join(bobDir, sub)) {
					if left != "1.bob:2,S" && !strings.HasPrefix(sub, "tmp") {
						t.Errorf("alice wrote to bob's %s/%s", sub, left)
					}
				}
			}
			if got := everything(t, bob, "INBOX"); got != secret {
				t.Errorf("bob has %q", got)
			}
		})
	}
}

func makeFolder(dir string) error {
	for _, sub := range []string{"", "cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, ".x", sub), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// plantMessage makes a folder whose uidlist names a message that is a link.
func plantMessage(dir, target string) error {
	return errors.Join(makeFolder(dir),
		os.Symlink(target, filepath.Join(dir, ".x/cur/1.h:2,")),
		os.WriteFile(filepath.Join(dir, ".x", listName), []byte("3 V1 N2 G"+aGUID+"\n1 :1.h\n"), 0o600))
}

// The scan saw a file; when it is opened, it is a link or a FIFO.
func TestMessageThatChangesItsKindIsRefused(t *testing.T) {
	alice, _, dir, bobDir := twoUsers(t)
	deliver(t, alice, "INBOX", "x")
	m := open(t, alice, "INBOX")
	name := filepath.Join(dir, "new", onlyFile(t, filepath.Join(dir, "new")))
	for kind, plant := range map[string]func() error{
		"link":      func() error { return os.Symlink(filepath.Join(bobDir, "cur/1.bob:2,S"), name) },
		"FIFO":      func() error { return unix.Mkfifo(name, 0o600) },
		"directory": func() error { return os.Mkdir(name, 0o700) },
	} {
		asOwner(t, alice, func() error { return errors.Join(os.RemoveAll(name), plant()) })
		done := make(chan error, 1)
		go func() {
			f, err := m.OpenMessage(t.Context(), 1)
			if err == nil {
				f.Close()
			}
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s was opened as a message", kind)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s blocks", kind)
		}
	}
}

func TestHardLinkToBobsMailIsTheKernelsToRefuse(t *testing.T) {
	alice, _, dir, bobDir := twoUsers(t)
	// Root's mistake: a backup restored with links, say.
	if err := os.Link(filepath.Join(bobDir, "cur/1.bob:2,S"), filepath.Join(dir, "cur/1.bob:2,S")); err != nil {
		t.Fatal(err)
	}
	if got := everything(t, alice, "INBOX"); got != "" {
		t.Errorf("alice read %q", got)
	}
	m := open(t, alice, "INBOX")
	if err := alice.Create(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if _, to, err := m.Copy(t.Context(), []UID{1}, open(t, alice, "x")); err == nil && len(to) > 0 {
		if got := everything(t, alice, "x"); got != "" {
			t.Errorf("alice copied %q", got)
		}
	}
}

func TestFIFOsBlockNobody(t *testing.T) {
	alice, _, dir, _ := twoUsers(t)
	deliver(t, alice, "INBOX", "x")
	for _, name := range []string{"new/1.fifo", "cur/2.fifo:2,", listName, keywordsName, subscriptionsName, validityName, "tmp/3.fifo"} {
		path := filepath.Join(dir, name)
		asOwner(t, alice, func() error { os.Remove(path); return unix.Mkfifo(path, 0o600) })
		done := make(chan bool)
		go func() {
			defer close(done)
			everything(t, alice, "INBOX")
			alice.Subscriptions(t.Context())
			alice.Subscribe(t.Context(), "a")
			alice.Folders(t.Context())
			alice.Create(t.Context(), "new"+filepath.Base(name))
			alice.Deliver(t.Context(), "INBOX", content("x"), Delivery{})
		}()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s blocks", name)
		}
		asOwner(t, alice, func() error { return os.Remove(path) })
	}
	if got := everything(t, alice, "INBOX"); !strings.Contains(got, "Subject: x") {
		t.Errorf("alice lost her own mail: %q", got)
	}
}

func TestAllFilesBelongToTheOwner(t *testing.T) {
	alice, _, dir, _ := twoUsers(t)
	if err := alice.Create(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	m := open(t, alice, "INBOX")
	w := m.Watch(nil)
	defer w.Close()
	deliver(t, alice, "INBOX", "a", "b")
	deliver(t, alice, "x", "c")
	await(t, w, Arrived)
	if err := errors.Join(w.ClaimRecent(t.Context()), alice.Subscribe(t.Context(), "x")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Seen, []string{"k"}, StoreOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Copy(t.Context(), []UID{1}, open(t, alice, "x")); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if st := fi.Sys().(*syscall.Stat_t); int(st.Uid) != alice.owner.UID || int(st.Gid) != alice.owner.GID {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSetgidMaildirGivesItsGroup(t *testing.T) {
	alice, _, dir, _ := twoUsers(t)
	const mail = 8
	defer syscall.Umask(syscall.Umask(0o007))
	for _, sub := range []string{".", "cur", "new", "tmp"} {
		if err := errors.Join(os.Chown(filepath.Join(dir, sub), alice.owner.UID, mail), os.Chmod(filepath.Join(dir, sub), os.ModeSetgid|0o770)); err != nil {
			t.Fatal(err)
		}
	}
	if err := alice.Create(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	deliver(t, alice, "x", "a")
	for _, name := range []string{".x", ".x/new", ".x/new/" + onlyFile(t, filepath.Join(dir, ".x/new")), ".x/" + listName} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		st := fi.Sys().(*syscall.Stat_t)
		if int(st.Uid) != alice.owner.UID || st.Gid != mail || fi.Mode().Perm()&0o060 != 0o060 || fi.IsDir() && fi.Mode()&os.ModeSetgid == 0 {
			t.Errorf("%s is %d:%d %v", name, st.Uid, st.Gid, fi.Mode())
		}
	}
}

func TestRootsFilesInAMaildirAreJustUnreadable(t *testing.T) {
	alice, _, dir, _ := twoUsers(t)
	deliver(t, alice, "INBOX", "x")
	write(t, dir, "cur/1.root:2,", "Subject: left by root\n\n")
	m := open(t, alice, "INBOX")
	if m.Len() != 2 {
		t.Fatalf("%q", state(m))
	}
	if f, err := m.OpenMessage(t.Context(), 1); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v, %v", f, err)
	}
	// It is alice's directory: she may name and remove what is in it.
	if _, _, err := m.StoreFlags(t.Context(), []UID{1}, AddFlags, Deleted, nil, StoreOptions{}); err != nil {
		t.Error(err)
	}
	if got, err := m.Expunge(t.Context(), nil); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
