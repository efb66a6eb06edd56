package maildir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/asuser"
)

// write puts a file below dir, by way of a rename so that watchers see it whole.
func write(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	tmp := filepath.Join(filepath.Dir(path), ".writing")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// files lists the entries of a directory, hidden ones left out.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// onlyFile is the one file of a directory.
func onlyFile(t testing.TB, dir string) string {
	t.Helper()
	list := files(t, dir)
	if len(list) != 1 {
		t.Fatalf("%s has %q", dir, list)
	}
	return list[0]
}

func syncNow(t testing.TB, m *Mailbox) {
	t.Helper()
	if err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func testOwner() asuser.Owner { return asuser.Self("alice", "/nonexistent") }
