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
	date      []byte              // the first Date field
	fields    [numFields][][]byte // all of each Field
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
	b.cutHeader()
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
	date := message.Field{Name: "Date", Raw: b.date}
	if sent, err := message.ParseDate(date.Value()); b.date != nil && err == nil {
		flags |= flagSent
		_, zone := sent.Zone()
		binary.LittleEndian.PutUint64(row[rowSentAt:], uint64(sent.Unix()))
		binary.LittleEndian.PutUint16(row[rowZoneAt:], uint16(int16(zone/60)))
	}
	flags |= b.buildText()
	b.row[rowFlagsAt] = byte(flags)
}

// cutHeader finds the fields that a row is made of, and fills the section of the
// kept ones.
func (b *builder) cutHeader() {
	b.date = nil
	for f := range b.fields {
		b.fields[f] = b.fields[f][:0]
	}
	kept := b.sections[secHeader][:0]
	tooLong := len(b.header) > maxHeader
	for name, raw := range message.EachField(b.header) {
		var lower [maxKeptName]byte
		if n := copy(lower[:], name); n < len(name) || !keeps(lower[:n]) {
			continue
		}
		b.note(string(lower[:len(name)]), raw)
		if len(kept)+len(raw) > maxKeptHeader {
			tooLong = true
			continue
		}
		kept = append(kept, raw...)
	}
	switch {
	case tooLong:
		kept = kept[:0]
	case len(kept) == 0 || kept[len(kept)-1] == '\n':
		kept = append(kept, '\r', '\n')
	default: // the header ends within its last line
	}
	b.sections[secHeader] = kept
}

// note remembers a field by its name in lower case.
func (b *builder) note(name string, raw []byte) {
	switch name {
	case "date":
		if b.date == nil {
			b.date = raw
		}
	case "subject":
		b.fields[Subject] = append(b.fields[Subject], raw)
	case "from":
		b.fields[From] = append(b.fields[From], raw)
	case "to":
		b.fields[To] = append(b.fields[To], raw)
	case "cc":
		b.fields[Cc] = append(b.fields[Cc], raw)
	case "bcc":
		b.fields[Bcc] = append(b.fields[Bcc], raw)
	}
}

// buildText appends the folded fields and sort keys.
func (b *builder) buildText() rowFlags {
	if len(b.header) > maxHeader {
		return flagNoText
	}
	var first [numFields]string // the value of the first of each
	for f := range numFields {
		start := len(b.row)
		for i, raw := range b.fields[f] {
			value := message.Field{Name: fieldNames[f], Raw: raw}.Value()
			if i == 0 {
				first[f] = value
			}
			b.row = append(message.AppendFolded(b.row, message.DecodeText(value)), fieldEnd)
		}
		binary.LittleEndian.PutUint16(b.row[rowFieldsAt+2*int(f):], uint16(min(len(b.row)-start, math.MaxUint16)))
	}
	base, reply := message.BaseSubject(message.DecodeText(first[Subject]))
	b.sortKey(SortSubject, base)
	from, to, cc := message.FirstAddress(first[From]), message.FirstAddress(first[To]), message.FirstAddress(first[Cc])
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

// displayName is what a client shows of an address: its name, or else the
// address itself (RFC 5957).
func displayName(a message.Address) string {
	if name := message.DecodeText(a.Name); name != "" || a.Mailbox == "" {
		return name
	}
	return a.Mailbox + "@" + a.Host
}

// buildWire fills b.wire, of which the kept header is made; it stays empty if it would be too long.
func (b *builder) buildWire(part *message.Part) {
	s := &b.sections
	for i := secHeader + 1; i < numSections; i++ {
		s[i] = s[i][:0]
	}
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
