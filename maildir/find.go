package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// OpenMessage opens the stored file of a message for reading. Its lines end in
// LF or CRLF, as they were stored. The caller closes it; reading needs no rights
// any more, and an expunge meanwhile does no harm. ErrExpunged when the message
// is gone; anything but a regular file is refused.
func (m *Mailbox) OpenMessage(ctx context.Context, uid UID) (*os.File, error) {
	var file *os.File
	err := m.find(ctx, uid, func(f *folder, in subdir, name string) (err error) {
		file, err = f.openIn(in, name)
		return err
	})
	return file, err
}

// Times are the dates that a message's file keeps, to the second.
type Times struct {
	// Internal is INTERNALDATE, the file's mtime; Saved is SAVEDATE (RFC 8514),
	// its ctime.
	Internal, Saved time.Time
}

// Times reads the dates of messages, in one visit to the folder, and gives each
// to yield in the order of uids until it returns false. A message that is gone
// is passed over. size is the length of the stored file.
func (m *Mailbox) Times(ctx context.Context, uids []UID, yield func(uid UID, t Times, size int64) bool) error {
	for len(uids) > 0 {
		part := uids[:min(len(uids), flagBatch)]
		uids = uids[len(part):]
		stats, err := m.statAll(ctx, part)
		if err != nil {
			return err
		}
		for i, st := range stats {
			if st.Mode != 0 && !yield(part[i], timesOf(&st), st.Size) {
				return nil
			}
		}
	}
	return nil
}

func timesOf(st *unix.Stat_t) Times {
	return Times{Internal: time.Unix(st.Mtim.Unix()), Saved: time.Unix(st.Ctim.Unix())}
}

// statAll stats files; Mode is 0 for those that are gone.
func (m *Mailbox) statAll(ctx context.Context, uids []UID) ([]unix.Stat_t, error) {
	stats := make([]unix.Stat_t, len(uids))
	var again []int
	err := m.do(ctx, func(f *folder) error {
		for i, uid := range uids {
			in, name, err := m.guess(uid)
			if err == nil && f.statIn(in, name, &stats[i]) != nil {
				stats[i] = unix.Stat_t{}
				again = append(again, i)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the dates of messages: %w", err)
	}
	for _, i := range again {
		err := m.find(ctx, uids[i], func(f *folder, in subdir, name string) error {
			return f.statIn(in, name, &stats[i])
		})
		if err != nil && !errors.Is(err, ErrExpunged) {
			return nil, err
		}
	}
	return stats, nil
}

// guess is where memory has the file of a message.
func (m *Mailbox) guess(uid UID) (in subdir, name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.index(uid)
	if !ok {
		return 0, "", fmt.Errorf("message %d: %w", uid, ErrExpunged)
	}
	return m.recs[i].where(), m.fileName(&m.recs[i]), nil
}

// find runs fn, in the folder and as the owner, with the file of a message. When
// another program has renamed it, the folder is read anew and fn runs again.
func (m *Mailbox) find(ctx context.Context, uid UID, fn func(f *folder, in subdir, name string) error) error {
	for try := 0; ; try++ {
		in, name, err := m.guess(uid)
		if err != nil {
			return err
		}
		err = m.do(ctx, func(f *folder) error { return fn(f, in, name) })
		if !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return fmt.Errorf("message %d: %w", uid, err)
			}
			return nil
		}
		if try == 8 {
			return fmt.Errorf("message %d: %w", uid, ErrExpunged)
		}
		// A STORE of another session may just have renamed it: memory knows.
		if _, now, err := m.guess(uid); err == nil && now == name {
			m.force.Store(true)
			if err := m.Sync(ctx); err != nil {
				return err
			}
		}
	}
}

// openIn opens a message file for reading; a link is not followed and a FIFO
// blocks nobody.
func (f *folder) openIn(in subdir, name string) (*os.File, error) {
	dir, err := f.in(in)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a message: %w", err)
	}
	return checkRegular(os.NewFile(uintptr(fd), name), nil)
}
