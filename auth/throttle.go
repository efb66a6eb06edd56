package auth

import (
	"container/list"
	"context"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// How guessing is slowed down. An address (for IPv6 its /64) and a user name
// each may fail freeFailures times; the next attempts wait 1, 2, 4, 8 … seconds
// before the password is looked at, up to Options.MaxDelay. After failureWindow
// without a failure all is forgotten.
//
// Three things keep this from hurting the innocent. The same wrong password
// sent again and again (a phone with an old password) counts once. Somebody who
// logged in from the same network before does not wait until he himself failed
// goodFailures times, whatever others do with his name or his address. And the
// allow-list of networks always wins.
const (
	freeFailures  = 3
	goodFailures  = 10
	failureWindow = 15 * time.Minute
	goodWindow    = 30 * 24 * time.Hour
	// maxTracked bounds each table; an entry takes about 150 bytes.
	maxTracked = 1 << 16
	// maxGuesses is how many different wrong passwords an entry tells apart.
	maxGuesses = 8
)

// throttle counts failures. It is safe for concurrent use.
type throttle struct {
	max   time.Duration  // the longest delay
	slots int            // attempts of one network at a time
	wait  time.Duration  // how long an attempt waits for a slot
	allow []netip.Prefix // networks without limits
	seed  maphash.Seed

	mu     sync.Mutex // guards all below
	addrs  *table
	users  *table
	good   *table // network and user that belong together
	active map[netip.Prefix]*gate
}

func newThrottle(o Options) *throttle {
	return &throttle{
		max: o.MaxDelay, slots: o.MaxPerNetwork, wait: o.MaxWait, allow: o.AllowNets,
		seed:  maphash.MakeSeed(),
		addrs: newTable(failureWindow), users: newTable(failureWindow), good: newTable(goodWindow),
		active: make(map[netip.Prefix]*gate),
	}
}

// network is what counts as one client: an IPv4 address, or the /64 that an
// IPv6 customer has to himself. The zero Prefix stands for a local socket.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // fails for the zero Addr only
	return p
}

// free reports whether the address is never slowed down: allow-listed, or no
// address at all.
func (t *throttle) free(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return !a.IsValid() || slices.ContainsFunc(t.allow, func(p netip.Prefix) bool { return p.Contains(a) })
}

// delay tells how long an attempt has to wait before the password is looked at.
func (t *throttle) delay(remote netip.Addr, name string) time.Duration {
	if t.free(remote) {
		return 0
	}
	addr, user, pair := t.keys(remote, name)
	t.mu.Lock()
	defer t.mu.Unlock()
	if g := t.good.get(pair); g != nil && g.failures < goodFailures {
		return 0
	}
	return max(t.ladder(t.addrs.get(addr)), t.ladder(t.users.get(user)))
}

func (t *throttle) ladder(e *record) time.Duration {
	if e == nil || e.failures < freeFailures {
		return 0
	}
	return min(time.Second<<min(e.failures-freeFailures, 20), t.max)
}

// failed counts a refused attempt. It gives the guess, which is the same number
// for the same name and password, and reports whether it was a stranger's.
func (t *throttle) failed(remote netip.Addr, name, password string) (guess uint64, stranger bool) {
	if t.free(remote) {
		return 0, false
	}
	addr, user, pair := t.keys(remote, name)
	guess = t.hash(name, password)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.addrs.make(addr).count(guess)
	t.users.make(user).count(guess)
	if g := t.good.get(pair); g != nil {
		g.count(guess)
		return guess, g.failures >= goodFailures
	}
	return guess, true
}

// succeeded remembers that this user comes from this network.
func (t *throttle) succeeded(remote netip.Addr, name string) {
	if t.free(remote) {
		return
	}
	_, _, pair := t.keys(remote, name)
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.good.make(pair) = record{}
}

func (t *throttle) keys(remote netip.Addr, name string) (addr, user, pair uint64) {
	n := network(remote).String()
	return t.hash(n), t.hash("", name), t.hash(n, name)
}

// hash makes table keys of a fixed size from what strangers send.
func (t *throttle) hash(parts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	for _, p := range parts {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.WriteString(p)
	}
	return h.Sum64()
}

// gate is the queue of one network's attempts.
type gate struct {
	slots chan struct{}
	users int // attempts that hold or want a slot; at 0 the gate goes
}

// enter waits until the network of remote has a slot free and returns the
// function that frees it. An attempt holds its slot until it is answered, so
// that many connections at once guess no faster than a few.
func (t *throttle) enter(ctx context.Context, remote netip.Addr) (leave func(), err error) {
	if t.free(remote) {
		return func() {}, nil
	}
	n := network(remote)
	g := t.join(n)
	timer := time.NewTimer(t.wait)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots; t.part(n, g) }, nil
	case <-timer.C:
		t.part(n, g)
		return nil, Fail(Throttled, "%d attempts from %v are under way", t.slots, n)
	case <-ctx.Done():
		t.part(n, g)
		return nil, Fail(Unavailable, "waiting for a slot: %w", context.Cause(ctx))
	}
}

func (t *throttle) join(n netip.Prefix) *gate {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.active[n]
	if g == nil {
		g = &gate{slots: make(chan struct{}, t.slots)}
		t.active[n] = g
	}
	g.users++
	return g
}

func (t *throttle) part(n netip.Prefix, g *gate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g.users--; g.users == 0 {
		delete(t.active, n)
	}
}

// record is what is known about one key.
type record struct {
	failures int
	guesses  [maxGuesses]uint64 // the last different ones
}

// count adds a failure unless the same guess failed before.
func (r *record) count(guess uint64) {
	if slices.Contains(r.guesses[:], guess) {
		return
	}
	r.guesses[r.failures%maxGuesses] = guess
	r.failures++
}

// table is a map of records that forgets: what was not touched by make for the
// window, and the longest untouched when it is full.
type table struct {
	window time.Duration
	byKey  map[uint64]*list.Element
	order  *list.List // of *row, longest untouched first
}

type row struct {
	key     uint64
	touched time.Time
	record
}

func newTable(window time.Duration) *table {
	return &table{window: window, byKey: make(map[uint64]*list.Element), order: list.New()}
}

// get returns the record of key, or nil.
func (t *table) get(key uint64) *record {
	el, ok := t.byKey[key]
	if !ok {
		return nil
	}
	r := el.Value.(*row)
	if time.Since(r.touched) >= t.window {
		t.drop(el)
		return nil
	}
	return &r.record
}

// make returns the record of key, a new one if there is none, and touches it.
func (t *table) make(key uint64) *record {
	if r := t.get(key); r != nil {
		el := t.byKey[key]
		el.Value.(*row).touched = time.Now()
		t.order.MoveToBack(el)
		return r
	}
	if len(t.byKey) >= maxTracked {
		t.drop(t.order.Front())
	}
	r := &row{key: key, touched: time.Now()}
	t.byKey[key] = t.order.PushBack(r)
	return &r.record
}

func (t *table) drop(el *list.Element) {
	delete(t.byKey, el.Value.(*row).key)
	t.order.Remove(el)
}
