package dmarcrpt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/durable"
)

// day is the file of one day, <date>.json.
type day struct {
	Version int               `json:"version"`
	Domains map[string]*tally `json:"domains"`
}

const (
	version     = 1
	maxFileSize = 512 << 20
)

func newDay() *day { return &day{Version: version, Domains: map[string]*tally{}} }

// store is the directory. It is made when the first file is written.
type store struct{ dir string }

// load reads a day; one that is not there, or cannot be read, is empty, and the
// error says why.
func (s store) load(date string) (*day, error) {
	f, err := os.Open(filepath.Join(s.dir, date+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return newDay(), nil
	}
	if err != nil {
		return newDay(), err
	}
	defer f.Close()
	d := newDay()
	if err := json.NewDecoder(io.LimitReader(f, maxFileSize)).Decode(d); err != nil {
		return newDay(), fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	if d.Version != version || d.Domains == nil {
		return newDay(), fmt.Errorf("%s is of version %d", f.Name(), d.Version)
	}
	for name, t := range d.Domains {
		if t == nil || slices.Contains(t.Rows, nil) {
			delete(d.Domains, name)
		}
	}
	return d, nil
}

// save writes a day, or removes its file when nothing is left in it.
func (s store) save(date string, d *day) error {
	name := date + ".json"
	if len(d.Domains) == 0 {
		err := os.Remove(filepath.Join(s.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return durable.WriteFile(root, name, 0o600, nil, func(w io.Writer) error { return json.NewEncoder(w).Encode(d) })
}

// dates lists the days that have a file, oldest first.
func (s store) dates() []string {
	files, err := os.ReadDir(s.dir)
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
