package inbound

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"svc.plus/mailsrvd/internal/durable"
)

// GreylistOptions are what a Greylist needs; File alone is necessary.
type GreylistOptions struct {
	// File keeps it.
	File string
	// Delay is how long a stranger is put off; 0 means 5 min.
	Delay time.Duration
	// PassNets and PassDomains are never put off: networks, and clients whose
	// address has a name in one of the domains that leads back.
	PassNets    []netip.Prefix
	PassDomains []string
	Logger      *slog.Logger
}

const (
	greyRetry  = 48 * time.Hour      // by when a stranger has to come back
	greyMemory = 36 * 24 * time.Hour // how long who came back is known: a monthly newsletter stays so
	greyGood   = 3                   // messages that came back, after which a network is known as such
	greyClean  = time.Hour
	greyMost   = 500_000 // entries; beyond, nobody new is put off
)

// Greylist puts off who is not known: the same network (IPv4 /24, IPv6 /64),
// reverse-path and recipient get a temporary refusal until the delay has passed,
// and pass from then on. A network that has come back a few times is not put off
// any more. It is safe for concurrent use.
//
// The file is a journal: a line of text that names the format, then records of 36
// bytes, key and value, of which the last of a key counts. It is written without
// fsync, since what a power cut takes is asked for once more, and rewritten when
// half of it is old.
type Greylist struct {
	o   GreylistOptions
	now func() time.Time

	mu      sync.Mutex // guards what follows
	entries map[greyID]seen
	journal *os.File
	records int // in the journal
}

// greyID is a key of fixed size, whatever strangers send.
type greyID [16]byte

const (
	greyMagic  = "mailsrvd greylist 1\n"
	greyRecord = 36
)

// OpenGreylist reads the file, or makes it. One that is no greylist is replaced:
// strangers are put off once more, nothing else.
func OpenGreylist(o GreylistOptions) (*Greylist, error) {
	if o.Delay == 0 {
		o.Delay = 5 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Greylist{o: o, now: time.Now, entries: map[greyID]seen{}}
	if err := g.load(); err != nil {
		return nil, fmt.Errorf("reading the greylist: %w", err)
	}
	if err := g.rewrite(); err != nil {
		return nil, fmt.Errorf("writing the greylist: %w", err)
	}
	return g, nil
}

// load reads what the file has, up to the first record that is cut.
func (g *Greylist) load() error {
	f, err := os.Open(g.o.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	head := make([]byte, len(greyMagic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != greyMagic {
		g.o.Logger.Warn("the greylist begins anew: its file is none", "file", g.o.File)
		return nil
	}
	var record [greyRecord]byte
	for {
		if _, err := io.ReadFull(r, record[:]); err != nil {
			return nil
		}
		if len(g.entries) < greyMost {
			g.entries[greyID(record[:16])] = readSeen(record[16:])
		}
	}
}

// rewrite writes a file with what counts still, and goes on with that. g.mu is
// held, or nobody knows g yet.
func (g *Greylist) rewrite() error {
	now := g.now()
	maps.DeleteFunc(g.entries, func(_ greyID, s seen) bool { return s.over(now) })
	root, err := os.OpenRoot(filepath.Dir(g.o.File))
	if err != nil {
		return err
	}
	defer root.Close()
	err = durable.WriteFile(root, filepath.Base(g.o.File), 0o600, nil, func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 64<<10)
		b.WriteString(greyMagic)
		for id, s := range g.entries {
			b.Write(s.record(id))
		}
		return b.Flush()
	})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(g.o.File, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if g.journal != nil {
		g.journal.Close()
	}
	g.journal, g.records = f, len(g.entries)
	return nil
}

// put notes an entry. g.mu is held.
func (g *Greylist) put(id greyID, s seen) {
	g.entries[id] = s
	g.records++
	if _, err := g.journal.Write(s.record(id)); err != nil {
		g.o.Logger.Warn("the greylist cannot be written", "err", err) // it works on from memory
	}
}

// Close closes the file.
func (g *Greylist) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.journal.Close()
}

// seen is what is kept of a network or triplet.
type seen struct {
	first, last int64 // Unix seconds
	passed      uint32
}

func (s seen) record(id greyID) []byte {
	b := binary.BigEndian.AppendUint64(id[:], uint64(s.first))
	b = binary.BigEndian.AppendUint64(b, uint64(s.last))
	return binary.BigEndian.AppendUint32(b, s.passed)
}

func readSeen(b []byte) seen {
	return seen{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:])), binary.BigEndian.Uint32(b[16:])}
}

// over reports whether an entry counts no more.
func (s seen) over(now time.Time) bool {
	age := now.Sub(time.Unix(s.last, 0))
	return age > greyMemory || s.passed == 0 && age > greyRetry
}

// ask decides about a recipient: the word for the log, and how long the client
// has to wait, 0 if it may go on. name is the client's, asked for only if that
// matters.
func (g *Greylist) ask(remote netip.Addr, name func() string, reversePath, recipient string) (word string, wait time.Duration) {
	if slices.ContainsFunc(g.o.PassNets, func(p netip.Prefix) bool { return p.Contains(remote) }) {
		return "pass", 0
	}
	if len(g.o.PassDomains) > 0 {
		host := strings.ToLower(name())
		for _, d := range g.o.PassDomains {
			if host == d || strings.HasSuffix(host, "."+d) {
				return "pass", 0
			}
		}
	}
	network := greyNetwork(remote)
	whole, triplet := greyKey(network), greyKey(network, greySender(reversePath), strings.ToLower(recipient))
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.decide(whole, triplet)
}

func (g *Greylist) decide(whole, triplet greyID) (word string, wait time.Duration) {
	now := g.now()
	known := g.get(whole, now)
	if known.passed >= greyGood {
		if now.Sub(time.Unix(known.last, 0)) > 24*time.Hour { // spare the disk
			known.last = now.Unix()
			g.put(whole, known)
		}
		return "known", 0
	}
	s := g.get(triplet, now)
	if s == (seen{}) {
		if len(g.entries) >= greyMost {
			return "full", 0
		}
		g.put(triplet, seen{first: now.Unix(), last: now.Unix()})
		return "first", g.o.Delay
	}
	if waited := now.Sub(time.Unix(s.first, 0)); s.passed == 0 && waited < g.o.Delay {
		return "early", g.o.Delay - waited
	}
	if s.passed == 0 { // it came back as a mail server does
		known.passed, known.last = known.passed+1, now.Unix()
		g.put(whole, known)
	}
	s.passed, s.last = s.passed+1, now.Unix()
	g.put(triplet, s)
	return "known", 0
}

// get gives what is known of a key, nothing if that is too old. g.mu is held.
func (g *Greylist) get(id greyID, now time.Time) seen {
	s := g.entries[id]
	if s.over(now) {
		return seen{}
	}
	return s
}

func greyNetwork(a netip.Addr) string {
	bits := 24
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p.String()
}

// greyVaries is what mailing lists change in the reverse-path with each message.
var greyVaries = regexp.MustCompile(`[0-9a-f]*[0-9][0-9a-f]*`)

// greySender is the reverse-path without what stands behind a plus sign, and
// without numbers: bounce-1234-user=host@lists.example is the same as
// bounce-1235-….
func greySender(reversePath string) string {
	reversePath = strings.ToLower(reversePath)
	at := strings.LastIndexByte(reversePath, '@')
	if at < 0 {
		return reversePath
	}
	local, _, _ := strings.Cut(reversePath[:at], "+")
	return greyVaries.ReplaceAllString(local, "#") + reversePath[at:]
}

func greyKey(parts ...string) greyID {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return greyID(h.Sum(nil)[:16])
}

// Run takes out what is too old, until ctx ends.
func (g *Greylist) Run(ctx context.Context) {
	tick := time.NewTicker(greyClean)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.clean()
		}
	}
}

// clean forgets what is too old, and rewrites the file when that is worth it.
func (g *Greylist) clean() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	maps.DeleteFunc(g.entries, func(_ greyID, s seen) bool { return s.over(now) })
	if g.records < 2*len(g.entries)+1000 {
		return
	}
	if err := g.rewrite(); err != nil {
		g.o.Logger.Warn("cleaning the greylist", "err", err)
	}
}
