package maildir

import (
	"errors"
	"strings"
	"testing"
)

func TestNamesOnDisk(t *testing.T) {
	for _, c := range []struct {
		sep       byte
		name, dir string
	}{
		{'/', "Füß/Ünt&er", ".F&APwA3w-.&ANw-nt&-er"},
		{'.', "Füß.Ünt&er", ".F&APwA3w-.&ANw-nt&-er"},
		{'/', "inbox", ""},
		{'.', "INBOX", ""},
		{'/', "InBoX/sub", ".INBOX.sub"},
		{'.', "Sent Messages", ".Sent Messages"},
		{'/', "😀", ".&2D3eAA-"},
		{'.', "a~b", ".a~b"},
		{'/', "cur/x", ".cur.x"},
	} {
		s := &Store{sep: c.sep}
		if dir, err := s.dirOf(c.name); err != nil || dir != c.dir {
			t.Errorf("%q: %q, %v", c.name, dir, err)
		}
		if c.dir == "" {
			continue
		}
		want := c.name
		if len(want) > 5 && strings.EqualFold(want[:5], "inbox") {
			want = "INBOX" + want[5:]
		}
		if name, ok := s.nameOf(c.dir); !ok || name != want {
			t.Errorf("%q: %q, %v", c.dir, name, ok)
		}
	}
}

func TestNamesThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		sep  byte
		name string
	}{
		{'/', ""}, {'/', "/a"}, {'/', "a//b"}, {'/', "a/"}, {'/', "a.b"}, {'/', "."}, {'/', ".."}, {'/', "a/../b"},
		{'.', ".a"}, {'.', "a..b"}, {'.', "a/b"}, {'.', "a."}, {'.', "\xff"}, {'.', "a\x00b"}, {'.', "cur"}, {'.', "new"}, {'.', "tmp"},
		{'.', strings.Repeat("x", 255)}, {'.', strings.Repeat("ü", 100)}, {'.', ".DOVECOT-TRASHED"},
	} {
		s := &Store{sep: c.sep}
		if dir, err := s.dirOf(c.name); !errors.Is(err, ErrInvalidName) {
			t.Errorf("%c %.40q: %q, %v", c.sep, c.name, dir, err)
		}
	}
	s := &Store{sep: '.'}
	for _, name := range []string{"a\tb", "a\r\n", "a\u0085b", "a\u2028b", "a\x7f"} {
		if dir, err := s.newDirOf(name); !errors.Is(err, ErrInvalidName) {
			t.Errorf("new %q: %q, %v", name, dir, err)
		}
	}
}

func TestDirectoriesThatAreNoFolders(t *testing.T) {
	s := &Store{sep: '/'}
	for _, dir := range []string{"cur", ".", "..", "..DOVECOT-TRASHED", ".INBOX", ".inbox", ".a..b", ".a.", ".\xff", ""} {
		if name, ok := s.nameOf(dir); ok {
			t.Errorf("%q is listed as %q", dir, name)
		}
	}
}

// A directory made by hand, whose name is no modified UTF-7, is shown as it is
// and can be opened by that name.
func TestRawDirectoryNames(t *testing.T) {
	s, dir := testStore(t, Options{})
	mkdirs(t, dir, ".R&D/cur", ".R&D/new", ".R&D/tmp", ".plain&/cur")
	list, err := s.Folders(t.Context())
	if err != nil || len(list) != 3 || list[1].Name != "R&D" {
		t.Fatalf("%+v, %v", list, err)
	}
	deliver(t, s, "R&D", "x")
	if m := open(t, s, "R&D"); m.Len() != 1 || m.Name() != "R&D" {
		t.Errorf("%d messages in %q", m.Len(), m.Name())
	}
	if err := s.Create(t.Context(), "R&D"); !errors.Is(err, ErrExists) {
		t.Errorf("created beside the raw one: %v", err)
	}
	if err := s.Rename(t.Context(), "R&D", "Labor"); err != nil {
		t.Error(err)
	}
}

// FuzzFolderName: a name is refused, or is one directory of the Maildir and comes
// back as it was.
func FuzzFolderName(f *testing.F) {
	for _, s := range []string{"Füß/Ünt&er", "INBOX", "inbox.x", "a..b", "&AOk-", "a/b", "😀", "&", "..", "\x00", "Junk E-mail"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, name string, slash bool) {
		s := &Store{sep: '.'}
		if slash {
			s.sep = '/'
		}
		if back, ok := s.nameOf(name); ok { // taken as a directory
			if _, err := s.dirOf(back); err != nil && len(name) < 200 && !errors.Is(err, ErrInvalidName) {
				t.Fatal(err)
			}
		}
		dir, err := s.dirOf(name)
		if err != nil || dir == "" {
			return
		}
		if dir[0] != '.' || strings.Contains(dir, "/") || strings.Contains(dir, "..") || len(dir) > 255 {
			t.Fatalf("%q is stored as %q", name, dir)
		}
		back, ok := s.nameOf(dir)
		if len(name) >= 5 && strings.EqualFold(name[:5], inboxName) && back[:5] == inboxName {
			back, name = back[5:], name[5:]
		}
		if !ok || back != name {
			t.Fatalf("%q is stored as %q and shown as %q", name, dir, back)
		}
	})
}
