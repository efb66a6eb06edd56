package maildir

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenMessagesOpensWhatIsThere(t *testing.T) {
	s, dir := testStore(t, Options{})
	deliver(t, s, "INBOX", "a", "b", "c", "d")
	m := open(t, s, "INBOX")
	// b is renamed and c replaced by a link, both behind our back; 9 never was.
	if err := m.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	rename := func(uid UID, to string) {
		_, name, err := m.guess(uid)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new", name), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
		if uid == 3 {
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "new", name)); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	_, name, _ := m.guess(2)
	rename(2, "cur/"+name+":2,S")
	rename(3, "tmp/away")
	files, err := m.OpenMessages(context.Background(), []UID{1, 2, 3, 4, 9})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(files)
	for i, want := range []string{"a", "b", "", "d", ""} {
		if files[i] == nil {
			if want != "" {
				t.Errorf("message %d was not opened", i+1)
			}
			continue
		}
		text, err := io.ReadAll(files[i])
		if err != nil || want == "" || !strings.Contains(string(text), "Subject: "+want) {
			t.Errorf("message %d: %q, %v", i+1, text, err)
		}
	}
}
