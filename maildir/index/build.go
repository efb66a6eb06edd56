package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// Message is a message to be put into the cache.
type Message struct {
	Key
	// Internal is the date of the stored file, its mtime.
	Internal time.Time
	// File is the stored file, or its bytes as they are stored. It is read
	// during the call only.
	File io.ReaderAt
	// Part is the structure of File; nil means that it is to be scanned.
	Part *message.Part
}

// builder makes rows; it is used by one goroutine at a time.
type builder struct {
	row, wire []byte // the results
	sections  [numSections][]byte
	scratch   []byte
	header    []byte
	tree      message.Part
}

var builders = sync.Pool{New: func() any { return new(builder) }}

// build makes the row of msg: b.row, a payload that lacks the place of its wire,
// and b.wire. Both are valid until the next call.
func (b *builder) build(msg Message) error {
	part := msg.Part
	if part == nil {
		var err error
		if part, err = message.Scan(io.NewSectionReader(msg.File, 0, math.MaxInt64)); err != nil {
			return fmt.Errorf("scanning a message: %w", err)
		}
	}
	if err := b.readHeader(msg.File, part); err != nil {
		return fmt.Errorf("reading a header: %w", err)
	}
	b.buildRow(msg, part)
	b.buildWire(part)
	return nil
}

// maxHeader bounds the header block that fields are taken from. A longer one is
// taken as too long to keep, since its end might have more.
const maxHeader = 1 << 20

func (b *builder) readHeader(r io.ReaderAt, part *message.Part) error {
	n := int(min(part.BodyStart-part.HeaderStart, maxHeader+1))
	b.header = slices.Grow(b.header[:0], n)[:n]
	got, err := r.ReadAt(b.header, part.HeaderStart)
	if got < n {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// buildRow fills b.row.
func (b *builder) buildRow(msg Message, part *message.Part) {
	b.row = append(b.row[:0], make([]byte, rowTextAt)...)
	row, flags := b.row, rowFlags(0)
	row[0] = rowRecord
	binary.LittleEndian.PutUint32(row[rowUIDAt:], uint32(msg.UID))
	binary.LittleEndian.PutUint64(row[rowBaseAt:], baseSum(msg.Base))
	binary.LittleEndian.PutUint64(row[rowSizeAt:], uint64(part.VSize()))
	binary.LittleEndian.PutUint64(row[rowInternalAt:], uint64(msg.Internal.Unix()))
	fields := message.ParseHeader(b.header)
	if sent, err := message.ParseDate(fields.Value("Date")); err == nil {
		flags |= flagSent
		_, zone := sent.Zone()
		binary.LittleEndian.PutUint64(row[rowSentAt:], uint64(sent.Unix()))
		binary.LittleEndian.PutUint16(row[rowZoneAt:], uint16(int16(zone/60)))
	}
	flags |= b.buildText(fields)
	b.row[rowFlagsAt] = byte(flags)
}

// buildText appends the folded fields and sort keys.
func (b *builder) buildText(fields message.Fields) rowFlags {
	if len(b.header) > maxHeader {
		return flagNoText
	}
	for f := range numFields {
		start := len(b.row)
		for _, field := range fields {
			if field.Is(fieldNames[f]) {
				b.row = append(message.AppendFolded(b.row, field.Text()), fieldEnd)
			}
		}
		binary.LittleEndian.PutUint16(b.row[rowFieldsAt+2*int(f):], uint16(min(len(b.row)-start, math.MaxUint16)))
	}
	base, reply := message.BaseSubject(fields.Text("Subject"))
	b.sortKey(SortSubject, base)
	from, to, cc := firstAddress(fields, "From"), firstAddress(fields, "To"), firstAddress(fields, "Cc")
	b.sortKey(SortFrom, from.Mailbox)
	b.sortKey(SortTo, to.Mailbox)
	b.sortKey(SortCc, cc.Mailbox)
	b.sortKey(SortDisplayFrom, displayName(from))
	b.sortKey(SortDisplayTo, displayName(to))
	if len(b.row)-rowTextAt > maxRowText {
		b.row = b.row[:rowTextAt]
		clear(b.row[rowFieldsAt:])
		return flagNoText
	}
	if reply {
		return flagReply
	}
	return 0
}

// sortKey notes where key, folded, stands in the text, and appends it if it
// does not.
func (b *builder) sortKey(k SortKey, key string) {
	b.scratch = message.AppendFolded(b.scratch[:0], key)
	off := bytes.Index(b.row[rowTextAt:], b.scratch)
	if off < 0 {
		off = len(b.row) - rowTextAt
		b.row = append(b.row, b.scratch...)
	}
	at := rowSortAt + 4*int(k)
	binary.LittleEndian.PutUint16(b.row[at:], uint16(off))
	binary.LittleEndian.PutUint16(b.row[at+2:], uint16(len(b.scratch)))
}

// firstAddress returns the first mailbox of a field, of a group its first
// member.
func firstAddress(fields message.Fields, name string) message.Address {
	for _, a := range message.ParseAddressList(fields.Value(name)) {
		if a.Kind == message.Individual {
			return a
		}
	}
	return message.Address{}
}

// displayName is what a client shows of an address: its name, or else the
// address itself (RFC 5957).
func displayName(a message.Address) string {
	if name := message.DecodeText(a.Name); name != "" || a.Mailbox == "" {
		return name
	}
	return a.Mailbox + "@" + a.Host
}

// buildWire fills b.wire; it stays empty if it would be too long.
func (b *builder) buildWire(part *message.Part) {
	s := &b.sections
	for i := range s {
		s[i] = s[i][:0]
	}
	s[secHeader] = appendKept(s[secHeader], b.header)
	s[secEnvelope] = part.AppendEnvelope(s[secEnvelope])
	s[secStructure] = part.AppendBodyStructure(s[secStructure], true)
	b.scratch = part.AppendBodyStructure(b.scratch[:0], false)
	s[secCuts] = bodyCuts(s[secCuts], s[secStructure], b.scratch)
	if bytes.IndexByte(s[secEnvelope], '{') >= 0 { // only literals can be written otherwise
		s[secEnvelope8] = part.AppendEnvelopeUTF8(s[secEnvelope8])
	}
	if bytes.IndexByte(s[secStructure], '{') >= 0 {
		s[secStructure8] = part.AppendBodyStructureUTF8(s[secStructure8], true)
	}
	b.tree = *part
	b.tree.Summary = nil
	s[secTree], _ = b.tree.AppendBinary(s[secTree])
	b.tree = message.Part{}
	if b.wire = appendWire(b.wire[:0], s); len(b.wire) > maxWire {
		b.wire = b.wire[:0]
		b.row[rowFlagsAt] |= byte(flagNoWire)
	}
}

// appendKept appends the kept fields of a header block and a blank line; nothing
// if they are too long.
func appendKept(dst, block []byte) []byte {
	if len(block) > maxHeader {
		return dst
	}
	start := len(dst)
	for _, f := range message.ParseHeader(block) {
		if !Keeps(f.Name) {
			continue
		}
		dst = append(dst, f.Raw...)
		if len(dst)-start > maxKeptHeader {
			return dst[:start]
		}
	}
	if len(dst) > start && dst[len(dst)-1] != '\n' {
		return dst // the header ends within its last line
	}
	return append(dst, '\r', '\n')
}
