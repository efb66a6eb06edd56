package imapd

import (
	"context"

	"svc.plus/mailsrvd/maildir"
)

// batch is what messages that are read together share: what one visit to the
// folder can tell of many is asked once. One goroutine uses it.
type batch struct {
	ctx   context.Context
	box   *maildir.Mailbox
	uids  []maildir.UID                 // ascending
	times map[maildir.UID]maildir.Times // of all of them, from one visit to the folder
	infos map[maildir.UID]*scanned      // nil unless they were scanned ahead
	// opener opens the files of the messages that follow with the one asked for.
	opener *maildir.Opener
}

// newBatch is for messages, which ascend. The caller closes it.
func newBatch(ctx context.Context, box *maildir.Mailbox, uids []maildir.UID) *batch {
	return &batch{ctx: ctx, box: box, uids: uids, opener: box.Opener(ctx, uids)}
}

// scanned is what a message's scan came to.
type scanned struct {
	info maildir.Info
	err  error
}

// structure returns what the scan of a message tells.
func (b *batch) structure(uid maildir.UID) (maildir.Info, error) {
	if s := b.infos[uid]; s != nil {
		return s.info, s.err
	}
	return b.box.Info(b.ctx, uid)
}

// timesOf returns the dates of a message of the batch.
func (b *batch) timesOf(uid maildir.UID) (maildir.Times, error) {
	if b.times == nil {
		b.times = make(map[maildir.UID]maildir.Times, len(b.uids))
		err := b.box.Times(b.ctx, b.uids, func(uid maildir.UID, t maildir.Times, _ int64) bool {
			b.times[uid] = t
			return true
		})
		if err != nil {
			b.times = nil
			return maildir.Times{}, err
		}
	}
	t, ok := b.times[uid]
	if !ok {
		return t, maildir.ErrExpunged
	}
	return t, nil
}

// close closes what was opened ahead and not asked for.
func (b *batch) close() { b.opener.Close() }
