package imapd

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/internal/message"
)

func (m *fetched) close() {
	if m.file != nil {
		m.file.Close()
		m.file = nil
	}
}

// maxHeader bounds the header block that HEADER.FIELDS picks from.
const maxHeader = 4 << 20

// body writes BODY[] in all its forms.
func (f *fetcher) body(item *fetchItem, m *fetched) error {
	if item.needs == needFields && m.wired {
		if buf, ok := m.wire.AppendHeaderFields(f.buf[:0], item.section.fields); ok {
			f.buf = buf
			f.writeFields(item)
			return nil
		}
	}
	part, extent, ok := item.section.find(m.part)
	switch {
	case !ok:
		f.s.enc.Raw("NIL")
		return nil
	case item.section.kind == sectionFields || item.section.kind == sectionFieldsNot:
		return f.fields(item, part, m)
	case item.section.partial:
		r, n := extent.Partial(m.file, item.section.from, item.section.count, f.cursor(m))
		f.s.enc.Literal(n, r)
	default:
		f.s.enc.Literal(extent.VSize, extent.Reader(m.file))
	}
	return nil
}

// find returns the part that the section names and the extent of it that is
// asked for; of HEADER.FIELDS only the part.
func (sec *section) find(root *message.Part) (*message.Part, message.Extent, bool) {
	part := root.Find(sec.path)
	if part == nil {
		return nil, message.Extent{}, false
	}
	if len(sec.path) == 0 {
		if sec.kind == sectionBody {
			return part, part.Whole(), true
		}
	} else {
		switch sec.kind {
		case sectionBody:
			return part, part.Body(), true
		case sectionMIME:
			return part, part.Header(), true
		}
		if part = part.Message(); part == nil {
			return nil, message.Extent{}, false
		}
	}
	if sec.kind == sectionText {
		return part, part.Body(), true
	}
	return part, part.Header(), true
}

// fields writes HEADER.FIELDS and HEADER.FIELDS.NOT.
func (f *fetcher) fields(item *fetchItem, part *message.Part, m *fetched) error {
	block, err := part.ReadHeader(m.file, maxHeader)
	if err != nil {
		return fmt.Errorf("reading the header of UID %d: %w", m.UID, err)
	}
	f.buf = message.AppendHeaderFields(f.buf[:0], block, item.section.fields, item.section.kind == sectionFieldsNot)
	f.writeFields(item)
	return nil
}

// writeFields writes what is in buf, clipped to the partial.
func (f *fetcher) writeFields(item *fetchItem) {
	text := item.section.clip(f.buf)
	f.s.enc.Literal(int64(len(text)), bytes.NewReader(text))
}

// clip returns what the partial leaves of text.
func (sec *section) clip(text []byte) []byte {
	if !sec.partial {
		return text
	}
	from := min(sec.from, int64(len(text)))
	return text[from:][:min(sec.count, int64(len(text))-from)]
}

// cursor remembers where in a message the last partial fetch ended: clients
// fetch large ones piece by piece.
func (f *fetcher) cursor(m *fetched) *message.Cursor {
	p := &f.s.view.partial
	if p.uid != m.UID {
		p.uid, p.at = m.UID, message.Cursor{}
	}
	return &p.at
}

// binary writes BINARY[] (RFC 9051 section 6.4.5, RFC 3516).
func (f *fetcher) binary(item *fetchItem, m *fetched) error {
	r, size, nul, err := item.section.decoded(m)
	if err != nil || r == nil {
		return f.noBinary(err)
	}
	if sec := item.section; sec.partial {
		from := min(sec.from, size)
		if _, err := io.CopyN(io.Discard, r, from); err != nil {
			return err
		}
		size = min(sec.count, size-from)
	}
	if nul {
		f.s.enc.Literal8(size, r)
	} else {
		f.s.enc.Literal(size, r)
	}
	return nil
}

// binarySize writes BINARY.SIZE[].
func (f *fetcher) binarySize(item *fetchItem, m *fetched) error {
	r, size, _, err := item.section.decoded(m)
	if err != nil || r == nil {
		return f.noBinary(err)
	}
	f.s.enc.Number(uint64(size))
	return nil
}

// noBinary writes what stands for a part that is not there or cannot be
// decoded; in the latter case the tagged reply says so.
func (f *fetcher) noBinary(err error) error {
	f.s.enc.Raw("NIL")
	if errors.Is(err, message.ErrUnknownEncoding) {
		f.failed = no(imap.ResponseCodeUnknownCTE, "Unknown content transfer encoding")
		return nil
	}
	return err
}

// decoded returns a reader of a part without its transfer encoding, its length,
// and whether there are NULs in it. The reader is nil if there is no such part.
// The part is read twice: a literal needs its length first.
func (sec *section) decoded(m *fetched) (r io.Reader, size int64, nul bool, err error) {
	part, extent, ok := sec.find(m.part)
	if !ok {
		return nil, 0, false, nil
	}
	open := func() (io.Reader, error) { return extent.Reader(m.file), nil }
	if len(sec.path) > 0 && len(part.Children) == 0 {
		open = func() (io.Reader, error) { return part.BinaryReader(m.file) }
	}
	if r, err = open(); err != nil {
		return nil, 0, false, err
	}
	var count nulCounter
	if size, err = io.Copy(&count, r); err != nil {
		return nil, 0, false, err
	}
	r, err = open()
	return r, size, count.nul, err
}

// nulCounter notes whether a NUL was written to it.
type nulCounter struct{ nul bool }

func (c *nulCounter) Write(p []byte) (int, error) {
	c.nul = c.nul || bytes.IndexByte(p, 0) >= 0
	return len(p), nil
}
