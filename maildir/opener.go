package maildir

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
)

// openAhead is how many messages are opened in one visit to the folder: the visit
// costs as much as opening five.
const openAhead = 32

// Opener opens the files of messages that will be asked for about in order, many
// in one visit to the folder. It is safe for concurrent use. Close gives back
// what was opened ahead.
type Opener struct {
	m    *Mailbox
	ctx  context.Context
	uids []UID // ascending

	mu    sync.Mutex // guards what follows; held during a visit
	ahead map[UID]*os.File
	next  int // uids before it were opened, or asked for singly
}

// Opener makes an Opener for messages, which ascend.
func (m *Mailbox) Opener(ctx context.Context, uids []UID) *Opener {
	return &Opener{m: m, ctx: ctx, uids: uids}
}

// Open is Mailbox.OpenMessage.
func (o *Opener) Open(uid UID) (*os.File, error) {
	if file := o.take(uid); file != nil {
		return file, nil
	}
	return o.m.OpenMessage(o.ctx, uid)
}

// take gives a file that is open, after opening more where that is worth while;
// nil if it must be looked for.
func (o *Opener) take(uid UID) *os.File {
	o.mu.Lock()
	defer o.mu.Unlock()
	if file := o.ahead[uid]; file != nil {
		delete(o.ahead, uid)
		return file
	}
	i, found := slices.BinarySearch(o.uids, uid)
	if !found || i < o.next || len(o.uids)-i < 2 {
		return nil
	}
	part := o.uids[i:min(i+openAhead, len(o.uids))]
	if len(o.ahead) > 8*openAhead { // nobody asks in order
		return nil
	}
	o.next = i + len(part)
	o.open(part)
	file := o.ahead[uid]
	delete(o.ahead, uid)
	return file
}

// open opens what is where memory has it. mu is held.
func (o *Opener) open(uids []UID) {
	if o.ahead == nil {
		o.ahead = make(map[UID]*os.File, openAhead)
	}
	// A folder that is gone, or a file that is not there: who asks for the
	// message gets the error.
	_ = o.m.do(o.ctx, func(f *folder) error {
		for _, uid := range uids {
			in, name, err := o.m.guess(uid)
			if err != nil {
				continue
			}
			file, err := f.openIn(in, name)
			if err == nil {
				o.ahead[uid] = file
			}
		}
		return nil
	})
}

// Close closes what was opened and not asked for.
func (o *Opener) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var errs []error
	for _, file := range o.ahead {
		errs = append(errs, file.Close())
	}
	o.ahead = nil
	return errors.Join(errs...)
}
