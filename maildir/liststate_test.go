package maildir

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A list that was restored over the old one keeps its inode, and a new file may
// get the number of a removed one: that is no list with lines appended.
func TestListWrittenOverInPlaceIsReadAnew(t *testing.T) {
	const head = "3 V1700000000 N9 G" + aGUID + "\n"
	for _, c := range []struct {
		name, list string
		want       []string
	}{
		{"of the same length", head + "1 :a\n2 :c\n3 :d\n", []string{"1 a ", "3 d ", "9 b ", "10 c "}},
		{"longer", head + "1 :a\n2 :c\n4 :d\n5 :b\n", []string{"1 a ", "4 d ", "5 b ", "9 c "}},
		{"shorter", head + "1 :a\n", []string{"1 a ", "9 b ", "10 c ", "11 d "}},
		{"longer by a line in front", head + "1 :a\n2 :b\n3 :d\n8 :c\n", []string{"1 a ", "2 b ", "3 d ", "8 c "}},
		{"another next UID only", strings.Replace(head, "N9", "N7", 1) + "1 :a\n2 :b\n3 :d\n", []string{"1 a ", "2 b ", "3 d ", "9 c "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, dir := testStore(t, Options{NoInotify: true})
			write(t, dir, listName, head+"1 :a\n2 :b\n3 :d\n")
			for _, name := range []string{"a", "b", "d"} {
				write(t, dir, "cur/"+name, "x")
			}
			m := open(t, s, "INBOX")
			write(t, dir, "new/c", "x")
			before := inodeAt(t, dir, listName)
			if err := os.WriteFile(filepath.Join(dir, listName), []byte(c.list), 0o600); err != nil {
				t.Fatal(err)
			}
			if inodeAt(t, dir, listName) != before {
				t.Fatal("not written in place")
			}
			syncNow(t, m)
			wantState(t, m, c.want...)
			other := NewStores(Options{NoInotify: true})
			defer other.Close()
			if again := open(t, other.Store(s.owner, dir), "INBOX"); !slices.Equal(state(again), state(m)) {
				t.Errorf("another reader has %q, we %q", state(again), state(m))
			}
		})
	}
}

func inodeAt(t *testing.T, dir, name string) inode {
	t.Helper()
	fi, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return inodeOf(fi)
}

// What readList gives over the life of a list.
func TestReadListReadsWhatIsNew(t *testing.T) {
	s, dir := testStore(t, Options{NoInotify: true})
	const head = "3 V1700000000 N1 G" + aGUID + "\n"
	steps := []struct {
		name  string
		do    func()
		text  string // records not seen before
		whole bool
		err   bool
	}{
		{"no list", func() {}, "", false, false},
		{"a header alone", func() { write(t, dir, listName, head) }, "", true, false},
		{"unchanged", func() {}, "", false, false},
		{"a record", func() { appendTo(t, dir, listName, "1 :a\n") }, "1 :a\n", false, false},
		{"touched", func() { touch(t, filepath.Join(dir, listName)) }, "", false, false},
		{"two and a half", func() { appendTo(t, dir, listName, "2 :b\n5 :c\n6 :") }, "2 :b\n5 :c\n6 :", false, false},
		{"the other half", func() { appendTo(t, dir, listName, "d\n") }, "6 :d\n", false, false},
		{"half a line", func() { appendTo(t, dir, listName, "7") }, "7", false, false},
		{"taken back", func() { os.Truncate(filepath.Join(dir, listName), int64(len(head+"1 :a\n2 :b\n5 :c\n6 :d\n"))) }, "", false, false},
		{"shortened", func() { os.Truncate(filepath.Join(dir, listName), int64(len(head+"1 :a\n"))) }, "1 :a\n", true, false},
		{"replaced", func() { write(t, dir, listName, head+"1 :a\n9 :z\n") }, "1 :a\n9 :z\n", true, false},
		{"no header line", func() { write(t, dir, listName, "3 V1 N1") }, "", false, true},
		{"mended", func() { write(t, dir, listName, head) }, "", true, false},
		{"removed", func() { os.Remove(filepath.Join(dir, listName)) }, "", false, false},
	}
	var at listState
	for _, step := range steps {
		step.do()
		err := s.withRoot(t.Context(), func(f *folder) error {
			r, err := f.readList(at)
			if err != nil {
				return err
			}
			if r.text != step.text || r.whole != step.whole {
				t.Errorf("%s: text %q, whole %v", step.name, r.text, r.whole)
			}
			if err := r.parse(func(listLine) {}); err != nil {
				return err
			}
			at = r.state
			return nil
		})
		if (err != nil) != step.err {
			t.Errorf("%s: %v", step.name, err)
		}
		if present := step.name != "no list" && step.name != "removed" && !step.err; at.present != present && !step.err {
			t.Errorf("%s: present %v", step.name, at.present)
		}
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	later := fi.ModTime().Add(1e9)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
}
