package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// told collects what an instance tells.
type told chan string

func (c told) wait(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-c:
			if got != w {
				t.Fatalf("told %q, want %q", got, w)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("not told %q", w)
		}
	}
}

func TestInotify(t *testing.T) {
	n, err := newInotify()
	if err != nil {
		t.Skip("missing: inotify:", err)
	}
	c, ended := make(told, 100), make(chan bool)
	go func() {
		n.listen(func(dir, name string, there bool) { c <- fmt.Sprint(filepath.Base(dir), " ", name, " ", there) }, func(err error) { c <- err.Error() })
		close(ended)
	}()
	top := t.TempDir()
	dir, link, file := filepath.Join(top, "dir"), filepath.Join(top, "link"), filepath.Join(top, "dir", "a")
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	do(os.Mkdir(dir, 0o700), os.Symlink("dir", link), n.add(dir), n.add(dir))
	do(os.WriteFile(file, []byte("x"), 0o600), os.Chmod(file, 0o640), os.Rename(file, file+"b"), os.Remove(file+"b"))
	c.wait(t, "dir a true", "dir a false", "dir ab true", "dir ab false") // and nothing of what is in files

	do(n.add(link), os.WriteFile(file, nil, 0o600))
	c.wait(t, "dir a true", "link a true")
	n.remove(dir)
	do(os.Remove(file))
	c.wait(t, "link a false")
	n.remove(link)
	n.remove(link)
	do(os.WriteFile(file, nil, 0o600), n.add(dir), os.Remove(file), os.Remove(dir))
	c.wait(t, "dir a false", "dir  false") // it goes itself
	do(os.Mkdir(dir, 0o700), n.add(dir), os.WriteFile(file, nil, 0o600))
	for got := range c { // the end of the old watch may be told once more
		if got == "dir a true" {
			break
		}
		if got != "dir  false" {
			t.Fatal(got)
		}
	}
	if err := n.add(file); err == nil {
		t.Error("a file is watched")
	}
	do(n.close(), n.close())
	<-ended
	if err := n.add(dir); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	n.remove(dir)
	if len(c) != 0 {
		t.Errorf("told too much: %q", <-c)
	}
}
