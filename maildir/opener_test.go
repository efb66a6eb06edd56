package maildir

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What memory has right is opened many at a time, and the rest one by one: a
// message that was renamed is found, one that is a link or gone is an error.
func TestOpenerOpensWhatIsThere(t *testing.T) {
	s, dir := testStore(t, Options{})
	deliver(t, s, "INBOX", "a", "b", "c", "d")
	m := open(t, s, "INBOX")
	if err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	move := func(uid UID, to string) (from string) {
		_, name, err := m.guess(uid)
		if err != nil {
			t.Fatal(err)
		}
		from = filepath.Join(dir, "new", name)
		if err := os.Rename(from, filepath.Join(dir, strings.ReplaceAll(to, "*", name))); err != nil {
			t.Fatal(err)
		}
		return from
	}
	move(2, "cur/*:2,S")
	if err := os.Symlink("/etc/passwd", move(3, "tmp/away")); err != nil {
		t.Fatal(err)
	}
	o := m.Opener(t.Context(), []UID{1, 2, 3, 4, 9})
	for i, want := range []string{"a", "b", "", "d", "", "", "", "", ""} {
		file, err := o.Open(UID(i + 1))
		if want == "" {
			if err == nil || i == 8 && !errors.Is(err, ErrExpunged) {
				t.Errorf("message %d: %v", i+1, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("message %d: %v", i+1, err)
		}
		text, err := io.ReadAll(file)
		file.Close()
		if err != nil || !strings.Contains(string(text), "Subject: "+want) {
			t.Errorf("message %d: %q, %v", i+1, text, err)
		}
	}
	again := m.Opener(t.Context(), []UID{1, 2, 4})
	if file, err := again.Open(1); err != nil || again.ahead[4] == nil {
		t.Errorf("%v, ahead: %v", err, again.ahead)
	} else {
		file.Close()
	}
	if err := errors.Join(o.Close(), again.Close()); err != nil || again.ahead != nil {
		t.Error(err)
	}
}
