package mtasts

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

// entry is a policy that was fetched, as the file <domain>.json has it:
//
//	{"version":1,"domain":"example.org","id":"20261125","fetched":"2026-11-25T04:00:00Z",
//	 "policy":{"mode":"enforce","mx":["mx.example.org"],"max_age":604800000000000}}
type entry struct {
	Version int       `json:"version"` // of this form
	Domain  string    `json:"domain"`
	ID      string    `json:"id"`
	Fetched time.Time `json:"fetched"`
	Policy  Policy    `json:"policy"`
}

const (
	entryVersion = 1
	maxEntries   = 10_000 // in memory
	sweepAfter   = 24 * time.Hour
)

// valid reports whether the policy still counts. A date in the future is of a
// clock that was wrong.
func (e *entry) valid(now time.Time) bool {
	age := now.Sub(e.Fetched)
	return age < e.Policy.MaxAge && age > -time.Hour
}

// known gives the policy that is kept for domain and has not expired, or nil.
func (r *Resolver) known(domain string) *entry {
	r.mu.Lock()
	e := r.entries[domain]
	r.mu.Unlock()
	if e == nil {
		var err error
		if e, err = r.load(domain); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("reading a kept MTA-STS policy", "domain", domain, "err", err)
		}
		if e != nil {
			r.remember(e)
		}
	}
	switch {
	case e == nil:
		return nil
	case !e.valid(r.now()):
		r.forget(domain)
		return nil
	}
	return e
}

// forget drops a policy that has expired.
func (r *Resolver) forget(domain string) {
	r.mu.Lock()
	delete(r.entries, domain)
	r.mu.Unlock()
	if name := fileName(domain); r.o.Dir != "" && name != "" {
		r.remove(name)
	}
}

func (r *Resolver) remove(name string) {
	if err := os.Remove(filepath.Join(r.o.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("removing an expired MTA-STS policy", "file", name, "err", err)
	}
}

// sweep removes the files of policies that have expired without being asked for
// again, once a day at most.
func (r *Resolver) sweep() {
	now := r.now()
	r.mu.Lock()
	due := now.Sub(r.swept) >= sweepAfter
	if due {
		r.swept = now
	}
	r.mu.Unlock()
	if !due {
		return
	}
	files, err := os.ReadDir(r.o.Dir)
	if err != nil {
		r.log.Warn("looking for expired MTA-STS policies", "err", err)
		return
	}
	for _, f := range files {
		domain, ours := strings.CutSuffix(f.Name(), ".json")
		if e, err := r.load(domain); ours && (err != nil || e != nil && !e.valid(now)) {
			r.remove(f.Name())
		}
	}
}

// remember keeps e in memory.
func (r *Resolver) remember(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) >= maxEntries {
		clear(r.entries) // the files still have them
	}
	r.entries[e.Domain] = e
}

// fileName is empty for a domain that could leave the directory.
func fileName(domain string) string {
	if strings.Contains(domain, "/") || len(domain) > 240 {
		return ""
	}
	return domain + ".json"
}

func (r *Resolver) load(domain string) (*entry, error) {
	name := fileName(domain)
	if r.o.Dir == "" || name == "" {
		return nil, nil
	}
	f, err := os.OpenInRoot(r.o.Dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e := new(entry)
	if err := json.NewDecoder(io.LimitReader(f, 4*maxSize)).Decode(e); err != nil {
		return nil, err
	}
	if e.Version != entryVersion || e.Domain != domain {
		return nil, fmt.Errorf("%s is of version %d for %q", name, e.Version, e.Domain)
	}
	return e, nil
}

// save writes e. What cannot be written is fetched again after a restart.
func (r *Resolver) save(e *entry) error {
	name := fileName(e.Domain)
	if r.o.Dir == "" || name == "" {
		return nil
	}
	if err := os.MkdirAll(r.o.Dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(r.o.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	err = durable.WriteFile(root, name, 0o600, nil, func(w io.Writer) error { return json.NewEncoder(w).Encode(e) })
	r.sweep()
	return err
}
