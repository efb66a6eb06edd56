package index

import (
	"encoding/binary"

	"svc.plus/mailsrvd/internal/message"
)

// The long part of a message in wire is the lengths of these sections as
// varints, and the sections.
const (
	secHeader     = iota // the kept header fields, as stored; see keptFields
	secEnvelope          // ENVELOPE
	secStructure         // BODYSTRUCTURE
	secCuts              // what to leave out of it for BODY; see bodyCuts
	secTree              // message.Part.AppendBinary, without the root's Summary
	secEnvelope8         // ENVELOPE with quoted UTF-8; empty if it is the same
	secStructure8        // BODYSTRUCTURE with quoted UTF-8, likewise
	numSections
)

// maxWire bounds the long part of a message, maxKeptHeader its kept header.
const (
	maxWire       = 256 << 10
	maxKeptHeader = 48 << 10
)

// Wire is the long part of what is known of a message: what FETCH answers with.
// It is valid as long as its Row.
type Wire struct {
	sections [numSections][]byte
}

// parseWire splits a long part; ok is false if it is not one.
func parseWire(b []byte) (w Wire, ok bool) {
	var sizes [numSections]int
	for i := range sizes {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > maxWire {
			return w, false
		}
		sizes[i], b = int(n), b[used:]
	}
	for i, n := range sizes {
		if n > len(b) {
			return w, false
		}
		w.sections[i], b = b[:n:n], b[n:]
	}
	return w, len(b) == 0
}

// appendWire joins sections.
func appendWire(dst []byte, sections *[numSections][]byte) []byte {
	for _, s := range sections {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
	}
	for _, s := range sections {
		dst = append(dst, s...)
	}
	return dst
}

// AppendEnvelope appends ENVELOPE (RFC 9051 section 7.5.2), as
// message.Part.AppendEnvelope or, with utf8 set, AppendEnvelopeUTF8.
func (w Wire) AppendEnvelope(dst []byte, utf8 bool) []byte {
	return append(dst, w.pick(secEnvelope, secEnvelope8, utf8)...)
}

func (w Wire) pick(plain, other int, utf8 bool) []byte {
	if utf8 && len(w.sections[other]) > 0 {
		return w.sections[other]
	}
	return w.sections[plain]
}

// AppendBodyStructure appends BODYSTRUCTURE or, with extended unset, BODY, as
// message.Part.AppendBodyStructure or, with utf8 set, AppendBodyStructureUTF8.
func (w Wire) AppendBodyStructure(dst []byte, extended, utf8 bool) []byte {
	full := w.pick(secStructure, secStructure8, utf8)
	if extended {
		return append(dst, full...)
	}
	if len(w.sections[secCuts]) > 0 && (!utf8 || len(w.sections[secStructure8]) == 0) {
		if dst, ok := appendUncut(dst, full, w.sections[secCuts]); ok {
			return dst
		}
	}
	part, ok := w.Part()
	switch {
	case !ok: // cannot be: the same build wrote it
		return append(dst, full...)
	case utf8:
		return part.AppendBodyStructureUTF8(dst, false)
	}
	return part.AppendBodyStructure(dst, false)
}

// AppendHeaderFields appends BODY[HEADER.FIELDS (names)] of the message, with
// its blank line, as message.AppendHeaderFields. ok is false if one of the
// fields is not kept (Keeps) or the header is too big.
func (w Wire) AppendHeaderFields(dst []byte, names []string) (out []byte, ok bool) {
	if len(w.sections[secHeader]) == 0 {
		return dst, false
	}
	for _, name := range names {
		if !Keeps(name) {
			return dst, false
		}
	}
	return message.AppendHeaderFields(dst, w.sections[secHeader], names, false), true
}

// Header returns the kept fields as they stand in the message, with a blank
// line, for message.ParseHeader. ok is false if the header is too big.
func (w Wire) Header() (block []byte, ok bool) {
	return w.sections[secHeader], len(w.sections[secHeader]) > 0
}

// Part returns the message's structure, freshly made. Its root has no Summary:
// use AppendEnvelope and Header in its place.
func (w Wire) Part() (*message.Part, bool) {
	p := new(message.Part)
	err := p.UnmarshalBinary(w.sections[secTree])
	return p, err == nil
}
