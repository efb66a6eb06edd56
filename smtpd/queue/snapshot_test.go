package queue

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// snapshotOf copies a snapshot into a new directory.
func snapshotOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	var last string
	err := Snapshot(dir, func(name string, f *os.File) error {
		if strings.HasSuffix(name, envelopeSuffix) && last != strings.TrimSuffix(name, envelopeSuffix)+messageSuffix {
			t.Errorf("%s comes after %s, not after its message", name, last)
		}
		last = name
		b, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestSnapshotOfABusyQueue: what was acknowledged before and stays is there
// whole, while other messages come, change and go.
func TestSnapshotOfABusyQueue(t *testing.T) {
	f := newFixture(t, always(later))
	defer f.Close()
	f.fill()
	kept, err := ReadDir(f.dir)
	if err != nil || len(kept) != 4 {
		t.Fatalf("%v, %v", ids(kept), err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				id := f.put(envelope("passing@c.example"))
				for _, change := range []func(context.Context, Filter) (int, error){f.Hold, f.Release, f.Remove} {
					if _, err := change(context.Background(), Filter{IDs: []string{id}}); err != nil {
						t.Error(err)
						return
					}
				}
				// Those that stay change, too: the envelope is written anew.
				if _, err := f.Hold(context.Background(), Filter{IDs: []string{kept[0].ID}}); err != nil && !errors.Is(err, ErrNotFound) {
					t.Error(err)
					return
				}
				f.Release(context.Background(), Filter{IDs: []string{kept[0].ID}})
			}
		})
	}
	for range 20 {
		to := snapshotOf(t, f.dir)
		items, err := ReadDir(to)
		if err != nil {
			t.Errorf("the copy: %v", err)
		}
		got := " " + strings.Join(ids(items), " ") + " "
		for _, it := range kept {
			if !strings.Contains(got, " "+it.ID+" ") {
				t.Errorf("%s is not in the copy: %s", it.ID, got)
			}
		}
	}
	close(stop)
	wg.Wait()
	// A server starts from the copy.
	to := snapshotOf(t, f.dir)
	o := f.options()
	o.Dir = to
	q, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if items, err := q.List(context.Background(), Filter{}); err != nil || len(items) < 4 {
		t.Errorf("%v, %v", ids(items), err)
	}
}

func TestSnapshotOfNothing(t *testing.T) {
	if got, _ := os.ReadDir(snapshotOf(t, filepath.Join(t.TempDir(), "missing"))); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
