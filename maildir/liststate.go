package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// listState is how far an open folder has read its dovecot-uidlist, so that
// appended lines are read alone. It is guarded by Mailbox.disk.
type listState struct {
	present bool
	id      inode
	mtime   int64
	offset  int64  // behind the last whole line
	tail    string // what stands before offset
	header  listHeader
	lines   int // records read, those of expunged messages included
	last    UID // the last UID
	torn    int // bytes that cannot be read
	untidy  bool
	partial bool // text without LF follows offset
}

// nextUID is the least UID that nobody was ever given by this list.
func (l *listState) nextUID() UID {
	next := max(uint64(l.header.next), uint64(l.last)+1)
	return UID(min(next+uint64(l.torn), maxUID+1))
}

// listRead is what one look at the uidlist gave.
type listRead struct {
	state listState // after this look
	text  string    // records not seen before
	from  UID       // the last UID before them
	whole bool      // text is the whole list, not what was appended
}

// tailLen is how much of the text before the offset is compared at the next look.
// The inode alone does not tell a list that was appended to from one that was
// replaced: ext4 gives the number of a removed file to the next one that is made,
// and a restored copy may be written over the old file.
const tailLen = 96

func tailOf(text string) string { return strings.Clone(text[max(0, len(text)-tailLen):]) }

// errListMoved means that the uidlist is not the file that was read.
var errListMoved = errors.New("uidlist was replaced meanwhile")

// readList reads what is new in the uidlist: nothing, the lines appended to the
// file that was read before, or the whole file. A missing file is no error.
func (f *folder) readList(old listState) (listRead, error) {
	var st unix.Stat_t
	if err := f.lstat(listName, &st); errors.Is(err, fs.ErrNotExist) {
		return listRead{}, nil
	} else if err != nil {
		return listRead{}, fmt.Errorf("reading the uidlist: %w", err)
	}
	same := old.present && old.id == inode{uint64(st.Dev), st.Ino} && st.Size >= old.offset
	if same && st.Size == old.offset && st.Mtim.Nano() == old.mtime {
		old.partial = false
		return listRead{state: old}, nil
	}
	file, err := f.openRegular(listName)
	if err != nil {
		return listRead{}, fmt.Errorf("reading the uidlist: %w", err)
	}
	defer file.Close()
	if same {
		return f.readAppended(file, old)
	}
	return f.readWhole(file)
}

// readAppended reads what follows old, if the file is still the one it tells of.
func (f *folder) readAppended(file *os.File, old listState) (listRead, error) {
	text, st, err := readFrom(file, old.offset-int64(len(old.tail)), maxListLen)
	if err != nil {
		return listRead{}, err
	}
	text, ok := strings.CutPrefix(text, old.tail)
	if !ok || (inode{uint64(st.Dev), st.Ino}) != old.id || st.Size < old.offset {
		return f.readWhole(file)
	}
	old.mtime, old.partial = st.Mtim.Nano(), text != ""
	return listRead{state: old, text: text, from: old.last}, nil
}

func (f *folder) readWhole(file *os.File) (listRead, error) {
	text, st, err := readFrom(file, 0, maxListLen)
	if err != nil {
		return listRead{}, err
	}
	end := indexLF(text)
	if end < 0 {
		return listRead{}, fmt.Errorf("%w: no header line", errCorrupt)
	}
	h, err := parseListHeader(text[:end])
	if err != nil {
		return listRead{}, err
	}
	s := listState{
		present: true, id: inode{uint64(st.Dev), st.Ino}, mtime: st.Mtim.Nano(),
		offset: int64(end) + 1, tail: tailOf(text[:end+1]), header: h,
	}
	return listRead{state: s, text: text[end+1:], whole: true}, nil
}

func indexLF(s string) int {
	for i := range len(s) {
		if s[i] == '\n' {
			return i
		}
	}
	return -1
}

// parse reads the records of this look, each given to yield, and completes the
// state.
func (r *listRead) parse(yield func(listLine)) error {
	t, err := parseList(r.text, r.state.header.version, r.from, yield)
	if err != nil {
		return err
	}
	s := &r.state
	if t.read > 0 {
		s.offset, s.tail = s.offset+int64(t.read), tailOf(r.text[:t.read])
	}
	s.lines += t.lines
	s.last = t.last
	s.torn += t.torn
	s.untidy = s.untidy || t.untidy
	s.partial = t.partial
	return nil
}

// appendList adds lines at the end of the list, durable on return. The caller
// holds the lock and has read the list to its end. After a failure the file
// ends where it did, or has a partial line that the next writer rewrites.
func (f *folder) appendList(s *listState, lines []byte) error {
	file, err := checkRegular(f.root.OpenFile(listName, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0))
	if err != nil {
		return fmt.Errorf("opening the uidlist: %w", err)
	}
	defer file.Close()
	fi, err := file.Stat()
	if err != nil {
		return fmt.Errorf("opening the uidlist: %w", err)
	}
	if inodeOf(fi) != s.id || fi.Size() != s.offset {
		return errListMoved
	}
	if err = f.fault("write", listName); err == nil {
		_, err = file.Write(lines)
	}
	if err == nil {
		err = f.fault("sync", listName)
	}
	if err == nil {
		err = unix.Fdatasync(int(file.Fd()))
	}
	if err != nil {
		_ = file.Truncate(s.offset)
		return fmt.Errorf("appending to the uidlist: %w", err)
	}
	s.offset, s.tail, s.mtime = s.offset+int64(len(lines)), tailOf(string(lines)), 0
	return nil
}

// rewriteList replaces the list; see replace for what survives a crash.
func (f *folder) rewriteList(s *listState, content []byte) error {
	if err := f.replace(listName, content); err != nil {
		return fmt.Errorf("rewriting the uidlist: %w", err)
	}
	var st unix.Stat_t
	if err := f.lstat(listName, &st); err != nil {
		return fmt.Errorf("rewriting the uidlist: %w", err)
	}
	if st.Size != int64(len(content)) {
		return errListMoved // somebody overrode our lock
	}
	s.present, s.id, s.mtime = true, inode{uint64(st.Dev), st.Ino}, st.Mtim.Nano()
	s.offset, s.tail = st.Size, tailOf(string(content))
	s.torn, s.untidy, s.partial = 0, false, false
	return nil
}

// asideList moves a corrupt list out of the way.
func (f *folder) asideList() error {
	aside := fmt.Sprintf("%s.corrupt.%d", listName, f.now().Unix())
	if err := f.root.Rename(listName, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("moving a corrupt uidlist aside: %w", err)
	}
	f.log.Error("dovecot-uidlist was corrupt", "user", f.owner, "kept_as", aside)
	return nil
}

// fileMark tells whether a side file has changed.
type fileMark struct {
	id          inode
	size, mtime int64
}

// diskState is what a look at a folder compares.
type diskState struct {
	times          [2]int64 // mtime of new/ and cur/ in nanoseconds
	list, keywords fileMark
}

// glance reads a diskState: four stat calls.
func (f *folder) glance() (diskState, error) {
	var d diskState
	if err := f.times(&d.times); err != nil {
		return d, err
	}
	d.list = f.mark(listName)
	d.keywords = f.mark(keywordsName)
	return d, nil
}

func (f *folder) times(t *[2]int64) error {
	for sub, name := range subNames[:inTmp] {
		var st unix.Stat_t
		if err := f.lstat(name, &st); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("looking at %s: %w", name, err)
			}
			if err := f.makeSubdirs(); err != nil {
				return err
			}
			if err := f.lstat(name, &st); err != nil {
				return fmt.Errorf("looking at %s: %w", name, err)
			}
		}
		f.look(subdir(sub), &st)
		t[sub] = st.Mtim.Nano()
	}
	return nil
}

func (f *folder) mark(name string) fileMark {
	var st unix.Stat_t
	if f.lstat(name, &st) != nil {
		return fileMark{}
	}
	return fileMark{inode{uint64(st.Dev), st.Ino}, st.Size, st.Mtim.Nano()}
}

// grain is how far apart two changes of a directory may be and still show the
// same mtime: a kernel tick, or two seconds where the file system keeps no
// fraction.
func grain(mtime int64) time.Duration {
	if mtime%int64(time.Second) == 0 {
		return 2 * time.Second
	}
	return 20 * time.Millisecond
}
