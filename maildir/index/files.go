package index

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
)

// rowFiles are the open files rows and wire of a folder. They are closed when
// the last of their users has released them.
type rowFiles struct {
	rows, wire *os.File
	users      atomic.Int32
	table      atomic.Pointer[table]

	// Guarded by Mailbox.io.
	rowsEnd, wireEnd int64
	dead             int64 // bytes of rows that nothing points to
}

// use counts a user, unless the files are closed already.
func (f *rowFiles) use() bool {
	for {
		n := f.users.Load()
		if n == 0 {
			return false
		}
		if f.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (f *rowFiles) release() {
	if f.users.Add(-1) == 0 {
		f.rows.Close()
		f.wire.Close()
	}
}

func (f *rowFiles) setTable(t table) { f.table.Store(&t) }

// openRows opens the files of a folder and reads where its rows are. The error
// is fs.ErrNotExist if there are none, errFormat if they must be removed.
func openRows(dir string, h fileHeader) (_ *rowFiles, err error) {
	f := new(rowFiles)
	f.users.Store(1)
	if f.rows, err = os.OpenFile(filepath.Join(dir, "rows"), os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("opening rows: %w", err)
	}
	if f.wire, err = os.OpenFile(filepath.Join(dir, "wire"), os.O_RDWR, 0); err != nil {
		f.rows.Close()
		return nil, fmt.Errorf("opening wire: %w", err)
	}
	if err := f.load(h); err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

// load reads the headers and all of rows.
func (f *rowFiles) load(h fileHeader) error {
	stamps := [2]uint64{}
	for i, file := range []*os.File{f.rows, f.wire} {
		h.kind = rowsFile + fileKind(i)
		head := make([]byte, headerLen)
		if _, err := file.ReadAt(head, 0); err != nil && err != io.EOF {
			return fmt.Errorf("reading a header: %w", err)
		}
		var err error
		if stamps[i], err = h.check(head); err != nil {
			return err
		}
	}
	if stamps[0] != stamps[1] {
		return errFormat
	}
	end, err := f.wire.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("measuring wire: %w", err)
	}
	f.wireEnd = end
	return f.loadTable()
}

// loadTable reads the records of rows up to the first that is damaged; what is
// behind that is written over.
func (f *rowFiles) loadTable() error {
	r := recordReader{r: f.rows, at: headerLen}
	var entries []entry
	for {
		p, at, err := r.next()
		if err == io.EOF || errors.Is(err, errFormat) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading rows: %w", err)
		}
		switch {
		case validRow(p):
			entries = append(entries, entry{UID(binary.LittleEndian.Uint32(p[rowUIDAt:])), uint32(len(p) + recordHead), at})
		case len(p) == forgetLen && p[0] == forgetRecord:
			entries = append(entries, entry{uid: UID(binary.LittleEndian.Uint32(p[rowUIDAt:]))})
		}
	}
	f.rowsEnd = r.at
	t := tableOf(entries)
	f.dead = f.rowsEnd - headerLen
	for _, e := range t {
		f.dead -= int64(e.size)
	}
	f.setTable(t)
	return nil
}

// createRows makes the files of a folder anew.
func createRows(dir string, h fileHeader) (*rowFiles, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a cache directory: %w", err)
	}
	h.stamp = newStamp()
	f := &rowFiles{rowsEnd: headerLen, wireEnd: headerLen}
	f.users.Store(1)
	f.setTable(nil)
	var err error
	h.kind = rowsFile
	if f.rows, err = createFile(filepath.Join(dir, "rows"), h); err != nil {
		return nil, err
	}
	h.kind = wireFile
	if f.wire, err = createFile(filepath.Join(dir, "wire"), h); err != nil {
		f.rows.Close()
		return nil, err
	}
	return f, nil
}

// createFile makes a file with its header in place of any other.
func createFile(path string, h fileHeader) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing an old cache file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating a cache file: %w", err)
	}
	if _, err := f.Write(h.append(nil)); err != nil {
		f.Close()
		return nil, fmt.Errorf("writing a cache file: %w", err)
	}
	return f, nil
}

func newStamp() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
