package dkim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Ring is one signing key of a domain through its rotations: the key that the
// configuration names, and after it those that took or will take its place. A
// later key's file stands beside the first one and has its selector at the end
// of its name:
//
//	svc.plus.default.key
//	svc.plus.default.key.r20261125
//
// The first file may be removed when a later one signs.
type Ring struct {
	Domain string
	// Selector and path are those of the first key.
	Selector string
	path     string
	// Keys are in the order in which they were made.
	Keys []RingKey
}

// RingKey is a key of a Ring.
type RingKey struct {
	Selector, Path string
	Key            *Key
}

// madeSelector is the form of selectors that rotation makes: a letter for the
// algorithm, the date, and a letter from the second of a day on.
var madeSelector = regexp.MustCompile(`^[er][0-9]{8}[a-z]?$`)

// OpenRing reads the keys of a ring. Other files beside them are left alone.
func OpenRing(domain, selector, path string) (*Ring, error) {
	r := &Ring{Domain: canonicalName(domain), Selector: canonicalName(selector), path: path}
	first, err := LoadKey(path)
	if err == nil {
		r.Keys = append(r.Keys, RingKey{r.Selector, path, first})
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files, _ := os.ReadDir(filepath.Dir(path)) // none: the first key alone counts
	for _, f := range files {
		made, ok := strings.CutPrefix(f.Name(), filepath.Base(path)+".")
		if !ok || !madeSelector.MatchString(made) {
			continue
		}
		k, err := LoadKey(r.PathOf(made))
		if err != nil {
			return nil, err
		}
		r.Keys = append(r.Keys, RingKey{made, r.PathOf(made), k})
	}
	slices.SortStableFunc(r.Keys, func(a, b RingKey) int { return strings.Compare(r.age(a), r.age(b)) })
	if len(r.Keys) == 0 {
		return nil, err
	}
	return r, nil
}

// age sorts keys: the first, then by date, whatever the algorithm.
func (r *Ring) age(k RingKey) string {
	if k.Selector == r.Selector {
		return ""
	}
	return k.Selector[1:]
}

// Name tells rings apart: the name of the first key's record.
func (r *Ring) Name() string { return RecordName(r.Domain, r.Selector) }

// PathOf is where the key of a selector that rotation made belongs.
func (r *Ring) PathOf(selector string) string { return r.path + "." + selector }

// NextSelector is the selector of a key to be made now, of the algorithm of the
// newest key.
func (r *Ring) NextSelector(now time.Time) (string, Algorithm, error) {
	newest := r.Keys[len(r.Keys)-1]
	alg := newest.Key.Algorithm()
	base := map[Algorithm]string{RSA: "r", Ed25519: "e"}[alg] + now.UTC().Format("20060102")
	for _, suffix := range append([]string{""}, strings.Split("bcdefghijklmnopqrstuvwxyz", "")...) {
		k := RingKey{Selector: base + suffix}
		if len(r.Keys) == 1 && newest.Selector == r.Selector || r.age(k) > r.age(newest) {
			return k.Selector, alg, nil
		}
	}
	return "", "", fmt.Errorf("%s has had too many keys today", r.Name())
}

// Turn is when a key of a ring began to sign.
type Turn struct {
	Selector string    `json:"selector"`
	Since    time.Time `json:"since"`
}

// Turns is which keys sign, as it is kept over restarts. A ring without turns is
// at its first key.
type Turns struct {
	// Of has the turns of rings by their Name, in order.
	Of map[string][]Turn `json:"turns"`
	// Seen is when the record of a waiting key, by its name, was first found.
	Seen map[string]time.Time `json:"seen,omitempty"`
}

// NewTurns has none.
func NewTurns() Turns { return Turns{map[string][]Turn{}, map[string]time.Time{}} }

// KeyState is what a key of a ring does at the moment.
type KeyState string

// The states, in the order of a key's life.
const (
	Waiting  KeyState = "waiting"  // for its record in the DNS, or for all to see it
	Signing  KeyState = "signing"  // mail that is sent now
	Retiring KeyState = "retiring" // its record is needed for mail on its way
	Spent    KeyState = "spent"    // record and file may be removed
)

// KeyStatus is a key of a ring with its state.
type KeyStatus struct {
	RingKey
	State KeyState
	// Since is when a key began or ceased to sign, or when the record of a
	// waiting one was first found; zero for what was never seen.
	Since time.Time
	// Until is when a retiring key is spent.
	Until time.Time
}

// States tells the state of each key, in order. keep is how long a record is
// needed after its key's last signature.
func (r *Ring) States(turns Turns, now time.Time, keep time.Duration) []KeyStatus {
	list := turns.Of[r.Name()]
	signing := r.signing(list)
	out := make([]KeyStatus, len(r.Keys))
	for i, k := range r.Keys {
		s := KeyStatus{RingKey: k, State: Waiting, Since: turns.Seen[RecordName(r.Domain, k.Selector)]}
		switch {
		case i == signing:
			s.State, s.Since = Signing, since(list, k.Selector)
		case i < signing:
			s.State, s.Since = Retiring, since(list, r.Keys[i+1].Selector)
			if s.Until = s.Since.Add(keep); !now.Before(s.Until) {
				s.State = Spent
			}
		}
		out[i] = s
	}
	return out
}

// signing is the index of the key whose turn it is: that of the last turn, as
// far as its key is still there.
func (r *Ring) signing(list []Turn) int {
	for _, t := range slices.Backward(list) {
		if i := slices.IndexFunc(r.Keys, func(k RingKey) bool { return k.Selector == t.Selector }); i >= 0 {
			return i
		}
	}
	return 0
}

// since is when selector began to sign; a key that was passed over ended when
// the next one began.
func since(list []Turn, selector string) time.Time {
	for _, t := range list {
		if t.Selector == selector {
			return t.Since
		}
	}
	if len(list) > 0 {
		return list[len(list)-1].Since
	}
	return time.Time{}
}

// Advance gives the turn to the newest waiting key whose record has been in the
// DNS for settle: secondary servers, and who has asked too early, need a while to
// know it. That is not waited for when the record of the key that signs is gone.
// found asks the DNS. It never goes back, and tells whether it has changed turns.
func (r *Ring) Advance(turns Turns, now time.Time, settle time.Duration, found func(RingKey) bool) (changed bool) {
	now = now.UTC().Truncate(time.Second)
	signing := r.signing(turns.Of[r.Name()])
	if signing < len(r.Keys)-1 && !found(r.Keys[signing]) {
		settle = 0
	}
	for i := len(r.Keys) - 1; i > signing; i-- {
		name := RecordName(r.Domain, r.Keys[i].Selector)
		first, seen := turns.Seen[name]
		switch {
		case !found(r.Keys[i]):
			delete(turns.Seen, name)
			changed = changed || seen
			continue
		case !seen:
			first, changed = now, true
			turns.Seen[name] = now
		}
		if now.Sub(first) >= settle {
			delete(turns.Seen, name)
			turns.Of[r.Name()] = append(turns.Of[r.Name()], Turn{r.Keys[i].Selector, now})
			return true
		}
	}
	return changed
}

// Current is the identity that signs.
func (r *Ring) Current(turns Turns) Identity {
	k := r.Keys[r.signing(turns.Of[r.Name()])]
	return Identity{Domain: r.Domain, Selector: k.Selector, Key: k.Key}
}
