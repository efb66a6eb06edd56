// Package keyring knows the DKIM keys of a configuration with what rotation has
// made of them.
package keyring

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
)

// Open reads the ring of each [[dkim]], in their order, or returns all that is
// wrong.
func Open(c *config.Config) ([]*dkim.Ring, error) {
	var rings []*dkim.Ring
	var errs []error
	for i, k := range c.DKIM {
		r, err := dkim.OpenRing(k.Domain, k.Selector, k.Key)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Where(fmt.Sprintf("dkim[%d].key", i)), err))
			continue
		}
		rings = append(rings, r)
	}
	return rings, errors.Join(errs...)
}

// TurnsFile is where the daemon remembers which keys sign.
func TurnsFile(c *config.Config) string { return filepath.Join(c.StateDir, "dkim.json") }

// Keep is how long the record of a key is needed after its last signature: as
// long as mail may wait in a queue, ours or another's, and some more.
func Keep(c *config.Config) time.Duration {
	return max(c.Queue.MaxAge, 5*24*time.Hour) + 2*24*time.Hour
}

// Settle is how long a record has been in the DNS before its key signs, so that
// no verifier asks a server that does not know it yet.
const Settle = 15 * time.Minute

// Key is a key of a domain with its state.
type Key struct {
	dkim.KeyStatus
	Domain string
	// Index is that of the [[dkim]] that it belongs to.
	Index int
}

// States gives the state of all keys of rings, as Open gave them.
func States(c *config.Config, rings []*dkim.Ring, turns dkim.Turns, now time.Time) []Key {
	var keys []Key
	for i, r := range rings {
		for _, s := range r.States(turns, now, Keep(c)) {
			keys = append(keys, Key{s, r.Domain, i})
		}
	}
	return keys
}

// Load is Open and States by what is on disk.
func Load(c *config.Config) ([]Key, error) {
	rings, err := Open(c)
	if err != nil {
		return nil, err
	}
	turns, err := dkim.LoadTurns(TurnsFile(c))
	if err != nil {
		return nil, err
	}
	return States(c, rings, turns, time.Now()), nil
}

// Advice says what is to be done about a key, in a sentence without a stop; ""
// for nothing.
func (k Key) Advice() string {
	name := dkim.RecordName(k.Domain, k.Selector)
	switch k.State {
	case dkim.Waiting:
		if !k.Since.IsZero() {
			return "its record is in the DNS; it signs from " + k.Since.Add(Settle).Local().Format(time.TimeOnly) + " on"
		}
		return fmt.Sprintf("it signs when its record, which mailsrvd dkim show %s prints, has been in the DNS for %d minutes", k.Domain, Settle/time.Minute)
	case dkim.Retiring:
		return fmt.Sprintf("leave its record %s in the DNS until %s, for mail that is on its way", name, k.Until.Local().Format(time.DateOnly))
	case dkim.Spent:
		return fmt.Sprintf("remove its record %s from the DNS, and the file %s", name, k.Path)
	}
	return ""
}
