package maildir

import (
	"container/list"
	"time"
)

// idleList keeps the state of folders that nobody uses for a while, so that
// opening them again costs four stat calls instead of a reading. It is bounded
// in time and in messages. All fields are guarded by Stores.mu.
type idleList struct {
	order    list.List // of *idleBox, the longest idle first
	at       map[*Mailbox]*list.Element
	messages int
	timer    *time.Timer
}

type idleBox struct {
	m    *Mailbox
	size int
}

// take counts a reference; an idle Mailbox is in use again.
func (l *idleList) take(s *Stores, m *Mailbox) {
	if m.refs++; m.refs == 1 {
		l.forget(s, m)
		s.metrics.open.Inc()
	}
}

// release drops a reference. The last one makes the Mailbox idle, or drops it
// at once when it is gone or was never read.
func (l *idleList) release(s *Stores, m *Mailbox, size int, keep bool) {
	if m.refs == 0 {
		panic("maildir: Mailbox closed twice")
	}
	if m.refs--; m.refs > 0 {
		return
	}
	s.metrics.open.Dec()
	if !keep || s.closed {
		m.store.dropOpen(m)
		if !s.closed {
			s.retire(m)
		}
		return
	}
	if l.at == nil {
		l.at = map[*Mailbox]*list.Element{}
	}
	m.idleSince = s.opt.clock()
	l.at[m] = l.order.PushBack(&idleBox{m, size})
	l.messages += size
	s.metrics.idle.Inc()
	l.drop(s, s.opt.IdleMessages)
	if l.timer == nil {
		l.timer = time.AfterFunc(s.opt.IdleFor, s.expireIdle)
	}
}

// forget takes a Mailbox off the list without dropping its state.
func (l *idleList) forget(s *Stores, m *Mailbox) {
	if e := l.at[m]; e != nil {
		l.messages -= e.Value.(*idleBox).size
		l.order.Remove(e)
		delete(l.at, m)
		s.metrics.idle.Dec()
	}
}

// drop removes the longest idle folders until no more than limit messages are
// held.
func (l *idleList) drop(s *Stores, limit int) {
	for l.order.Len() > 0 && (l.messages > limit || limit == 0) {
		l.evict(s, l.order.Front().Value.(*idleBox).m)
	}
	if limit == 0 && l.timer != nil {
		l.timer.Stop()
	}
}

func (l *idleList) evict(s *Stores, m *Mailbox) {
	l.forget(s, m)
	m.store.dropOpen(m)
	s.retire(m)
}

// dropOpen takes a Mailbox out of the table.
func (s *Store) dropOpen(m *Mailbox) {
	for dir, have := range s.open {
		if have == m {
			delete(s.open, dir)
		}
	}
}

// expireIdle drops what has been idle for long enough.
func (s *Stores) expireIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.idle
	l.timer = nil
	now := s.opt.clock()
	for l.order.Len() > 0 {
		m := l.order.Front().Value.(*idleBox).m
		if left := s.opt.IdleFor - now.Sub(m.idleSince); left > 0 {
			if !s.closed {
				l.timer = time.AfterFunc(left, s.expireIdle)
			}
			return
		}
		l.evict(s, m)
	}
}
