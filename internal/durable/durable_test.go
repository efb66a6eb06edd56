package durable

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func openRoot(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func put(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func TestWriteFileReplacesWhole(t *testing.T) {
	root, dir := openRoot(t)
	for _, s := range []string{"first", "second, longer"} {
		if err := WriteFile(root, "f", 0o600, nil, put(s)); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "f")); string(got) != s {
			t.Errorf("content %q, want %q", got, s)
		}
	}
}

func TestWriteFileKeepsTheOldOneWhenAStepFails(t *testing.T) {
	boom := errors.New("boom")
	for _, step := range []string{"create", "write", "sync", "rename"} {
		t.Run(step, func(t *testing.T) {
			root, dir := openRoot(t)
			if err := WriteFile(root, "f", 0o600, nil, put("old")); err != nil {
				t.Fatal(err)
			}
			fault := func(s, _ string) error {
				if s == step {
					return boom
				}
				return nil
			}
			if err := WriteFile(root, "f", 0o600, fault, put("new")); !errors.Is(err, boom) {
				t.Fatalf("err = %v", err)
			}
			if got, _ := os.ReadFile(filepath.Join(dir, "f")); string(got) != "old" {
				t.Errorf("content %q after a failed %s", got, step)
			}
			left, _ := os.ReadDir(dir)
			if len(left) != 1 {
				t.Errorf("files left: %v", left)
			}
		})
	}
}

func TestWriteFileFailsWhenTheDirectoryIsNotSynced(t *testing.T) {
	root, _ := openRoot(t)
	boom := errors.New("boom")
	fault := func(s, _ string) error {
		if s == "syncdir" {
			return boom
		}
		return nil
	}
	if err := WriteFile(root, "f", 0o600, fault, put("x")); !errors.Is(err, boom) {
		t.Fatalf("err = %v: the name would not be durable", err)
	}
}

func TestWriteFileReplacesALeftOverTemporary(t *testing.T) {
	root, dir := openRoot(t)
	os.WriteFile(filepath.Join(dir, "f.tmp"), []byte("half"), 0o600)
	if err := WriteFile(root, "f", 0o600, nil, put("x")); err != nil {
		t.Fatal(err)
	}
}

func TestCreateFollowsNoLink(t *testing.T) {
	root, dir := openRoot(t)
	os.Symlink("/etc/passwd", filepath.Join(dir, "f"))
	if f, err := Create(root, "f", 0o600, nil); err == nil {
		f.Abort()
		t.Fatal("wrote through a link")
	}
}

func TestSyncSetsTheTime(t *testing.T) {
	root, dir := openRoot(t)
	f, err := Create(root, "tmp", 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	when := time.Unix(1700000000, 0)
	if err := errors.Join(f.Sync(when), f.Rename("f"), SyncDir(root, ".", nil)); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(filepath.Join(dir, "f"))
	if err != nil || !fi.ModTime().Equal(when) {
		t.Errorf("mtime %v, err %v", fi.ModTime(), err)
	}
}

func TestCreateAtMakesOneFileInOneDirectory(t *testing.T) {
	_, path := openRoot(t)
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	os.Symlink("/etc/passwd", filepath.Join(path, "link"))
	os.WriteFile(filepath.Join(path, "old"), nil, 0o600)
	for _, name := range []string{"link", "old", "none/x"} {
		if f, err := CreateAt(dir, name, 0o600, nil); err == nil {
			f.Abort()
			t.Errorf("%s was opened", name)
		}
	}
	if _, err := CreateAt(dir, "old", 0o600, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("an existing file: %v", err)
	}
	f, err := CreateAt(dir, "new", 0o640, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(put("x")(f), f.Sync(time.Time{})); err != nil {
		t.Fatal(err)
	}
	f.Done()
	f.Abort()
	fi, err := os.Stat(filepath.Join(path, "new"))
	if err != nil || fi.Size() != 1 || fi.Mode() != 0o640 {
		t.Errorf("%v, %v", fi, err)
	}
	f, err = CreateAt(dir, "gone", 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if _, err := os.Stat(filepath.Join(path, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left after Abort: %v", err)
	}
}

func TestCreateAtFailsOnPurpose(t *testing.T) {
	_, path := openRoot(t)
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	boom := errors.New("boom")
	if _, err := CreateAt(dir, "f", 0o600, func(step, name string) error {
		if step == "create" && name == "f" {
			return boom
		}
		return nil
	}); !errors.Is(err, boom) {
		t.Error(err)
	}
}

func TestSymlinkReplacesWhatIsThere(t *testing.T) {
	boom := errors.New("boom")
	for _, step := range []string{"", "create", "rename", "syncdir"} {
		root, dir := openRoot(t)
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "l"), []byte("old"), 0o600), os.Symlink("left", filepath.Join(dir, "l.tmp"))); err != nil {
			t.Fatal(err)
		}
		err := Symlink(root, "target", "l", func(s, _ string) error {
			if s == step {
				return boom
			}
			return nil
		})
		if (err == nil) != (step == "") {
			t.Errorf("%q: %v", step, err)
		}
		to, _ := os.Readlink(filepath.Join(dir, "l"))
		if done := step == "" || step == "syncdir"; (to == "target") != done {
			t.Errorf("after a failed %q it leads to %q", step, to)
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("after a failed %q: %v", step, left)
		}
	}
}
