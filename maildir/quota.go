package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/internal/asuser"
)

// maildirsize, in the Maildir, is how the agents of a Maildir++ share a quota:
//
//	1073741824S,10000C
//	52133 17
//	2048 1
//	-1500 -1
//
// The first line has the limits, in bytes (S) and messages (C), that the sum was
// made for; "0S" is none. Every further line is a change of the usage, bytes and
// messages, and the sum of all is the usage. Bytes are those of the files. A
// change is one write of a whole line to a file that is open for appending, so
// that no lock is needed. The file is written anew from a count of all messages
// when it is missing, longer than 5,120 bytes, made for other limits, or cannot
// be right (a sum below zero, a NUL that a network file system left); and, since
// other programs remove messages and tell nobody, when the quota is exceeded and
// the count may be old.
//
// Who counts holds maildirsize.lock, writes the result to it and renames it. If a
// directory has changed meanwhile, the file is removed again and the next one
// counts: Dovecot does the same. Within this process nobody stores while
// somebody counts (quotaState), which that check alone could not tell apart from
// a change that the count has in it already.
//
// The file is kept right for other programs even if no limits are set here; then
// it is never made, and removed when it would grow without end.

const (
	sizeName     = "maildirsize"
	sizeLock     = "maildirsize.lock"
	maxSizeFile  = 5120
	sizeStale    = 15 * time.Minute // older, the count is not trusted to refuse mail
	sizeLockDead = 30 * time.Second
)

// Limits are the quota of a Maildir; a field that is zero is no limit.
type Limits struct {
	// Storage is in bytes of message files, Messages counts them. All folders
	// count.
	Storage, Messages int64
}

// Limited reports whether there is any limit.
func (l Limits) Limited() bool { return l.Storage > 0 || l.Messages > 0 }

// fits reports whether u is within the limits.
func (l Limits) fits(u Usage) bool {
	return (l.Storage <= 0 || u.Storage <= l.Storage) && (l.Messages <= 0 || u.Messages <= l.Messages)
}

// line is the first line of the file.
func (l Limits) line() string {
	var parts []string
	if l.Storage > 0 {
		parts = append(parts, strconv.FormatInt(l.Storage, 10)+"S")
	}
	if l.Messages > 0 {
		parts = append(parts, strconv.FormatInt(l.Messages, 10)+"C")
	}
	if parts == nil {
		return "0S"
	}
	return strings.Join(parts, ",")
}

// Usage is what counts against Limits, or a change of it.
type Usage struct{ Storage, Messages int64 }

func (u Usage) plus(o Usage) Usage { return Usage{u.Storage + o.Storage, u.Messages + o.Messages} }

// quotaState lets nobody store while somebody counts.
type quotaState struct {
	// counting is held for reading from the moment a message gets its place until
	// the file says so, and for writing during a count. Both are within one visit
	// as the owner, and nobody who holds it waits for another visit.
	counting sync.RWMutex
	sight    lockSight // of maildirsize.lock; guarded by counting
}

// limits are those of this Store.
func (s *Store) limits() Limits {
	if s.all.opt.Limits == nil {
		return Limits{}
	}
	return s.all.opt.Limits(s.owner, s.path)
}

// Usage returns how much is stored, and the limits. Without limits nothing is
// counted. A Maildir that does not exist uses nothing.
func (s *Store) Usage(ctx context.Context) (Usage, Limits, error) {
	limits := s.limits()
	if !limits.Limited() {
		return Usage{}, limits, nil
	}
	var used Usage
	err := s.withRoot(ctx, func(f *folder) (err error) {
		used, err = f.usage(limits, Usage{})
		return err
	})
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("counting the usage: %w", err)
	}
	return used, limits, err
}

// MayStore says whether a message of size bytes may be stored now: nil, or a
// *status.Error as Deliver would give it. An error that is no quota's is left to
// Deliver.
func (s *Store) MayStore(ctx context.Context, size int64) error {
	if err := s.checkQuota(ctx, Usage{size, 1}); errors.Is(err, ErrQuota) {
		return storeError(err)
	}
	return nil
}

// checkQuota refuses what would exceed the quota.
func (s *Store) checkQuota(ctx context.Context, more Usage) error {
	if hook := s.all.opt.Quota; hook != nil {
		if err := hook(ctx, s.owner, s.path, more.Storage); err != nil {
			return err
		}
	}
	limits := s.limits()
	if !limits.Limited() {
		return nil
	}
	var used Usage
	err := s.withRoot(ctx, func(f *folder) (err error) {
		used, err = f.usage(limits, more)
		return err
	})
	switch {
	case err != nil && !errors.Is(err, ErrNotFound): // else there is no Maildir yet
		return fmt.Errorf("counting the usage: %w", err)
	case !limits.fits(used.plus(more)):
		return fmt.Errorf("%d bytes in %d messages are stored: %w", used.Storage, used.Messages, ErrQuota)
	}
	return nil
}

// usage returns what is stored; f is the Maildir. It counts anew when the file
// cannot be used, or would refuse more and may be wrong.
func (f *folder) usage(limits Limits, more Usage) (Usage, error) {
	file, err := f.readSizes()
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errBadSizes) {
		return Usage{}, err
	}
	if err == nil && file.limits == limits {
		if limits.fits(file.used.plus(more)) || !file.doubtful(f.now()) {
			return file.used, nil
		}
	}
	return f.recount(limits)
}

// sizeFile is what maildirsize says.
type sizeFile struct {
	limits Limits
	used   Usage
	lines  int // behind the first
	mtime  time.Time
}

// doubtful reports whether a count may show less.
func (s sizeFile) doubtful(now time.Time) bool {
	return s.lines > 1 || now.Sub(s.mtime) > sizeStale || s.mtime.After(now.Add(time.Minute))
}

// errBadSizes means that the file has to be written anew.
var errBadSizes = errors.New("maildirsize cannot be used")

// readSizes reads the file.
func (f *folder) readSizes() (sizeFile, error) {
	var st unix.Stat_t
	if err := f.lstat(sizeName, &st); err != nil {
		return sizeFile{}, os.NewSyscallError("lstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxSizeFile {
		return sizeFile{}, errBadSizes // the rename of a new one replaces it
	}
	file, err := f.openRegular(sizeName)
	if err != nil {
		return sizeFile{}, err
	}
	defer file.Close()
	text, st, err := readFrom(file, 0, 2*maxSizeFile)
	if err != nil {
		return sizeFile{}, err
	}
	sizes, err := parseSizes(text)
	sizes.mtime = time.Unix(st.Mtim.Unix())
	return sizes, err
}

// parseSizes reads the text of the file.
func parseSizes(text string) (sizeFile, error) {
	var s sizeFile
	body, ok := strings.CutSuffix(text, "\n")
	first, rest, more := strings.Cut(body, "\n")
	if !ok || !more || strings.ContainsRune(text, 0) || !s.parseLimits(first) {
		return s, errBadSizes
	}
	for line := range strings.SplitSeq(rest, "\n") {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			return s, errBadSizes
		}
		bytes, err1 := strconv.ParseInt(fields[0], 10, 62)
		count, err2 := strconv.ParseInt(fields[1], 10, 62)
		if err1 != nil || err2 != nil {
			return s, errBadSizes
		}
		s.used = s.used.plus(Usage{bytes, count})
		s.lines++
	}
	if s.used.Storage < 0 || s.used.Messages < 0 {
		return s, errBadSizes
	}
	return s, nil
}

// parseLimits reads the first line, of which letters that we do not know mean
// nothing.
func (s *sizeFile) parseLimits(line string) bool {
	for part := range strings.SplitSeq(line, ",") {
		if part == "" {
			return false
		}
		n, err := strconv.ParseInt(strings.TrimSpace(part[:len(part)-1]), 10, 63)
		if err != nil || n < 0 {
			return false
		}
		switch part[len(part)-1] {
		case 'S':
			s.limits.Storage = n
		case 'C':
			s.limits.Messages = n
		}
	}
	return true
}

// addUsage appends a change to the file, if there is one. f is any folder of the
// Maildir. It never fails the work that it is about: a file that cannot be
// written to is removed, and counted anew by whoever needs it.
func (f *folder) addUsage(u Usage) {
	if u == (Usage{}) {
		return
	}
	inbox := f.inbox
	fd, err := unix.Openat(int(inbox.dir.Fd()), sizeName, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = appendUsage(fd, u)
		unix.Close(fd)
	}
	if err == nil {
		return
	}
	if !errors.Is(err, errBadSizes) {
		f.log.Warn("cannot write maildirsize: the usage will be counted anew", "user", f.owner, "err", err)
	}
	inbox.dropSizes()
}

// usageOf is what a batch adds. Deliveries have been counted when they got their
// place.
func usageOf(batch []*arrival) (u Usage) {
	for _, a := range batch {
		if a.done != nil && a.placed && a.err == nil {
			u = u.plus(Usage{a.Size, 1})
		}
	}
	return u
}

// usage is what a copy of messages adds, as far as their names tell.
func (m *Mailbox) usage(uids []UID) (u Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, uid := range uids {
		if i, ok := m.index(uid); ok {
			size, _ := sizeField(m.recs[i].base, 'S')
			u = u.plus(Usage{size, 1})
		}
	}
	return u
}

// appendUsage writes one line. A file that nobody checks and shortens is given
// up.
func appendUsage(fd int, u Usage) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > 4*maxSizeFile {
		return errBadSizes
	}
	line := make([]byte, 0, 48)
	line = append(strconv.AppendInt(line, u.Storage, 10), ' ')
	line = append(strconv.AppendInt(line, u.Messages, 10), '\n')
	if n, err := unix.Write(fd, line); err != nil || n != len(line) {
		return errors.Join(os.NewSyscallError("write", err), errShort(n, len(line)))
	}
	return nil
}

// errShort is the error of a write that a full disk cut off.
func errShort(n, want int) error {
	if n < 0 || n == want {
		return nil
	}
	return unix.ENOSPC
}

// dropSizes removes the file; f is the Maildir.
func (f *folder) dropSizes() {
	if err := unix.Unlinkat(int(f.dir.Fd()), sizeName, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Warn("cannot remove maildirsize", "user", f.owner, "err", err)
	}
}

// QuotaLimits is the type of Options.Limits: the quota of one owner's Maildir. It
// is called for each message that is stored, and must not block.
type QuotaLimits func(owner asuser.Owner, path string) Limits
