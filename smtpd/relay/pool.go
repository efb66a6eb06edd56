package relay

import (
	"strings"
	"sync"
	"time"
)

// pool keeps connections for the next message to their host. A connection is
// shared only between messages that demand the same of it.
type pool struct {
	keep time.Duration // negative: nothing is kept

	mu     sync.Mutex // guards what follows
	idle   map[poolKey][]*pooled
	closed bool
}

// poolKey is what two messages must have in common to share a connection.
type poolKey struct {
	host  string // a certificate was checked for this name
	addr  string
	id    string
	names string
	level Level
	plain bool
	user  string // who is logged in
}

// pooled is a connection at rest; its timer ends it.
type pooled struct {
	s     *session
	timer *time.Timer
}

// maxUses bounds the messages of a connection; some hosts count them.
const maxUses = 100

// maxIdle bounds the connections kept for one host.
const maxIdle = 4

func keyOf(c candidate, q Requirement) poolKey {
	return poolKey{c.Name, c.dialAddr(), q.ID, strings.Join(q.Names, " "), q.Level, q.plain, c.via.User}
}

// get takes a connection, or nil.
func (p *pool) get(key poolKey) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[key]
	for len(list) > 0 {
		last := list[len(list)-1]
		list = list[:len(list)-1]
		p.set(key, list)
		if last.timer.Stop() {
			return last.s
		}
	}
	return nil
}

func (p *pool) set(key poolKey, list []*pooled) {
	if len(list) == 0 {
		delete(p.idle, key)
		return
	}
	p.idle[key] = list
}

// put keeps a connection whose transaction is over, or ends it.
func (p *pool) put(s *session) {
	s.uses++
	p.mu.Lock()
	list := p.idle[s.key]
	// What the host says without being asked would be taken for the answer to the
	// next command.
	babbles := s.br.Buffered() > 0
	if babbles || p.closed || p.keep < 0 || s.uses >= maxUses || len(list) >= maxIdle {
		p.mu.Unlock()
		s.quit()
		return
	}
	it := &pooled{s: s}
	it.timer = time.AfterFunc(p.keep, func() { p.expire(it) })
	p.idle[s.key] = append(list, it)
	p.mu.Unlock()
}

// expire ends a connection that nobody wanted.
func (p *pool) expire(it *pooled) {
	p.mu.Lock()
	list := p.idle[it.s.key]
	for i, have := range list {
		if have == it {
			p.set(it.s.key, append(list[:i], list[i+1:]...))
			break
		}
	}
	p.mu.Unlock()
	it.s.quit()
}

// close ends all connections at rest; those in use end when they are put back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	var list []*pooled
	for _, l := range p.idle {
		list = append(list, l...)
	}
	clear(p.idle)
	p.mu.Unlock()
	for _, it := range list {
		if it.timer.Stop() {
			it.s.quit()
		}
	}
}
