package dns

import (
	"context"
	"fmt"
	"strings"
	"sync"

	mdns "github.com/miekg/dns"
)

// Fake is a resolver for tests: it answers from a zone text, in the process
// (Resolver) or over UDP and TCP (Listen) for programs that are not ours. It is
// safe for concurrent use.
type Fake struct {
	mu      sync.Mutex // guards what follows
	records map[string][]mdns.RR
	failing map[string]int // name -> rcode, for it and all names below
	silent  map[string]bool
	signed  map[string]bool
	asked   map[string]int
}

// NewFake reads zone, in the form of RFC 1035 section 5 with absolute names
// whether they end in a dot or not, and a TTL of 60 where none is given:
//
//	example.org      MX 10 mx.example.org
//	mx.example.org   A  192.0.2.1
//	nothing.example  MX 0  .
func NewFake(zone string) (*Fake, error) {
	f := &Fake{
		records: make(map[string][]mdns.RR),
		failing: make(map[string]int),
		silent:  make(map[string]bool),
		signed:  make(map[string]bool),
		asked:   make(map[string]int),
	}
	return f, f.Add(zone)
}

// Add puts more records in.
func (f *Fake) Add(zone string) error {
	p := mdns.NewZoneParser(strings.NewReader(zone), ".", "")
	p.SetDefaultTTL(60)
	f.mu.Lock()
	defer f.mu.Unlock()
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		name := plainName(rr.Header().Name)
		f.records[name] = append(f.records[name], rr)
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("reading a test zone: %w", err)
	}
	return nil
}

// Remove forgets all records of a name.
func (f *Fake) Remove(name string) { f.with(func() { delete(f.records, plainName(name)) }) }

// Fail makes every question for name and names below it fail for the moment
// (SERVFAIL); Heal ends that.
func (f *Fake) Fail(name string) {
	f.with(func() { f.failing[plainName(name)] = mdns.RcodeServerFailure })
}

// Heal ends Fail and Silence.
func (f *Fake) Heal(name string) {
	f.with(func() { delete(f.failing, plainName(name)); delete(f.silent, plainName(name)) })
}

// Silence makes questions for name go unanswered.
func (f *Fake) Silence(name string) { f.with(func() { f.silent[plainName(name)] = true }) }

// Sign makes answers for name carry the AD bit.
func (f *Fake) Sign(name string) { f.with(func() { f.signed[plainName(name)] = true }) }

// Asked tells how often name was asked for, for any type.
func (f *Fake) Asked(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[plainName(name)]
}

// Questions tells how many questions came in all.
func (f *Fake) Questions() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, times := range f.asked {
		n += times
	}
	return n
}

func (f *Fake) with(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Resolver answers from this zone without any network and without a cache.
func (f *Fake) Resolver() *Resolver {
	return newResolver(f.exchange, Options{CacheSize: -1})
}

func (f *Fake) exchange(ctx context.Context, q mdns.Question) (reply, error) {
	m := f.answer(query(q))
	if m == nil {
		<-ctx.Done()
		return reply{}, context.Cause(ctx)
	}
	return reply{msg: m, local: true}, usable(m, q)
}

// answer is the whole name server; nil means silence.
func (f *Fake) answer(req *mdns.Msg) *mdns.Msg {
	m := new(mdns.Msg).SetReply(req)
	m.RecursionAvailable = true
	if len(req.Question) != 1 {
		m.Rcode = mdns.RcodeFormatError
		return m
	}
	q := req.Question[0]
	f.mu.Lock()
	defer f.mu.Unlock()
	name := plainName(q.Name)
	f.asked[name]++
	if f.silent[name] {
		return nil
	}
	if rcode := f.failure(name); rcode != 0 {
		m.Rcode = rcode
		return m
	}
	m.AuthenticatedData = f.signed[name]
	f.fill(m, name, q.Qtype)
	return m
}

// failure is called with mu held.
func (f *Fake) failure(name string) int {
	for at := name; ; {
		if rcode := f.failing[at]; rcode != 0 {
			return rcode
		}
		_, parent, ok := strings.Cut(at, ".")
		if !ok {
			return 0
		}
		at = parent
	}
}

// fill is called with mu held. It follows CNAMEs as a recursive server does.
func (f *Fake) fill(m *mdns.Msg, name string, qtype uint16) {
	for range maxCNAME {
		rrs, exists := f.find(name)
		if !exists {
			m.Rcode = mdns.RcodeNameError
			return
		}
		next := ""
		for _, rr := range rrs {
			c, isCNAME := rr.(*mdns.CNAME)
			if rr.Header().Rrtype == qtype || qtype == mdns.TypeANY {
				m.Answer = append(m.Answer, rr)
			} else if isCNAME {
				m.Answer = append(m.Answer, rr)
				next = plainName(c.Target)
			}
		}
		if next == "" {
			return
		}
		name = next
	}
}

// find gives a name's records; a name that only has names below it exists and
// is empty (RFC 8020).
func (f *Fake) find(name string) ([]mdns.RR, bool) {
	if rrs, ok := f.records[name]; ok {
		return rrs, true
	}
	for other := range f.records {
		if strings.HasSuffix(other, "."+name) {
			return nil, true
		}
	}
	return nil, false
}
