package queue

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ReadDir reads a queue's directory without its lock: for a server that is
// stopped, or that does not answer. Items that end meanwhile are left out;
// those that cannot be read are in the error, beside the others. A directory
// that does not exist is an empty queue.
func ReadDir(dir string) ([]Item, error) {
	l, err := list(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var items []Item
	var errs []error
	for _, id := range l.envelopes {
		b, err := os.ReadFile(filepath.Join(dir, id+envelopeSuffix))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var it *Item
		if err == nil {
			it, err = decode(id, b)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		items = append(items, *it)
	}
	sortItems(items)
	return items, errors.Join(errs...)
}

// Snapshot calls fn with each item of a queue's directory, which a daemon may be
// using: the name and the open file of the message, then those of the
// envelope; also files that were set aside. Each item that was acknowledged
// before the call, and has not ended during it, is there, whole; those that end
// or arrive meanwhile may be. A directory that does not exist is an empty queue.
func Snapshot(dir string, fn func(name string, f *os.File) error) error {
	// Twice, since POSIX lets a name be missed that is replaced while the
	// directory is read.
	names := map[string]bool{}
	for range 2 {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			names[e.Name()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		id, isEnvelope := strings.CutSuffix(strings.TrimSuffix(name, brokenSuffix), envelopeSuffix)
		if !isEnvelope {
			continue
		}
		if err := snapshot(dir, []string{id + messageSuffix, name}, fn); err != nil {
			return err
		}
	}
	return nil
}

// snapshot opens all files before it hands on the first, so that an item that
// ends meanwhile is left out whole.
func snapshot(dir string, names []string, fn func(string, *os.File) error) error {
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		files = append(files, f)
	}
	for i, f := range files {
		if err := fn(names[i], f); err != nil {
			return err
		}
	}
	return nil
}
