// Package daybook keeps, for each day, something for each of many domains: a
// directory with a file a day. What is counted one day is reported the next, and
// a restart in between loses nothing.
package daybook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/durable"
)

// Day is the file of one day, <date>.json.
type Day[T any] struct {
	Version int           `json:"version"`
	Domains map[string]*T `json:"domains"`
}

const version = 1

// maxFile bounds what is read, in bytes.
const maxFile = 512 << 20

func newDay[T any]() *Day[T] { return &Day[T]{Version: version, Domains: map[string]*T{}} }

// Store is the directory. It is made when the first file is written.
type Store[T any] struct {
	// Dir is its path.
	Dir string
	// Valid refuses what a damaged file has for a domain; nil takes everything.
	Valid func(*T) bool
}

// Load reads a day; one that is not there, or cannot be read, is empty, and the
// error says why. Dates have the form of time.DateOnly.
func (s Store[T]) Load(date string) (*Day[T], error) {
	f, err := os.Open(filepath.Join(s.Dir, date+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return newDay[T](), nil
	}
	if err != nil {
		return newDay[T](), err
	}
	defer f.Close()
	d := newDay[T]()
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(d); err != nil {
		return newDay[T](), fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	if d.Version != version || d.Domains == nil {
		return newDay[T](), fmt.Errorf("%s is of version %d", f.Name(), d.Version)
	}
	for name, t := range d.Domains {
		if t == nil || s.Valid != nil && !s.Valid(t) {
			delete(d.Domains, name)
		}
	}
	return d, nil
}

// Save writes a day durably, or removes its file when nothing is left in it.
func (s Store[T]) Save(date string, d *Day[T]) error {
	name := date + ".json"
	if len(d.Domains) == 0 {
		err := os.Remove(filepath.Join(s.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return durable.WriteFile(root, name, 0o600, nil, func(w io.Writer) error { return json.NewEncoder(w).Encode(d) })
}

// Dates lists the days that have a file, oldest first.
func (s Store[T]) Dates() []string {
	files, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil
	}
	var dates []string
	for _, f := range files {
		date, ok := strings.CutSuffix(f.Name(), ".json")
		if _, err := time.Parse(time.DateOnly, date); ok && err == nil {
			dates = append(dates, date)
		}
	}
	return dates
}
