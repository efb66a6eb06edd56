package dns

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

// Options says how to resolve.
type Options struct {
	// Addr is the recursive resolver, "host:port" or an address alone; empty
	// means those of /etc/resolv.conf, which is read again when it changes.
	Addr string
	// CacheSize is how many answers are kept; 0 means 10,000, negative none.
	CacheSize int
	// Timeout bounds one question with all its retries; 0 means 20 seconds.
	Timeout time.Duration
}

const (
	defaultCacheSize = 10_000
	defaultTimeout   = 20 * time.Second
	resolvConfPath   = "/etc/resolv.conf"
)

// Resolver answers questions. It is safe for concurrent use; equal questions
// asked at the same time go out once.
type Resolver struct {
	exchange func(context.Context, mdns.Question) (reply, error)
	timeout  time.Duration
	cache    *cache
	flight   singleflight.Group
}

// New returns a Resolver. It fails only on an Addr that is no address.
func New(o Options) (*Resolver, error) {
	sys := &systemConf{path: resolvConfPath}
	c := &client{conf: sys.current}
	if o.Addr != "" {
		addr, err := serverAddr(o.Addr)
		if err != nil {
			return nil, err
		}
		conf := defaultConf()
		conf.servers = []string{addr}
		c.conf = func() resolvConf { return conf }
	}
	return newResolver(c.exchange, o), nil
}

// NewSystem is New with defaults: the resolver at addr, or the system's when
// addr is empty.
func NewSystem(addr string) (*Resolver, error) { return New(Options{Addr: addr}) }

func newResolver(exchange func(context.Context, mdns.Question) (reply, error), o Options) *Resolver {
	if o.CacheSize == 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &Resolver{exchange: exchange, timeout: o.Timeout, cache: newCache(o.CacheSize)}
}

func serverAddr(addr string) (string, error) {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(strings.Trim(addr, "[]"), "53")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" || net.ParseIP(host) == nil {
		return "", fmt.Errorf("resolver %q: want an IP address, with or without a port", addr)
	}
	return addr, nil
}

// records is what the answer section holds for one question.
type records struct {
	// name is the canonical name, after all CNAMEs.
	name string
	rrs  []mdns.RR
	// secure says that a resolver on this host has validated the answer.
	secure  bool
	expires time.Time
}

// Lookup asks for any type of record, for callers that need one this package
// has no method for. The records are shared with the cache: read-only.
func (r *Resolver) Lookup(ctx context.Context, name string, qtype uint16) (Answer[mdns.RR], error) {
	rec, err := r.lookup(ctx, name, qtype)
	if err != nil {
		return Answer[mdns.RR]{}, err
	}
	return answer(rec, func(rr mdns.RR) (mdns.RR, bool) { return rr, true }), nil
}

func (r *Resolver) lookup(ctx context.Context, name string, qtype uint16) (records, error) {
	ascii, err := ToASCII(name)
	if err != nil {
		return records{}, err
	}
	k := key{ascii, qtype}
	if e, ok := r.cache.get(k, time.Now()); ok {
		return e.answer, e.err
	}
	// The question outlives a caller that gives up: others may wait for it,
	// and its answer is worth keeping.
	ch := r.flight.DoChan(fmt.Sprint(k.qtype, k.name), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout)
		defer cancel()
		return r.ask(ctx, k)
	})
	select {
	case res := <-ch:
		rec, _ := res.Val.(records)
		return rec, res.Err
	case <-ctx.Done():
		return records{}, &Error{Name: ascii, Type: typeName(qtype), Err: ErrTemporary, Cause: context.Cause(ctx)}
	}
}

// ask puts k to the resolvers and keeps a definite answer.
func (r *Resolver) ask(ctx context.Context, k key) (records, error) {
	q := mdns.Question{Name: mdns.Fqdn(k.name), Qtype: k.qtype, Qclass: mdns.ClassINET}
	rep, err := r.exchange(ctx, q)
	if err != nil {
		return records{}, &Error{Name: k.name, Type: typeName(k.qtype), Err: ErrTemporary, Cause: err}
	}
	now := time.Now()
	rec, ttl := extract(rep, q)
	if len(rec.rrs) == 0 {
		err := &Error{Name: k.name, Type: typeName(k.qtype), Err: ErrNotFound, NoName: rep.msg.Rcode == mdns.RcodeNameError, Secure: rec.secure}
		r.cache.put(&entry{key: k, err: err, expires: now.Add(negativeTTL(rep.msg))})
		return records{}, err
	}
	rec.expires = now.Add(ttl)
	r.cache.put(&entry{key: k, answer: rec, expires: rec.expires})
	return rec, nil
}

// Bounds on how long an answer is kept.
const (
	maxTTL         = time.Hour
	maxNegativeTTL = 15 * time.Minute
	plainNegative  = time.Minute // where the answer has no SOA
	maxCNAME       = 16
)

// extract follows the CNAMEs inside an answer to the records of the question.
func extract(rep reply, q mdns.Question) (records, time.Duration) {
	rec := records{name: q.Name, secure: rep.local && rep.msg.AuthenticatedData}
	ttl := maxTTL
	for range maxCNAME {
		next := ""
		for _, rr := range rep.msg.Answer {
			h := rr.Header()
			if h.Class != mdns.ClassINET || !strings.EqualFold(h.Name, rec.name) {
				continue
			}
			if h.Rrtype == q.Qtype {
				rec.rrs = append(rec.rrs, rr)
			} else if c, ok := rr.(*mdns.CNAME); ok {
				next = c.Target
			} else {
				continue
			}
			ttl = min(ttl, time.Duration(h.Ttl)*time.Second)
		}
		if len(rec.rrs) > 0 || next == "" {
			break
		}
		rec.name = next
	}
	rec.name = plainName(rec.name)
	return rec, ttl
}

// negativeTTL is how long "does not exist" holds (RFC 2308 section 5).
func negativeTTL(m *mdns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*mdns.SOA); ok {
			return min(maxNegativeTTL, time.Duration(min(soa.Hdr.Ttl, soa.Minttl))*time.Second)
		}
	}
	return plainNegative
}

func plainName(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

func typeName(qtype uint16) string { return mdns.Type(qtype).String() }
