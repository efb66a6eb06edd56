package imapd

import (
	"context"
	"os"
	"slices"

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
	ahead map[maildir.UID]*os.File      // opened with others; nil for one that is gone
}

// openAhead is how many files are opened in one visit.
const openAhead = 32

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

// open returns the file of a message, which the caller closes. The files of the
// messages that follow are opened with it: they will be asked for next.
func (b *batch) open(uid maildir.UID) (*os.File, error) {
	if f, ok := b.ahead[uid]; ok {
		delete(b.ahead, uid)
		if f == nil {
			return nil, maildir.ErrExpunged
		}
		return f, nil
	}
	b.close()
	i, _ := slices.BinarySearch(b.uids, uid)
	uids := b.uids[i:min(i+openAhead, len(b.uids))]
	if len(uids) < 2 || uids[0] != uid {
		return b.box.OpenMessage(b.ctx, uid)
	}
	files, err := b.box.OpenMessages(b.ctx, uids)
	if err != nil {
		return nil, err
	}
	b.ahead = make(map[maildir.UID]*os.File, len(uids))
	for i, f := range files {
		b.ahead[uids[i]] = f
	}
	return b.open(uid)
}

// close closes what was opened ahead and not asked for.
func (b *batch) close() {
	for _, f := range b.ahead {
		if f != nil {
			f.Close()
		}
	}
	b.ahead = nil
}
