package maildir

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// listing is the raw content of directories as getdents(2) gives it. 100,000
// names are one buffer and one slice of small entries, no string each.
type listing struct {
	buf  []byte
	ents []entry
	step int // bytes asked for in one call; 0 is readdirStep
}

// entry is one name: where it stands in the buffer, and which directory it is
// from.
type entry struct {
	off uint32
	len uint16
	in  subdir
}

// listingBuffers are for listings that end with the visit.
var listingBuffers = sync.Pool{New: func() any { return new([2 * readdirStep]byte) }}

// inPooled runs fn with a listing whose memory is used again after that.
func inPooled(step int, fn func(l *listing) error) error {
	buf := listingBuffers.Get().(*[2 * readdirStep]byte)
	defer listingBuffers.Put(buf)
	return fn(&listing{buf: buf[:0], step: step})
}

func (l *listing) name(e entry) []byte { return l.buf[e.off : e.off+uint32(e.len)] }

const (
	direntName = 19 // offset of the name in struct linux_dirent64
	// readdirStep is how much one call reads. The kernel holds the directory's
	// lock during a call, so that within it (3,000 names) no rename can hide a
	// file; and fewer calls are faster.
	readdirStep = 256 << 10
	maxListing  = 2 << 30
)

// read adds the regular files of a directory that can be messages.
func (l *listing) read(dir *os.File, in subdir) error {
	return l.readType(dir, in, unix.DT_REG, validEntry)
}

// readAny adds the entries of one type, whatever their name.
func (l *listing) readAny(dir *os.File, typ byte) error {
	return l.readType(dir, inNew, typ, func([]byte) bool { return true })
}

func (l *listing) readType(dir *os.File, in subdir, typ byte, keep func([]byte) bool) error {
	if _, err := dir.Seek(0, 0); err != nil {
		return fmt.Errorf("reading directory: %w", err)
	}
	fd, step := int(dir.Fd()), l.step
	if step == 0 {
		step = readdirStep
	}
	for {
		if cap(l.buf)-len(l.buf) < step {
			grown := make([]byte, len(l.buf), 2*cap(l.buf)+step)
			copy(grown, l.buf)
			l.buf = grown
		}
		if len(l.buf) > maxListing {
			return fmt.Errorf("reading directory: more than %d bytes of names", maxListing)
		}
		start := len(l.buf)
		n, err := unix.Getdents(fd, l.buf[start:start+step])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading directory: %w", os.NewSyscallError("getdents64", err))
		}
		if n == 0 {
			return nil
		}
		l.buf = l.buf[:start+n]
		l.parse(fd, start, in, typ, keep)
	}
}

// parse notes the entries of one answer of getdents.
func (l *listing) parse(fd, start int, in subdir, typ byte, keep func([]byte) bool) {
	for pos := start; pos+direntName < len(l.buf); {
		rec := l.buf[pos:]
		size := int(binary.NativeEndian.Uint16(rec[16:]))
		if size < direntName || size > len(rec) {
			return
		}
		name := rec[direntName:size]
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
		if isType(fd, name, rec[18], typ) && keep(name) {
			l.ents = append(l.ents, entry{off: uint32(pos + direntName), len: uint16(len(name)), in: in})
		}
		pos += size
	}
}

// isType compares an entry's type, asking for it where the file system's
// directories do not hold it.
func isType(fd int, name []byte, have, want byte) bool {
	if have != unix.DT_UNKNOWN {
		return have == want
	}
	var st unix.Stat_t
	if unix.Fstatat(fd, string(name), &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	return byte(st.Mode&unix.S_IFMT>>12) == want
}

// bytesString gives bytes that nobody writes to any more as a string.
func bytesString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
