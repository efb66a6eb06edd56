package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/durable"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// A delivery is: create tmp/<name>, write, fsync, rename to new/ (to cur/ when
// the message has flags), fsync the directory. Nothing half-written is ever seen,
// and after the last step a power cut keeps the message.
//
// No lock is taken, not even tried: the lock file of the uidlist would be a
// second file to create and remove for each message, which costs a quarter of
// the deliveries a disk can make, and Dovecot gives a UID to whatever it finds
// in new/. If the folder is open here, its Mailbox is told and gives the UID
// while the sender already has his answer.
//
// Stored line ends are LF, as Dovecot's default is: CRLF becomes LF, a bare CR
// stays. The name says how many bytes the file has (S) and how many with CRLF
// line ends (W), counted on the way.

// Delivery says how a message is stored.
type Delivery struct {
	// Flags are system flags; keyword bits are ignored.
	Flags Flags
	// Keywords are keywords by name.
	Keywords []string
	// Date becomes INTERNALDATE, to the second; zero is now.
	Date time.Time
}

// Delivered tells where a message went.
type Delivered struct {
	// Name is the base of the file's name; Dovecot's GUID of the message.
	Name string
	// Size is the length of the file, VSize that with CRLF line ends.
	Size, VSize int64
}

// Deliver stores a message in a folder, "" or INBOX for the Maildir itself,
// which is made when it is missing. The message is durable when the error is
// nil. Deliver never waits for the lock of the uidlist, except for two seconds
// when a keyword must be given a letter; then the message is stored without it.
//
// Errors: ErrNotFound and ErrInvalidName for the name; else a *status.Error:
// mailbox full (quota), system full, or 451 for everything that may heal.
func (s *Store) Deliver(ctx context.Context, name string, c *message.Content, d Delivery) (Delivered, error) {
	if name == "" {
		name = inboxName
	}
	done, dir, err := s.deliver(ctx, name, c, d)
	if errors.Is(err, ErrNotFound) && strings.EqualFold(name, inboxName) {
		if err = s.Prepare(ctx); err == nil {
			done, dir, err = s.deliver(ctx, name, c, d)
		}
	}
	s.all.count(err)
	if err != nil {
		return Delivered{}, storeError(err)
	}
	s.tell(dir, &done)
	return done.Delivered, nil
}

// stored is a message file in its place.
type stored struct {
	Delivered
	in   subdir
	name string // of the file
}

func (s *Store) deliver(ctx context.Context, name string, c *message.Content, d Delivery) (done stored, dir string, err error) {
	if _, err := s.dirOf(name); err != nil {
		return done, "", err
	}
	if err := s.checkQuota(ctx, Usage{c.Size(), 1}); err != nil {
		return done, "", err
	}
	letters := s.deliveryLetters(ctx, name, d.Keywords)
	s.renaming.RLock()
	defer s.renaming.RUnlock()
	err = s.withRoot(ctx, func(inbox *folder) error {
		if dir, err = s.resolve(inbox, name); err != nil {
			return err
		}
		return s.inChild(inbox, dir, func(f *folder) error {
			done, err = f.put(c, d, letters)
			return err
		})
	})
	return done, dir, err
}

// put runs all steps of a delivery in the folder.
func (f *folder) put(c *message.Content, d Delivery, letters Flags) (stored, error) {
	st, err := f.stage(c, d, letters)
	if err != nil {
		return st, err
	}
	f.store.quota.counting.RLock()
	defer f.store.quota.counting.RUnlock()
	if err := f.place(&st); err != nil {
		return st, err
	}
	if err := f.syncIn(st.in); err != nil {
		// The name may vanish in a power cut, so the sender will send again.
		f.remove(st.in, st.name)
		return st, err
	}
	f.addUsage(Usage{st.Size, 1})
	return st, nil
}

// tmpName is the name of a staged message in tmp/.
func (st *stored) tmpName() string { return baseStem(st.Name) }

// baseStem is a base without its sizes.
func baseStem(base string) string {
	stem, _, _ := strings.Cut(base, ",S=")
	return stem
}

// stage writes the message to tmp/, durable but for its name.
func (f *folder) stage(c *message.Content, d Delivery, letters Flags) (stored, error) {
	base := newBase(f.opt.Hostname, f.now())
	file, err := f.createTmp(base)
	if err != nil {
		return stored{}, err
	}
	defer file.Abort()
	if f.chgrp {
		_ = file.Chown(-1, int(f.stat.Gid)) // see mkdir
	}
	st := stored{}
	if st.Size, st.VSize, err = copyLF(file, c.NewReader(), c.Size()); err != nil {
		return st, fmt.Errorf("writing a message: %w", err)
	}
	date := d.Date
	if !date.IsZero() {
		date = date.Truncate(time.Second)
	}
	if err := file.Sync(date); err != nil {
		return st, err
	}
	st.Name = addSizes(base, st.Size, st.VSize)
	st.name, st.in = st.Name, inNew
	if flags := d.Flags&^AllKeywords | letters; flags != 0 {
		st.name, st.in = plainName(st.Name, flags), inCur
	}
	file.Done()
	return st, nil
}

// createTmp makes the file in tmp/.
func (f *folder) createTmp(name string) (*durable.File, error) {
	tmp, err := f.in(inTmp)
	if err != nil {
		return nil, err
	}
	return durable.CreateAt(tmp, name, f.fileMode, f.opt.Fault)
}

// place moves a staged message to where readers find it, or removes it.
func (f *folder) place(st *stored) error {
	if err := f.move(inTmp, st.tmpName(), st.in, st.name); err != nil {
		f.unstage(st)
		return fmt.Errorf("putting a message in its place: %w", err)
	}
	return nil
}

// unstage removes a staged message.
func (f *folder) unstage(st *stored) {
	if tmp, err := f.in(inTmp); err == nil {
		_ = unix.Unlinkat(int(tmp.Fd()), st.tmpName(), 0)
	}
}

// syncIn makes the names in new/ or cur/ durable.
func (f *folder) syncIn(in subdir) error {
	if err := f.fault("syncdir", subNames[in]); err != nil {
		return err
	}
	dir, err := f.in(in)
	if err != nil {
		return err
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", subNames[in], err)
	}
	return nil
}

func (f *folder) remove(in subdir, name string) {
	dir, err := f.in(in)
	if err == nil {
		err = unix.Unlinkat(int(dir.Fd()), name, 0)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Warn("cannot take back a message", "user", f.owner, "err", err)
	}
}

var copyBuffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// copyLF copies r to w with CRLF turned into LF, and counts the bytes written
// (S) and what they are with CRLF line ends (W).
func copyLF(w io.Writer, r io.Reader, size int64) (physical, virtual int64, err error) {
	buf := copyBuffers.Get().(*[128 << 10]byte)
	defer copyBuffers.Put(buf)
	held := 0       // a CR at the end of the last chunk waits in buf[0]
	last := byte(0) // the last byte written
	for done := false; !done; {
		n, rerr := io.ReadAtLeast(r, buf[held:], 1)
		for rerr == nil && held+n < len(buf) && int64(n) < size { // fill: fewer, larger writes
			var more int
			more, rerr = r.Read(buf[held+n:])
			n += more
		}
		if rerr != nil && rerr != io.EOF {
			return physical, virtual, rerr
		}
		done = rerr != nil
		chunk := buf[:held+n]
		held = 0
		if !done && len(chunk) > 0 && chunk[len(chunk)-1] == '\r' {
			chunk, held = chunk[:len(chunk)-1], 1
		}
		out, bare := stripCR(chunk, last)
		if len(out) > 0 {
			last = out[len(out)-1]
			if _, err := w.Write(out); err != nil {
				return physical, virtual, err
			}
		}
		physical += int64(len(out))
		virtual += int64(len(out) + bare)
		if held > 0 {
			buf[0] = '\r'
		}
	}
	return physical, virtual, nil
}

// stripCR turns CRLF into LF within b, and counts the LF that have no CR before
// them afterwards; last is the byte written before b.
func stripCR(b []byte, last byte) (out []byte, bare int) {
	out = b[:0]
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return append(out, b...), bare
		}
		line := b[:i]
		if i > 0 && line[i-1] == '\r' {
			line = line[:i-1]
		}
		if len(line) > 0 {
			last = line[len(line)-1]
		} else if len(out) > 0 {
			last = out[len(out)-1]
		}
		if last != '\r' {
			bare++
		}
		out = append(append(out, line...), '\n')
		last = '\n'
		b = b[i+1:]
	}
	return out, bare
}

// storeError gives errors of storing a message their SMTP meaning; names that
// do not exist stay as they are.
func storeError(err error) error {
	var st *status.Error
	switch {
	case err == nil, errors.As(err, &st), errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalidName):
		return err
	case errors.Is(err, unix.EDQUOT), errors.Is(err, ErrQuota):
		return status.MailboxFull(err)
	case errors.Is(err, unix.ENOSPC):
		return status.SystemFull(err)
	}
	return status.From(err)
}

// count adds to the metric of stored messages.
func (s *Stores) count(err error) {
	result := "error"
	switch {
	case err == nil:
		result = "ok"
	case errors.Is(err, unix.EDQUOT), errors.Is(err, ErrQuota):
		result = "quota"
	case errors.Is(err, unix.ENOSPC):
		result = "full"
	}
	s.metrics.delivered.WithLabelValues(result).Inc()
}

// deliveryLetters finds the letters of keywords for a delivery. A keyword that
// cannot get one in time is left out: the mail is worth more.
func (s *Store) deliveryLetters(ctx context.Context, name string, keywords []string) Flags {
	if len(keywords) == 0 {
		return 0
	}
	m, err := s.Open(ctx, name)
	if err != nil {
		return 0
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	bits, err := m.keywordBits(ctx, keywords)
	if err != nil {
		s.all.log.Warn("delivering without keywords", "user", s.owner.Name, "err", err)
	}
	return bits
}

// tell gives the new message to the folder's Mailbox if sessions watch it.
func (s *Store) tell(dir string, done *stored) {
	s.all.mu.Lock()
	m := s.open[dir]
	s.all.mu.Unlock()
	if m != nil {
		m.arrived(&arrival{stored: *done, placed: true})
	}
}
