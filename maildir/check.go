package maildir

import (
	"context"
	"fmt"
)

// Fault is something about a stored message that other programs will stumble
// over.
type Fault struct {
	UID  UID
	File string // its name
	Text string
}

// Check looks at every message of the folder: whether its file is there, and as
// long as its name says. Opening the folder has repaired what can be repaired
// (see Options.Logger).
func (m *Mailbox) Check(ctx context.Context) ([]Fault, error) {
	if err := m.Sync(ctx); err != nil {
		return nil, err
	}
	var faults []Fault
	var uids []UID
	for _, msg := range m.Messages() {
		uids = append(uids, msg.UID)
	}
	next := 0
	add := func(uid UID, format string, args ...any) {
		if _, name, err := m.guess(uid); err == nil {
			faults = append(faults, Fault{uid, name, fmt.Sprintf(format, args...)})
		}
	}
	err := m.Times(ctx, uids, func(uid UID, _ Times, size int64) bool {
		for ; uids[next] != uid; next++ {
			add(uids[next], "the file is gone or is no regular file")
		}
		next++
		if _, name, err := m.guess(uid); err == nil {
			if named, ok := sizeField(name, 'S'); ok && named != size {
				add(uid, "has %d bytes, but its name says S=%d: it was changed or cut off", size, named)
			}
		}
		return true
	})
	if err != nil {
		return faults, err
	}
	for ; next < len(uids); next++ {
		add(uids[next], "the file is gone or is no regular file")
	}
	return faults, nil
}
