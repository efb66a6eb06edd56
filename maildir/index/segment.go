package index

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
)

// A segment is a file of the full-text index that never changes. Behind the
// header come
//
//	a record with the documents: UID and base hash, 4 bytes each
//	the posting lists (posting.go), in the order of their trigrams
//	the dictionary, in pages
//	a record with the first entry of each page
//	the footer: offset and number of the pages, 8 bytes each, checksum
//
// An entry of the dictionary is a trigram (in the 25 highest bits) and the offset
// of its list, which ends where the next one begins.
const (
	pageLen     = 4096
	pageEntries = 511 // then their number and a checksum, 4 bytes each
	footerLen   = 20
	offsetBits  = 39

	maxSegmentDocs = 1 << 20
)

// document is a message in a segment. Its index there is its ordinal.
type document struct {
	uid  UID
	base uint32 // BaseHash
}

func documentOf(k Key) document { return document{k.UID, BaseHash(k.Base)} }

func compareDocuments(a, b document) int {
	return cmp.Or(cmp.Compare(a.uid, b.uid), cmp.Compare(a.base, b.base))
}

// segmentWriter writes a segment: new, then addList in the order of trigrams,
// then finish.
type segmentWriter struct {
	w       *bufio.Writer
	docs    int
	at      int64
	err     error
	entries []uint64
	scratch []byte
}

func newSegmentWriter(w io.Writer, h fileHeader, docs []document) *segmentWriter {
	s := &segmentWriter{w: bufio.NewWriterSize(w, 256<<10), docs: len(docs)}
	b := beginRecord(h.append(nil))
	for _, d := range docs {
		b = binary.LittleEndian.AppendUint32(b, uint32(d.uid))
		b = binary.LittleEndian.AppendUint32(b, d.base)
	}
	endRecord(b[headerLen:], 0)
	s.write(b)
	return s
}

func (s *segmentWriter) write(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
	}
	s.at += int64(len(b))
}

func entryOf(t trigram, off int64) uint64 { return uint64(t)<<offsetBits | uint64(off) }

func splitEntry(e uint64) (t trigram, off int64) {
	return trigram(e >> offsetBits), int64(e & (1<<offsetBits - 1))
}

// addList writes the list of a trigram; ordinals rise, and there is one at least.
func (s *segmentWriter) addList(t trigram, ordinals []uint32) {
	s.entries = append(s.entries, entryOf(t, s.at))
	s.scratch = appendList(s.scratch[:0], ordinals, s.docs)
	s.write(s.scratch)
}

func (s *segmentWriter) finish() error {
	dict := s.at
	var firsts []uint64
	for page := range slices.Chunk(s.entries, pageEntries) {
		firsts = append(firsts, page[0])
		s.writePage(page)
	}
	b := beginRecord(s.scratch[:0])
	for _, e := range firsts {
		b = binary.LittleEndian.AppendUint64(b, e)
	}
	b = append(b, 0) // a record is never empty
	endRecord(b, 0)
	foot := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(dict))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(firsts)))
	b = binary.LittleEndian.AppendUint32(b, checksum(b[foot:]))
	s.write(b)
	if s.err == nil {
		s.err = s.w.Flush()
	}
	if s.err != nil {
		return fmt.Errorf("writing a text segment: %w", s.err)
	}
	return nil
}

func (s *segmentWriter) writePage(entries []uint64) {
	b := s.scratch[:0]
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint64(b, e)
	}
	b = append(b, make([]byte, pageLen-8-len(b))...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)))
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	s.write(b)
	s.scratch = b
}

// segment is an open segment. Its file is safe for concurrent reading.
type segment struct {
	file   *os.File
	path   string
	size   int64
	docs   []document
	dict   int64    // where the pages begin
	firsts []uint64 // the first entry of each
	sets   atomic.Int32
}

// openSegment opens a segment. The error is errFormat if it is damaged or not of
// this folder.
func openSegment(path string, h fileHeader) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a text segment: %w", err)
	}
	s := &segment{file: f, path: path}
	if err := s.load(h); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *segment) load(h fileHeader) error {
	info, err := s.file.Stat()
	if err != nil {
		return fmt.Errorf("reading the attributes of a text segment: %w", err)
	}
	s.size = info.Size()
	head, err := s.read(0, headerLen)
	if err != nil {
		return err
	}
	if _, err := h.check(head); err != nil {
		return err
	}
	foot, err := s.read(s.size-footerLen, footerLen)
	if err != nil {
		return err
	}
	if checksum(foot[:16]) != binary.LittleEndian.Uint32(foot[16:]) {
		return errFormat
	}
	s.dict = int64(binary.LittleEndian.Uint64(foot))
	pages := binary.LittleEndian.Uint64(foot[8:])
	if s.dict < headerLen || s.dict > s.size || pages > uint64(s.size)/pageLen {
		return errFormat
	}
	return s.loadTables(int(pages))
}

// loadTables reads the documents and the first entries of the pages.
func (s *segment) loadTables(pages int) error {
	r := recordReader{r: s.file, at: headerLen}
	p, _, err := r.next()
	if err != nil || len(p)%8 != 0 || len(p)/8 > maxSegmentDocs {
		return errFormat
	}
	s.docs = make([]document, len(p)/8)
	for i := range s.docs {
		s.docs[i] = document{UID(binary.LittleEndian.Uint32(p[8*i:])), binary.LittleEndian.Uint32(p[8*i+4:])}
	}
	off := s.dict + int64(pages)*pageLen
	b, err := s.read(off, s.size-footerLen-off)
	if err != nil {
		return err
	}
	if p, err = payload(b); err != nil || len(p) != 8*pages+1 {
		return errFormat
	}
	s.firsts = make([]uint64, pages)
	for i := range s.firsts {
		s.firsts[i] = binary.LittleEndian.Uint64(p[8*i:])
	}
	return nil
}

// read reads n bytes. The error is errFormat if there are not so many.
func (s *segment) read(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || n > s.size || off > s.size-n {
		return nil, errFormat
	}
	b := make([]byte, n)
	if got, err := s.file.ReadAt(b, off); got < len(b) {
		if err == io.EOF {
			return nil, errFormat
		}
		return nil, fmt.Errorf("reading a text segment: %w", err)
	}
	return b, nil
}

// page reads a page of the dictionary; end is where the last of its lists ends.
func (s *segment) page(i int) (entries []uint64, end int64, err error) {
	b, err := s.read(s.dict+int64(i)*pageLen, pageLen)
	if err != nil {
		return nil, 0, err
	}
	if checksum(b[:pageLen-4]) != binary.LittleEndian.Uint32(b[pageLen-4:]) {
		return nil, 0, errFormat
	}
	n := binary.LittleEndian.Uint32(b[pageLen-8:])
	if n == 0 || n > pageEntries {
		return nil, 0, errFormat
	}
	entries = make([]uint64, n)
	for i := range entries {
		entries[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	end = s.dict
	if i+1 < len(s.firsts) {
		_, end = splitEntry(s.firsts[i+1])
	}
	return entries, end, nil
}

// list returns the posting list of a trigram; ok is false if no document has it.
// The error is errFormat or one of reading.
func (s *segment) list(t trigram) (l list, ok bool, err error) {
	i, _ := slices.BinarySearch(s.firsts, entryOf(t, 0))
	if i == len(s.firsts) || trigram(s.firsts[i]>>offsetBits) != t {
		i--
	}
	if i < 0 {
		return l, false, nil
	}
	entries, end, err := s.page(i)
	if err != nil {
		return l, false, err
	}
	j, _ := slices.BinarySearch(entries, entryOf(t, 0))
	if j == len(entries) || trigram(entries[j]>>offsetBits) != t {
		return l, false, nil
	}
	_, off := splitEntry(entries[j])
	if j+1 < len(entries) {
		_, end = splitEntry(entries[j+1])
	}
	b, err := s.read(off, end-off)
	if err != nil {
		return l, false, err
	}
	l, err = parseList(b, len(s.docs))
	return l, err == nil, err
}

// find returns the ordinals of the documents that may hold a needle with these
// trigrams. The error is errFormat or one of reading.
func (s *segment) find(needle []trigram) ([]uint32, error) {
	lists := make([]list, 0, len(needle))
	for _, t := range needle {
		l, ok, err := s.list(t)
		if err != nil {
			return nil, err
		}
		if !ok {
			lists = nil
			break
		}
		lists = append(lists, l)
	}
	var found []uint32
	if len(lists) > 0 {
		slices.SortFunc(lists, func(a, b list) int { return a.count - b.count })
		var err error
		if found, err = lists[0].appendTo(nil); err != nil {
			return nil, err
		}
		for _, l := range lists[1:] {
			if len(found) == 0 {
				break
			}
			if found, err = l.intersect(found); err != nil {
				return nil, err
			}
		}
	}
	any, ok, err := s.list(anyTrigram)
	if err != nil {
		return nil, err
	}
	if ok {
		if found, err = any.appendTo(found); err != nil {
			return nil, err
		}
	}
	return found, nil
}
