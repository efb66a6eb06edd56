package index

import (
	"encoding/binary"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// A record of rows has this payload. It is all that SEARCH, SORT and a list of
// messages by size or date need; the long part, for FETCH, is in wire.
//
//	 0  kind: rowRecord or forgetRecord (then only the UID follows)
//	 1  rowFlags
//	 2  zone of the sent date, minutes east, signed
//	 4  UID
//	 8  baseSum
//	16  RFC822.SIZE
//	24  internal date, Unix seconds
//	32  sent date, Unix seconds
//	40  offset in wire
//	48  length in wire
//	52  checksum of that
//	56  lengths of the folded fields, 2 bytes each, in the order of Field
//	66  sort keys, each an offset into the text and a length, 2 bytes each
//	90  the text: folded fields, then sort keys that are no part of them
//
// Of a folded field each occurrence ends with fieldEnd.
const (
	rowFlagsAt    = 1
	rowZoneAt     = 2
	rowUIDAt      = 4
	rowBaseAt     = 8
	rowSizeAt     = 16
	rowInternalAt = 24
	rowSentAt     = 32
	rowWireAt     = 40
	rowWireLenAt  = 48
	rowWireSumAt  = 52
	rowFieldsAt   = 56
	rowSortAt     = rowFieldsAt + 2*int(numFields)
	rowTextAt     = rowSortAt + 4*int(numSortKeys)
)

const (
	rowRecord    = 1
	forgetRecord = 2
	forgetLen    = 8
)

// fieldEnd is in no folded text, which is UTF-8.
const fieldEnd = 0xff

// maxRowText bounds the text of a row; with more the row has none.
const maxRowText = 1<<16 - 1

type rowFlags uint8

const (
	flagSent   rowFlags = 1 << iota // the sent date is one
	flagReply                       // the subject is one of a reply or forward
	flagNoText                      // fields and sort keys were too long
	flagNoWire                      // the long part was too long
)

// Field is a header field whose texts are kept for searching.
type Field uint8

// The fields that Row.Match knows.
const (
	Subject Field = iota
	From
	To
	Cc
	Bcc
	numFields
)

// fieldNames are the names of the Fields.
var fieldNames = [numFields]string{"Subject", "From", "To", "Cc", "Bcc"}

// SortKey is what messages can be sorted by.
type SortKey uint8

// The sort keys of RFC 5256 section 3 and RFC 5957 that are texts.
const (
	SortSubject     SortKey = iota // the base subject
	SortFrom                       // local-part of the first address
	SortTo                         //
	SortCc                         //
	SortDisplayFrom                // display name, or else the address
	SortDisplayTo                  //
	numSortKeys
)

// Row is what is known of a message. It is valid during the call of
// Mailbox.View that gave it, and until its Reader's next Row.
type Row struct {
	r *Reader
	b []byte // a payload that validRow has seen
}

// validRow reports whether a payload can be read as a row.
func validRow(p []byte) bool {
	if len(p) < rowTextAt || p[0] != rowRecord {
		return false
	}
	text := len(p) - rowTextAt
	fields := 0
	for f := range numFields {
		fields += int(binary.LittleEndian.Uint16(p[rowFieldsAt+2*f:]))
	}
	for k := range numSortKeys {
		off, n := sortRef(p, k)
		if off+n > text {
			return false
		}
	}
	return fields <= text
}

func sortRef(p []byte, k SortKey) (off, n int) {
	at := rowSortAt + 4*int(k)
	return int(binary.LittleEndian.Uint16(p[at:])), int(binary.LittleEndian.Uint16(p[at+2:]))
}

func (row Row) flags() rowFlags { return rowFlags(row.b[rowFlagsAt]) }

func (row Row) int64(at int) int64 { return int64(binary.LittleEndian.Uint64(row.b[at:])) }

// Size is RFC822.SIZE.
func (row Row) Size() int64 { return row.int64(rowSizeAt) }

// Internal is INTERNALDATE, the message file's mtime, to the second.
func (row Row) Internal() time.Time { return time.Unix(row.int64(rowInternalAt), 0) }

// Sent is the date in the Date field, in its zone; ok is false without a valid
// one.
func (row Row) Sent() (t time.Time, ok bool) {
	if row.flags()&flagSent == 0 {
		return time.Time{}, false
	}
	t = time.Unix(row.int64(rowSentAt), 0).UTC()
	if zone := int16(binary.LittleEndian.Uint16(row.b[rowZoneAt:])); zone != 0 {
		t = t.In(time.FixedZone("", int(zone)*60))
	}
	return t, true
}

// SentUnix is Sent in Unix seconds.
func (row Row) SentUnix() (sec int64, ok bool) {
	return row.int64(rowSentAt), row.flags()&flagSent != 0
}

// IsReply reports whether the subject is that of a reply or forward, as
// message.BaseSubject says.
func (row Row) IsReply() bool { return row.flags()&flagReply != 0 }

// Match reports whether one of the message's fields f holds m's needle, decoded
// and folded. known is false if the row does not have them.
func (row Row) Match(f Field, m *message.Matcher) (found, known bool) {
	if row.flags()&flagNoText != 0 {
		return false, false
	}
	text := row.folded(f)
	return len(text) > 0 && m.MatchFolded(text), true
}

// folded is the text of all fields f; empty if there is none.
func (row Row) folded(f Field) []byte {
	from := rowTextAt
	for i := range f {
		from += int(binary.LittleEndian.Uint16(row.b[rowFieldsAt+2*int(i):]))
	}
	n := int(binary.LittleEndian.Uint16(row.b[rowFieldsAt+2*int(f):]))
	return row.b[from : from+n : from+n]
}

// SortKey returns a sort key, folded, so that keys compare by their bytes; empty
// if the message has none. known is false if the row does not say.
func (row Row) SortKey(k SortKey) (key []byte, known bool) {
	if row.flags()&flagNoText != 0 {
		return nil, false
	}
	off, n := sortRef(row.b, k)
	off += rowTextAt
	return row.b[off : off+n : off+n], true
}
