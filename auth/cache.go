package auth

import (
	"container/list"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"
)

// maxCached bounds the number of remembered successes.
const maxCached = 10_000

// proof stands for a name, a password and the network they came from. It is an
// HMAC under a key that lives as long as the process, so that a copy of our
// memory does not hold the passwords.
type proof [sha256.Size]byte

// cache remembers successes for a short time. Mail clients open a connection
// every few minutes, several at once; this spares them the slow check.
// Failures are never kept: a password that was just changed works at once.
// The network is part of the proof, because PAM may let a user in from one
// place and not from another.
type cache struct {
	salt [32]byte
	ttl  time.Duration // 0 or less: nothing is kept

	mu    sync.Mutex // guards the two below
	byKey map[proof]*list.Element
	order *list.List // of *cached, oldest first; equal ttl makes it the order of expiry
}

type cached struct {
	key     proof
	account Account
	until   time.Time
}

func newCache(ttl time.Duration) *cache {
	c := &cache{ttl: ttl, byKey: make(map[proof]*list.Element), order: list.New()}
	rand.Read(c.salt[:]) // never fails
	return c
}

// proof computes the key of an attempt; lengths keep the parts apart.
func (c *cache) proof(name, password string, remote netip.Addr) proof {
	mac := hmac.New(sha256.New, c.salt[:])
	for _, part := range []string{name, password, network(remote).String()} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		mac.Write(n[:])
		mac.Write([]byte(part))
	}
	var p proof
	mac.Sum(p[:0])
	return p
}

// get returns the account of an attempt that succeeded a short time ago. Use
// does not prolong the time.
func (c *cache) get(key proof) (Account, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[key]
	if !ok {
		return Account{}, false
	}
	e := el.Value.(*cached)
	if !time.Now().Before(e.until) {
		c.drop(el)
		return Account{}, false
	}
	return e.account, true
}

// put remembers a success.
func (c *cache) put(key proof, a Account) {
	if c.ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[key]; ok {
		c.drop(el)
	}
	now := time.Now()
	for el := c.order.Front(); el != nil && (len(c.byKey) >= maxCached || !now.Before(el.Value.(*cached).until)); el = c.order.Front() {
		c.drop(el)
	}
	c.byKey[key] = c.order.PushBack(&cached{key: key, account: a, until: now.Add(c.ttl)})
}

func (c *cache) drop(el *list.Element) {
	delete(c.byKey, el.Value.(*cached).key)
	c.order.Remove(el)
}

// forget empties the cache.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.byKey)
	c.order.Init()
}
