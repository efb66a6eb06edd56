package maildir

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// OpenMessages opens the stored files of several messages in one visit to the
// folder, which costs far less than a visit each: OpenMessage for who works
// through many. The result is in the order of uids; nil stands for a message
// that is gone or is no regular file. The caller closes the files, and asks for
// no more at once than it may hold open.
func (m *Mailbox) OpenMessages(ctx context.Context, uids []UID) ([]*os.File, error) {
	files := make([]*os.File, len(uids))
	var again []int
	err := m.do(ctx, func(f *folder) error {
		for i, uid := range uids {
			in, name, err := m.guess(uid)
			if err != nil {
				continue
			}
			if files[i], err = f.openIn(in, name); err != nil {
				files[i] = nil
				again = append(again, i)
			}
		}
		return nil
	})
	if err != nil {
		closeAll(files)
		return nil, fmt.Errorf("opening messages: %w", err)
	}
	for _, i := range again { // another program renamed them
		file, err := m.OpenMessage(ctx, uids[i])
		switch {
		case err == nil:
			files[i] = file
		case errors.Is(err, ErrRemoved) || ctx.Err() != nil:
			closeAll(files)
			return nil, err
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
