package maildir

import (
	"context"
	"errors"

	"svc.plus/mailsrvd/maildir/index"
)

// Status is what STATUS asks of a folder (RFC 9051 section 6.3.11).
type Status struct {
	// Messages, Recent, Unseen and Deleted count messages; Recent are those that
	// no session has claimed, Unseen those without \Seen.
	Messages, Recent, Unseen, Deleted int
	UIDNext                           UID
	UIDValidity                       uint32
	HighestModSeq                     ModSeq
	// Size is the sum of all RFC822.SIZE (RFC 8438), if it was asked for.
	Size int64
	// DeletedSize is that of the messages with \Deleted, if Size was asked for.
	DeletedSize int64
	// GUID is MAILBOXID (RFC 8474).
	GUID string
}

// Status counts a folder's messages. It opens the folder, so that the second
// time costs four stat calls. Size is summed up only when size is true: a
// message whose name does not tell it is read once. ErrNotFound,
// ErrInvalidName.
func (s *Store) Status(ctx context.Context, name string, size bool) (Status, error) {
	m, err := s.Open(ctx, name)
	if err != nil {
		return Status{}, err
	}
	defer m.Close()
	st := m.status()
	if size {
		st.Size, st.DeletedSize, err = m.totalSize(ctx)
	}
	return st, err
}

// totalSize adds up the sizes of all messages, and of those with \Deleted. What
// neither name nor uidlist tells is read once, on all processors, for the cache.
func (m *Mailbox) totalSize(ctx context.Context) (all, deleted int64, err error) {
	messages := m.Messages()
	var unknown []UID
	for _, msg := range messages {
		if _, ok, err := m.knownSize(msg.UID); !ok && err == nil {
			unknown = append(unknown, msg.UID)
		}
	}
	if _, err := m.Fill(ctx, unknown, nil); err != nil {
		return 0, 0, err
	}
	err = m.Rows(unknown, func(i int, row index.Row, ok bool) error {
		if ok {
			m.noteSize(unknown[i], row.Size())
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	for _, msg := range messages {
		size, err := m.Size(ctx, msg.UID)
		if err != nil && !errors.Is(err, ErrExpunged) {
			return 0, 0, err
		}
		all += size
		if msg.Flags&Deleted != 0 {
			deleted += size
		}
	}
	return all, deleted, nil
}

func (m *Mailbox) status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := Status{Messages: m.live, UIDNext: m.next, UIDValidity: m.validity, HighestModSeq: m.modseq, GUID: m.guid}
	for i := range m.recs {
		r := &m.recs[i]
		if !r.live() {
			continue
		}
		if r.state&recRecent != 0 {
			st.Recent++
		}
		if r.flags&Seen == 0 {
			st.Unseen++
		}
		if r.flags&Deleted != 0 {
			st.Deleted++
		}
	}
	return st
}
