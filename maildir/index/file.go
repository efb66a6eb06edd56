package index

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"svc.plus/mailsrvd/internal/message"
)

// A file of ours begins with
//
//	 0  "MSRVIDX\n"
//	 8  kind
//	12  UIDVALIDITY
//	16  what made it (maker)
//	20  the first 20 bytes of SHA-256(user, 0, guid)
//	40  stamp: pairs rows with wire; of a state the epoch's trust
//	48  checksum of the above
//
// Numbers are little-endian here and everywhere.
const (
	magic     = "MSRVIDX\n"
	headerLen = 52
)

// formatVersion counts changes of any format in this package.
const formatVersion = 1

// fileKind is what a file holds.
type fileKind uint32

const (
	rowsFile fileKind = iota + 1
	wireFile
	stateFile
	textFile
)

// owner is the folder that a file belongs to.
type owner [20]byte

func ownerOf(user, guid string) (o owner) {
	sum := sha256.Sum256([]byte(user + "\x00" + guid))
	copy(o[:], sum[:])
	return o
}

// fileHeader is what stands at the beginning of a file.
type fileHeader struct {
	kind     fileKind
	validity uint32
	owner    owner
	stamp    uint64
}

// errFormat means that a file or record is not what we wrote; it is made anew.
var errFormat = errors.New("damaged or of another version")

// maker identifies what determines the content of a file beside the mail: our
// formats, the scanner, and the tables that texts are folded by.
var maker = func() uint32 {
	part, _ := (&message.Part{}).AppendBinary(nil)
	return checksum(fmt.Appendf(nil, "%d %d %s %s", formatVersion, part[0], unicode.Version, norm.Version))
}()

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum never gives 0 for zeros, which is what a file holds that was cut by
// a crash.
func checksum(b []byte) uint32 { return crc32.Update(0x6d61696c, castagnoli, b) }

// append writes the header.
func (h fileHeader) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.kind))
	b = binary.LittleEndian.AppendUint32(b, h.validity)
	b = binary.LittleEndian.AppendUint32(b, maker)
	b = append(b, h.owner[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.stamp)
	return binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
}

// check reads a header from b and compares all but the stamp, which it returns.
func (h fileHeader) check(b []byte) (stamp uint64, err error) {
	if len(b) < headerLen {
		return 0, errFormat
	}
	h.stamp = binary.LittleEndian.Uint64(b[40:])
	if string(h.append(nil)) != string(b[:headerLen]) {
		return 0, errFormat
	}
	return h.stamp, nil
}

// A record is its length and checksum, four bytes each, and the payload.
const recordHead = 8

// maxRecord bounds the payload of a record.
const maxRecord = 1 << 24

// beginRecord makes room for the head of a record; endRecord, given the length
// of b before, fills it in.
func beginRecord(b []byte) []byte { return append(b, make([]byte, recordHead)...) }

func endRecord(b []byte, start int) {
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-recordHead))
	binary.LittleEndian.PutUint32(b[start+4:], recordSum(b[start:]))
}

// recordSum is the checksum of a record's length and payload.
func recordSum(rec []byte) uint32 {
	return crc32.Update(checksum(rec[:4]), castagnoli, rec[recordHead:])
}

// payload returns what a whole record holds. The error is errFormat.
func payload(rec []byte) ([]byte, error) {
	if len(rec) <= recordHead || binary.LittleEndian.Uint32(rec) != uint32(len(rec)-recordHead) ||
		binary.LittleEndian.Uint32(rec[4:]) != recordSum(rec) {
		return nil, errFormat
	}
	return rec[recordHead:], nil
}

// recordReader reads the records of a file one by one, in blocks.
type recordReader struct {
	r    io.ReaderAt
	at   int64 // where rest begins in the file
	buf  []byte
	rest []byte
	err  error // of the last read
}

// recordBlock is how much is read at once.
const recordBlock = 256 << 10

// next returns the payload of the next record, valid until the next call, and
// where the record begins. The error is io.EOF at the end, errFormat where the
// file goes on with something else, or one of reading.
func (r *recordReader) next() (p []byte, at int64, err error) {
	if !r.want(recordHead) {
		return nil, r.at, r.end()
	}
	n := int(binary.LittleEndian.Uint32(r.rest)) + recordHead
	if n > maxRecord || !r.want(n) {
		return nil, r.at, errFormat
	}
	p, err = payload(r.rest[:n])
	if err != nil {
		return nil, r.at, err
	}
	at = r.at
	r.at += int64(n)
	r.rest = r.rest[n:]
	return p, at, nil
}

// want reads until rest has n bytes; it reports whether it has.
func (r *recordReader) want(n int) bool {
	if len(r.rest) >= n {
		return true
	}
	if r.err != nil {
		return false
	}
	size := max(recordBlock, n)
	if cap(r.buf) < size {
		r.buf = make([]byte, size)
	}
	r.buf = r.buf[:cap(r.buf)]
	have := copy(r.buf, r.rest)
	var got int
	got, r.err = r.r.ReadAt(r.buf[have:], r.at+int64(have))
	r.rest = r.buf[:have+got]
	return len(r.rest) >= n
}

// end is the error at the end of what can be read.
func (r *recordReader) end() error {
	switch {
	case r.err != io.EOF:
		return r.err
	case len(r.rest) > 0:
		return errFormat
	}
	return io.EOF
}
