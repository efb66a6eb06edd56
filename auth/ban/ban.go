// Package ban keeps the list of addresses and networks that may not connect:
// those that an administrator names, and those that guessed too many passwords.
// The list is a file, so that it survives a restart.
package ban

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/internal/durable"
)

// Options are what a List needs; File alone is necessary.
type Options struct {
	// File keeps the list.
	File string
	// Pass are networks that are never banned, whatever the list says.
	Pass []netip.Prefix
	// After is the number of different wrong passwords within an hour after which
	// an address (IPv6: its /64) is banned; 0 bans nobody.
	After int
	// NetworkAfter is the same for an IPv4 /24 or IPv6 /48, if they came from
	// three addresses at least.
	NetworkAfter int
	// Time is how long a ban for failed logins lasts, 0 means an hour. Each
	// further one within a week of the last lasts twice as long, a week at most.
	Time time.Duration

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Scope is what an entry keeps a client from.
type Scope string

// The scopes.
const (
	// Everything is any connection, mail from other servers included: what an
	// administrator orders.
	Everything Scope = "all"
	// Logins are the ports where one logs in: what failed logins lead to.
	Logins Scope = "logins"
)

// Entry is one element of the list.
type Entry struct {
	Network netip.Prefix `json:"network"`
	Scope   Scope        `json:"scope"`
	Since   time.Time    `json:"since"`
	// Until is the end; zero for none.
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// Times is how often in a row it was banned for failed logins.
	Times int `json:"times,omitempty"`
}

const (
	window     = time.Hour
	longest    = 7 * 24 * time.Hour
	maxEntries = 100_000
	maxTracked = 1 << 16
	maxFile    = 64 << 20
)

// List is the list. It is safe for concurrent use.
type List struct {
	o   Options
	now func() time.Time

	mu      sync.Mutex // guards what follows
	entries map[netip.Prefix]Entry
	past    map[netip.Prefix]Entry // ended bans for failed logins, for a week
	bits    map[int]int            // how many entries have a prefix of this length; IPv6 ones plus 1000
	tracked map[netip.Prefix]*record
	banned  *prometheus.CounterVec
	current prometheus.Gauge
}

// record has the wrong passwords of a network.
type record struct {
	began     time.Time
	guesses   []uint64       // different ones
	addresses []netip.Prefix // a few of those that failed; for networks
}

type file struct {
	Version int     `json:"version"`
	Entries []Entry `json:"entries"`
	Past    []Entry `json:"past,omitempty"`
}

// Open reads the list, which is empty if there is no file yet.
func Open(o Options) (*List, error) {
	l := &List{
		o: o, now: time.Now, entries: map[netip.Prefix]Entry{}, past: map[netip.Prefix]Entry{},
		bits: map[int]int{}, tracked: map[netip.Prefix]*record{},
		banned:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailsrvd_bans_total", Help: "Addresses and networks that were banned, by who did it: admin, failures."}, []string{"by"}),
		current: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mailsrvd_banned", Help: "Addresses and networks that are banned now."}),
	}
	l.o.Time = cmp.Or(o.Time, time.Hour)
	if l.o.Logger == nil {
		l.o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(l.banned, l.current)
	}
	f, err := os.Open(o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the list of bans: %w", err)
	}
	defer f.Close()
	var kept file
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(&kept); err != nil || kept.Version != 1 {
		return nil, fmt.Errorf("%s is no list of bans (move it away to begin a new one): %w", o.File, cmp.Or(err, errors.New("unknown version")))
	}
	for _, e := range kept.Entries {
		if e.Network.IsValid() {
			l.put(e)
		}
	}
	for _, e := range kept.Past {
		l.past[e.Network] = e
	}
	return l, nil
}

// Banned reports whether an address may not connect. loginPort says that the
// port is one where users log in.
func (l *List) Banned(ip netip.Addr, loginPort bool) bool {
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() || contains(l.o.Pass, ip) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.bits {
		bits, is6 := key%1000, key >= 1000
		if is6 != ip.Is6() {
			continue
		}
		p, err := ip.Prefix(bits)
		if err != nil {
			continue
		}
		e, ok := l.entries[p]
		if ok && (e.Scope != Logins || loginPort) && (e.Until.IsZero() || l.now().Before(e.Until)) {
			return true
		}
	}
	return false
}

func contains(list []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// Errors of Add and Remove.
var (
	ErrPass    = errors.New("a part of it is in [limits] trusted, which nobody bans")
	ErrUnknown = errors.New("is not banned")
)

// Add bans a network for d, or for good when d is 0. An entry of the same
// network is replaced. The list is durable when it returns nil.
func (l *List) Add(network netip.Prefix, d time.Duration, reason string) (Entry, error) {
	network = network.Masked()
	for _, p := range l.o.Pass {
		if p.Overlaps(network) {
			return Entry{}, fmt.Errorf("%v: %w", network, ErrPass)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := Entry{Network: network, Scope: Everything, Since: l.now().UTC().Truncate(time.Second), Reason: reason}
	if d > 0 {
		e.Until = e.Since.Add(d)
	}
	l.put(e)
	if err := l.save(); err != nil {
		return Entry{}, err
	}
	l.banned.WithLabelValues("admin").Inc()
	l.o.Logger.Warn("banned", "network", network.String(), "scope", string(e.Scope), "until", untilText(e), "by", "admin", "reason", reason)
	return e, nil
}

// Remove ends the ban of exactly this network, and forgets its failures; else
// its error is ErrUnknown, and says which entry covers it.
func (l *List) Remove(network netip.Prefix) error {
	network = network.Masked()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep()
	if _, ok := l.entries[network]; !ok {
		for p := range l.entries {
			if p.Overlaps(network) {
				return fmt.Errorf("%v %w, but %v is", network, ErrUnknown, p)
			}
		}
		return fmt.Errorf("%v %w", network, ErrUnknown)
	}
	l.drop(network)
	delete(l.past, network)
	delete(l.tracked, network)
	delete(l.tracked, surroundings(network.Addr()))
	l.o.Logger.Warn("ban removed", "network", network.String())
	return l.save()
}

// Entries lists what is banned now, the latest first.
func (l *List) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep()
	list := make([]Entry, 0, len(l.entries))
	for _, e := range l.entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(b.Since.Compare(a.Since), a.Network.Addr().Compare(b.Network.Addr()))
	})
	return list
}

// Failed counts a failed login. guess stands for its name and password: the same
// one counts once within an hour.
func (l *List) Failed(ip netip.Addr, guess uint64) {
	ip = ip.Unmap().WithZone("")
	if !ip.IsValid() || contains(l.o.Pass, ip) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	own, around := customer(ip), surroundings(ip)
	if n := l.count(own, own, guess, l.o.After); l.o.After > 0 && n >= l.o.After {
		l.ban(own, n)
	}
	if n := l.count(around, own, guess, l.o.NetworkAfter); l.o.NetworkAfter > 0 && n >= l.o.NetworkAfter && len(l.tracked[around].addresses) >= fewAddresses {
		l.ban(around, n)
	}
}

// fewAddresses is how many have to fail before their network is to blame.
const fewAddresses = 3

// count adds a guess from one of its addresses to a network, and gives the number
// of different ones, which is not counted beyond most. l.mu is held.
func (l *List) count(network, of netip.Prefix, guess uint64, most int) int {
	if most == 0 {
		return 0
	}
	now := l.now()
	r := l.tracked[network]
	if r == nil || now.Sub(r.began) >= window {
		if r == nil && len(l.tracked) >= maxTracked {
			l.forget(now)
		}
		r = &record{began: now}
		l.tracked[network] = r
	}
	if len(r.guesses) < most && !slices.Contains(r.guesses, guess) {
		r.guesses = append(r.guesses, guess)
	}
	if len(r.addresses) < fewAddresses && !slices.Contains(r.addresses, of) {
		r.addresses = append(r.addresses, of)
	}
	return len(r.guesses)
}

// forget makes room: what is old goes, and if nothing is, all of it.
func (l *List) forget(now time.Time) {
	for p, r := range l.tracked {
		if now.Sub(r.began) >= window {
			delete(l.tracked, p)
		}
	}
	if len(l.tracked) >= maxTracked {
		clear(l.tracked)
	}
}

// ban bans a network that failed too often. l.mu is held.
func (l *List) ban(network netip.Prefix, failures int) {
	l.sweep()
	if e, ok := l.entries[network]; ok && (e.Scope == Everything || len(l.entries) >= maxEntries) {
		return
	}
	e := Entry{Network: network, Scope: Logins, Since: l.now().UTC().Truncate(time.Second), Times: 1,
		Reason: fmt.Sprintf("%d wrong passwords", failures)}
	if before, ok := l.past[network]; ok {
		e.Times = before.Times + 1
	}
	d := l.o.Time << min(e.Times-1, 10)
	if d <= 0 || d > longest {
		d = max(longest, l.o.Time)
	}
	e.Until = e.Since.Add(d)
	l.put(e)
	delete(l.tracked, network)
	l.banned.WithLabelValues("failures").Inc()
	l.o.Logger.Warn("banned", "network", network.String(), "scope", string(e.Scope), "until", untilText(e), "by", "failures", "reason", e.Reason)
	if err := l.save(); err != nil {
		l.o.Logger.Error("keeping the list of bans", "err", err)
	}
}

func untilText(e Entry) string {
	if e.Until.IsZero() {
		return "for good"
	}
	return e.Until.Format(time.RFC3339)
}

// put and drop keep entries and bits together. l.mu is held.
func (l *List) put(e Entry) {
	l.drop(e.Network)
	l.entries[e.Network] = e
	l.bits[bitsKey(e.Network)]++
	l.current.Set(float64(len(l.entries)))
}

func (l *List) drop(network netip.Prefix) {
	if _, ok := l.entries[network]; !ok {
		return
	}
	delete(l.entries, network)
	key := bitsKey(network)
	if l.bits[key]--; l.bits[key] == 0 {
		delete(l.bits, key)
	}
	l.current.Set(float64(len(l.entries)))
}

func bitsKey(p netip.Prefix) int {
	if p.Addr().Is6() {
		return 1000 + p.Bits()
	}
	return p.Bits()
}

// sweep takes ended bans out. l.mu is held.
func (l *List) sweep() {
	now := l.now()
	for p, e := range l.entries {
		if e.Until.IsZero() || now.Before(e.Until) {
			continue
		}
		l.drop(p)
		if e.Times > 0 {
			l.past[p] = e
		}
	}
	for p, e := range l.past {
		if now.Sub(e.Until) > longest {
			delete(l.past, p)
		}
	}
}

// save writes the file. l.mu is held.
func (l *List) save() error {
	l.sweep()
	f := file{Version: 1, Entries: []Entry{}}
	for _, e := range l.entries {
		f.Entries = append(f.Entries, e)
	}
	for _, e := range l.past {
		f.Past = append(f.Past, e)
	}
	root, err := os.OpenRoot(filepath.Dir(l.o.File))
	if err != nil {
		return fmt.Errorf("keeping the list of bans: %w", err)
	}
	defer root.Close()
	err = durable.WriteFile(root, filepath.Base(l.o.File), 0o600, nil, func(w io.Writer) error { return json.NewEncoder(w).Encode(f) })
	if err != nil {
		return fmt.Errorf("keeping the list of bans: %w", err)
	}
	return nil
}

// customer is what one customer of a network usually holds.
func customer(ip netip.Addr) netip.Prefix {
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked()
	}
	return netip.PrefixFrom(ip, 32)
}

func surroundings(ip netip.Addr) netip.Prefix {
	if ip.Is6() {
		return netip.PrefixFrom(ip, 48).Masked()
	}
	return netip.PrefixFrom(ip, 24).Masked()
}

// ParseNetwork reads "192.0.2.1", "192.0.2.0/24", "2001:db8::1" or
// "2001:db8::/32". Bits behind the length are an error: somebody may have meant
// the address alone.
func ParseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, fmt.Errorf("%q is neither an address nor a network such as 192.0.2.0/24", s)
	case p != p.Masked():
		return p, fmt.Errorf("%q has bits behind its length; write %v, or the address alone", s, p.Masked())
	case p.Bits() == 0:
		return p, fmt.Errorf("%q is everybody", s)
	}
	return p, nil
}
