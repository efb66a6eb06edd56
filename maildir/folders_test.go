package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func mkdirs(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func listed(t *testing.T, s *Store) (lines []string) {
	t.Helper()
	list, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		line := f.Name
		if !f.Exists {
			line += " nonexistent"
		}
		if f.HasChildren {
			line += " children"
		}
		lines = append(lines, strings.TrimSpace(line+" "+f.SpecialUse))
	}
	return lines
}

func TestFoldersShowsTheTree(t *testing.T) {
	s, dir := testStore(t, Options{Separator: '/'})
	mkdirs(t, dir, ".b", ".a.b.c", ".INBOX.sub", "..DOVECOT-TRASHED", ".F&APwA3w-", ".x..y", "notafolder")
	write(t, dir, ".file", "")
	if err := os.Symlink("/etc", filepath.Join(dir, ".link")); err != nil {
		t.Fatal(err)
	}
	want := []string{"INBOX children", "Füß", "INBOX/sub", "a nonexistent children", "a/b nonexistent children", "a/b/c", "b"}
	if got := listed(t, s); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFoldersWithoutAMaildirHasInbox(t *testing.T) {
	stores := NewStores(Options{})
	defer stores.Close()
	s := stores.Store(testOwner(), filepath.Join(t.TempDir(), "none"))
	if got := listed(t, s); !slices.Equal(got, []string{"INBOX"}) {
		t.Errorf("%q", got)
	}
}

func TestEachSpecialUseBelongsToOneFolder(t *testing.T) {
	for _, c := range []struct{ have, want string }{
		{"Sent,Sent Messages,Drafts,Trash,Junk,Archive", `Archive \Archive,Drafts \Drafts,Junk \Junk,Sent \Sent,Sent Messages,Trash \Trash`},
		{"Sent Messages,Deleted Items,Spam", `Deleted Items \Trash,Sent Messages \Sent,Spam \Junk`},
		{"sent,SPAM", `SPAM \Junk,sent \Sent`},
		{"INBOX.Sent,Sent Items", `INBOX.Sent \Sent,Sent Items`},
		{"Sent,INBOX.Sent", `INBOX.Sent,Sent \Sent`},
		{"Work.Sent,Sent.2024", `Sent nonexistent children,Sent.2024,Work nonexistent children,Work.Sent`},
		{"Gesendet,Entwürfe,Papierkorb", `Entwürfe \Drafts,Gesendet \Sent,Papierkorb \Trash`},
	} {
		t.Run(c.have, func(t *testing.T) {
			s, _ := testStore(t, Options{})
			for _, name := range strings.Split(c.have, ",") {
				if err := s.Create(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(listed(t, s)[1:], ","); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestCreateMakesAWholeFolder(t *testing.T) {
	s, dir := testStore(t, Options{Separator: '/'})
	if err := s.Create(t.Context(), "A/B/"); err != nil {
		t.Fatal(err)
	}
	got := files(t, filepath.Join(dir, ".A.B"))
	if want := []string{"cur", "dovecot-uidlist", "maildirfolder", "new", "tmp"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for name, want := range map[string]error{
		"A/B": ErrExists, "INBOX": ErrExists, "inbox": ErrExists, "a.b": ErrInvalidName, "A": nil, "cur": ErrInvalidName, "A/b\x01": ErrInvalidName,
	} {
		if err := s.Create(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("Create(%q) = %v, want %v", name, err, want)
		}
	}
}

func TestAFolderMadeAnewHasAnotherUIDValidity(t *testing.T) {
	s, _ := testStore(t, Options{})
	var last uint32
	for range 3 {
		if err := s.Create(t.Context(), "A"); err != nil {
			t.Fatal(err)
		}
		m, err := s.Open(t.Context(), "A")
		if err != nil {
			t.Fatal(err)
		}
		if m.UIDValidity() <= last {
			t.Errorf("UIDVALIDITY %d after %d", m.UIDValidity(), last)
		}
		last = m.UIDValidity()
		m.Close()
		if err := s.Delete(t.Context(), "A"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeleteTellsSessionsAndKeepsChildren(t *testing.T) {
	s, dir := testStore(t, Options{})
	if err := errors.Join(s.Create(t.Context(), "A"), s.Create(t.Context(), "A.B")); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "A", "x")
	m := open(t, s, "A")
	w := m.Watch(nil)
	defer w.Close()
	mkdirs(t, dir, "..DOVECOT-TRASHED/cur") // of a deletion that a crash stopped
	if err := s.Delete(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	await(t, w, Removed)
	if err := m.Sync(t.Context()); !errors.Is(err, ErrRemoved) {
		t.Errorf("Sync: %v", err)
	}
	if _, err := m.Append(t.Context(), content("y"), Delivery{}); !errors.Is(err, ErrRemoved) {
		t.Errorf("Append: %v", err)
	}
	if got := listed(t, s); !slices.Equal(got, []string{"INBOX", "A nonexistent children", "A.B"}) {
		t.Errorf("%q", got)
	}
	for name, want := range map[string]error{"A": ErrNotFound, "INBOX": ErrInbox, "inbox": ErrInbox, "x": ErrNotFound, "": ErrInvalidName} {
		if err := s.Delete(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("Delete(%q) = %v, want %v", name, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "..DOVECOT-TRASHED")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

func TestRenameKeepsUIDsAndOpenSessions(t *testing.T) {
	s, _ := testStore(t, Options{})
	for _, name := range []string{"A", "A.B", "A.B.C", "AB"} {
		if err := s.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		deliver(t, s, name, name)
	}
	m := open(t, s, "A.B")
	w := m.Watch(nil)
	defer w.Close()
	validity := m.UIDValidity()
	if err := s.Rename(t.Context(), "A", "Neu.Ä"); err != nil {
		t.Fatal(err)
	}
	await(t, w, Renamed)
	if m.Name() != "Neu.Ä.B" {
		t.Errorf("name %q", m.Name())
	}
	deliver(t, s, "Neu.Ä.B", "second")
	if c := await(t, w, Arrived); c.UID != 2 || m.UIDValidity() != validity {
		t.Errorf("%+v", c)
	}
	if again := open(t, s, "Neu.Ä.B"); again != m {
		t.Error("two states of one folder")
	}
	if got := listed(t, s); !slices.Equal(got, []string{"INBOX", "AB", "Neu nonexistent children", "Neu.Ä children", "Neu.Ä.B children", "Neu.Ä.B.C"}) {
		t.Errorf("%q", got)
	}
}

func TestRenameRefusesWithoutChangingAnything(t *testing.T) {
	s, _ := testStore(t, Options{})
	for _, name := range []string{"A", "A.x", "A.y", "B.y", strings.Repeat("z", 100) + ".a"} {
		if err := s.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	before := listed(t, s)
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"A", "B", ErrExists}, // B.y is in the way
		{"A", "INBOX", ErrExists}, {"INBOX", "C", ErrInbox}, {"none", "C", ErrNotFound}, {"A", "a..b", ErrInvalidName}, {"A", "A", ErrExists},
		{strings.Repeat("z", 100), strings.Repeat("y", 253), ErrInvalidName}, // its child has no room
	} {
		if err := s.Rename(t.Context(), c.from, c.to); !errors.Is(err, c.want) {
			t.Errorf("Rename(%.10q, %.10q) = %v, want %v", c.from, c.to, err, c.want)
		}
	}
	if got := listed(t, s); !slices.Equal(got, before) {
		t.Errorf("%q became %q", before, got)
	}
}

func TestRenameTakesAllBackWhenOneFails(t *testing.T) {
	n := 0
	s, _ := testStore(t, Options{Fault: func(step, name string) error {
		if step == "rename" && strings.HasPrefix(name, ".C") {
			if n++; n == 3 {
				return errors.New("boom")
			}
		}
		return nil
	}})
	for _, name := range []string{"A", "A.x", "A.y", "A.z"} {
		if err := s.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	before := listed(t, s)
	if err := s.Rename(t.Context(), "A", "C"); err == nil {
		t.Fatal("no error")
	}
	if got := listed(t, s); !slices.Equal(got, before) {
		t.Errorf("%q became %q", before, got)
	}
}

func TestUIDValidityIsDovecots(t *testing.T) {
	s, dir := testStore(t, Options{})
	for _, c := range []struct {
		name   string
		files  []string
		want   uint32 // 0: the clock
		marker string
	}{
		{"none", nil, 0, ""},
		{"one", []string{"dovecot-uidvalidity.0000000f"}, 16, "dovecot-uidvalidity.00000010"},
		{"several", []string{"dovecot-uidvalidity.0000000f", "dovecot-uidvalidity.000000ff"}, 256, "dovecot-uidvalidity.00000100"},
		{"wraps past 0", []string{"dovecot-uidvalidity.ffffffff"}, 1, "dovecot-uidvalidity.00000001"},
		{"others are no markers", []string{"dovecot-uidvalidity.0000000F", "dovecot-uidvalidity.xyz", "dovecot-uidvalidity.00000000"}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, _ := filepath.Glob(filepath.Join(dir, validityName+"*"))
			for _, name := range old {
				os.Remove(name)
			}
			for _, name := range c.files {
				write(t, dir, name, "")
			}
			var got uint32
			err := s.withRoot(t.Context(), func(f *folder) (err error) {
				got, err = f.nextValidity()
				return err
			})
			now := uint32(time.Now().Unix())
			if err != nil || c.want != 0 && got != c.want || c.want == 0 && (got > now || got < now-60) {
				t.Errorf("%d, %v", got, err)
			}
			if text := read(t, dir, validityName); text != fmt.Sprintf("%08x", got) {
				t.Errorf("file %q", text)
			}
			if _, err := os.Stat(filepath.Join(dir, validityMarker(got))); err != nil {
				t.Error(err)
			}
			if c.name == "several" {
				if left, _ := filepath.Glob(filepath.Join(dir, validityName+".*")); len(left) != 1 {
					t.Errorf("markers left: %q", left)
				}
			}
		})
	}
}

func TestUIDValiditiesAreUnique(t *testing.T) {
	s, _ := testStore(t, Options{})
	got := make(chan uint32, 80)
	errs := make(chan error, 8)
	for range 8 {
		go func() {
			errs <- s.withRoot(t.Context(), func(f *folder) error {
				for range 10 {
					v, err := f.nextValidity()
					if err != nil {
						return err
					}
					got <- v
				}
				return nil
			})
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	close(got)
	seen := map[uint32]bool{}
	for v := range got {
		if seen[v] {
			t.Errorf("%d twice", v)
		}
		seen[v] = true
	}
}

func TestOldTrashedFolderIsCleanedOnList(t *testing.T) {
	now := time.Now()
	s, dir := testStore(t, Options{clock: func() time.Time { return now }})
	mkdirs(t, dir, "..DOVECOT-TRASHED/cur")
	listed(t, s)
	if _, err := os.Stat(filepath.Join(dir, "..DOVECOT-TRASHED")); err != nil {
		t.Error("removed while it may be in use")
	}
	now = now.Add(2 * time.Hour)
	listed(t, s)
	if _, err := os.Stat(filepath.Join(dir, "..DOVECOT-TRASHED")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}
