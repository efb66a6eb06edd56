package dkim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"svc.plus/mailsrvd/internal/durable"
)

// turnsFile is the form of the file:
//
//	{"version":1,"turns":{"default._domainkey.svc.plus":[{"selector":"r20261125","since":"2026-11-25T10:00:00Z"}]},
//	 "seen":{"r20261201._domainkey.svc.plus":"2026-12-01T10:00:00Z"}}
type turnsFile struct {
	Version int `json:"version"`
	Turns
}

const turnsVersion = 1

// LoadTurns reads a file of turns. Without one, no ring has turned yet. A file
// that is lost costs a question to the DNS: the newest key with a record signs.
func LoadTurns(path string) (Turns, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return NewTurns(), nil
	}
	if err != nil {
		return NewTurns(), fmt.Errorf("reading which DKIM keys sign: %w", err)
	}
	defer f.Close()
	t := turnsFile{Turns: NewTurns()}
	if err := json.NewDecoder(io.LimitReader(f, 16<<20)).Decode(&t); err != nil {
		return NewTurns(), fmt.Errorf("reading which DKIM keys sign, %s: %w", path, err)
	}
	if t.Version != turnsVersion {
		return NewTurns(), fmt.Errorf("%s is of version %d", path, t.Version)
	}
	if t.Of == nil || t.Seen == nil { // null, by another hand
		return NewTurns(), fmt.Errorf("%s has no turns", path)
	}
	return t.Turns, nil
}

// Save writes the file, durable when it returns nil.
func (t Turns) Save(path string) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("keeping which DKIM keys sign: %w", err)
	}
	defer root.Close()
	err = durable.WriteFile(root, filepath.Base(path), 0o640, nil, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(turnsFile{turnsVersion, t})
	})
	if err != nil {
		return fmt.Errorf("keeping which DKIM keys sign: %w", err)
	}
	return nil
}
