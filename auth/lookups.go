package auth

import (
	"sync"
	"time"
)

// lookupTTL is how long a found account is remembered: a delivery asks for the
// same one at RCPT, for its quota and at the end of DATA, and each question costs
// the system's user database a reading of its files, or a directory server.
const lookupTTL = time.Second

// maxLookups bounds the accounts that are remembered.
const maxLookups = 4096

// lookups remembers accounts that were found without a password. Names that
// nobody has are not remembered: a new user gets his mail at once.
type lookups struct {
	mu   sync.Mutex // guards what follows
	seen map[string]lookup
}

type lookup struct {
	account Account
	until   time.Time
}

func (l *lookups) get(name string) (Account, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.seen[name]
	return e.account, ok && time.Now().Before(e.until)
}

func (l *lookups) put(name string, a Account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil || len(l.seen) >= maxLookups {
		l.seen = make(map[string]lookup)
	}
	l.seen[name] = lookup{a, time.Now().Add(lookupTTL)}
}

func (l *lookups) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = nil
}
