package dns

import (
	"container/list"
	"sync"
	"time"
)

// key is one question.
type key struct {
	name  string // A-labels, lower case
	qtype uint16
}

// entry is an answer or a definite "does not exist", good until expires.
type entry struct {
	key     key
	answer  records
	err     error
	expires time.Time
}

// cache holds at most limit answers and forgets the least recently used.
type cache struct {
	limit int

	mu    sync.Mutex // guards both below
	byKey map[key]*list.Element
	order *list.List // of *entry, most recently used first
}

func newCache(limit int) *cache {
	return &cache{limit: limit, byKey: make(map[key]*list.Element), order: list.New()}
}

func (c *cache) get(k key, now time.Time) (*entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[k]
	if !ok {
		return nil, false
	}
	e := el.Value.(*entry)
	if !now.Before(e.expires) {
		c.drop(el)
		return nil, false
	}
	c.order.MoveToFront(el)
	return e, true
}

func (c *cache) put(e *entry) {
	if c.limit <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[e.key]; ok {
		c.drop(el)
	}
	c.byKey[e.key] = c.order.PushFront(e)
	for c.order.Len() > c.limit {
		c.drop(c.order.Back())
	}
}

// drop is called with mu held.
func (c *cache) drop(el *list.Element) {
	delete(c.byKey, el.Value.(*entry).key)
	c.order.Remove(el)
}
