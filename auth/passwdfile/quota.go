package passwdfile

import (
	"fmt"
	"strconv"
	"strings"
)

// Quota is how much an account may keep; a field that is 0 is no limit.
type Quota struct {
	Storage  int64 // bytes
	Messages int64
}

// Quota returns the quota of an account; false if the file sets none for it. The
// file is not looked at again: that was done when the account was looked up.
func (b *Backend) Quota(name string) (Quota, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.users[name]
	if !ok || e.Quota == nil {
		return Quota{}, false
	}
	return *e.Quota, true
}

// parseQuotaRule reads Dovecot's rule for all mailboxes,
// "*:storage=1G:messages=1000": storage is in kilobytes unless it has a unit,
// bytes is in bytes.
func parseQuotaRule(rule string) (*Quota, error) {
	mailbox, limits, ok := strings.Cut(rule, ":")
	if mailbox != "*" || !ok {
		return nil, fmt.Errorf(`%q: only rules for all mailboxes have a meaning here, as in "*:storage=1G:messages=1000"`, rule)
	}
	q := &Quota{}
	for _, limit := range strings.Split(limits, ":") {
		name, value, _ := strings.Cut(limit, "=")
		var err error
		switch name {
		case "storage":
			q.Storage, err = parseQuotaSize(value, 1<<10)
		case "bytes":
			q.Storage, err = parseQuotaSize(value, 1)
		case "messages":
			q.Messages, err = parseQuotaSize(value, 1)
		default:
			err = fmt.Errorf("%q is not known", limit)
		}
		if err != nil {
			return nil, err
		}
	}
	return q, nil
}

// parseQuotaSize reads a number with a unit: b, k, M, G or T, powers of 1024.
func parseQuotaSize(s string, unit int64) (int64, error) {
	digits := strings.TrimRight(s, "bBkKmMgGtTi")
	switch strings.ToLower(strings.TrimSuffix(strings.ToLower(s[len(digits):]), "ib")) {
	case "":
	case "b":
		unit = 1
	case "k", "kb":
		unit = 1 << 10
	case "m", "mb":
		unit = 1 << 20
	case "g", "gb":
		unit = 1 << 30
	case "t", "tb":
		unit = 1 << 40
	default:
		return 0, fmt.Errorf("%q is not a size", s)
	}
	n, err := strconv.ParseInt(digits, 10, 62)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	return n * unit, nil
}
