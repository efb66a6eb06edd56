package sevenbit

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// ErrStructure means that a message cannot be converted, now or later; the text
// of an error that wraps it says why.
var ErrStructure = errors.New("the message cannot be converted to 7 bits")

// Message is a message in its 7-bit form. It reads its Content again whenever it
// is sent. It is safe for concurrent use.
type Message struct {
	c       *message.Content
	root    *message.Part
	changes map[*message.Part]change // of parts whose header is not sent as it is
	parts   int
}

// change is what becomes of a part.
type change struct {
	// label is the new Content-Transfer-Encoding; empty leaves the old one.
	label string
	// version says that the part is a message and needs MIME-Version, charset that
	// it needs a Content-Type if it has none.
	version, charset bool
}

const (
	sevenBit        = "7bit"
	quotedPrintable = "quoted-printable"
	base64Encoding  = "base64"
)

// block is the piece in which a message is read and written.
const block = 32 << 10

// New looks at a message and decides what becomes of each part. c must stay open
// and unchanged for as long as the Message is used. The error is ErrStructure,
// or one of reading.
func New(c *message.Content) (*Message, error) {
	root, err := message.Scan(c.NewReader())
	if err != nil {
		return nil, fmt.Errorf("reading a message to convert: %w", err)
	}
	m := &Message{c: c, root: root, changes: map[*message.Part]change{}}
	if _, err := m.examine(root, 1); err != nil {
		return nil, err
	}
	return m, nil
}

// examine plans for p and all below it, and reports whether there is anything to
// do.
func (m *Message) examine(p *message.Part, depth int) (changed bool, err error) {
	var ch change
	m.parts++
	if walked(p) {
		changed, err = m.examineInside(p, depth)
		if changed && identity(p.Encoding) && p.Encoding != "" {
			ch.label = sevenBit
		}
	} else {
		ch.label, err = m.examineLeaf(p, depth)
		ch.charset = ch.label == quotedPrintable && p.Is("text", "plain")
	}
	if err != nil {
		return false, err
	}
	changed = changed || ch.label != ""
	ch.version = changed && p.Summary != nil
	if ch != (change{}) {
		m.changes[p] = ch
	}
	return changed, nil
}

// walked reports whether p is not encoded itself, but what is in it. A message/global
// may be encoded as a whole, and its header is not for a host without SMTPUTF8
// (RFC 6532 section 3.7).
func walked(p *message.Part) bool {
	if p.IsMultipart() {
		return len(p.Children) > 0
	}
	return p.IsMessage() && p.Is("message", "rfc822") && identity(p.Encoding)
}

// identity reports whether an encoding leaves the bytes as they are.
func identity(encoding string) bool {
	switch strings.ToLower(encoding) {
	case "", sevenBit, "8bit", "binary":
		return true
	}
	return false
}

func (m *Message) examineInside(p *message.Part, depth int) (changed bool, err error) {
	for _, c := range p.Children {
		ch, err := m.examine(c, depth+1)
		if err != nil {
			return false, err
		}
		changed = changed || ch
	}
	for _, param := range p.Params {
		if strings.EqualFold(param.Name, "boundary") && has8bit([]byte(param.Value)) {
			return false, hopeless("the boundary of a multipart has 8-bit bytes")
		}
	}
	if changed {
		return true, nil
	}
	return m.anyAround(p)
}

// anyAround reports whether there are 8-bit bytes around the children of p.
func (m *Message) anyAround(p *message.Part) (bool, error) {
	for g := range gaps(p) {
		if any, err := m.any8bit(g); any || err != nil {
			return any, err
		}
	}
	return false, nil
}

// examineLeaf gives the new encoding of a part, or none if it stays.
func (m *Message) examineLeaf(p *message.Part, depth int) (label string, err error) {
	eight, err := m.any8bit(p.Body())
	binary := strings.EqualFold(p.Encoding, "binary")
	switch {
	case err != nil:
		return "", err
	case !eight && (binary || strings.EqualFold(p.Encoding, "8bit")) && p.End > p.BodyStart:
		return sevenBit, nil
	case !eight:
		return "", nil
	case depth >= message.MaxDepth:
		return "", hopeless("its parts are nested more than %d deep", message.MaxDepth)
	case m.parts >= message.MaxParts:
		return "", hopeless("it has more than %d parts", message.MaxParts)
	case p.IsMultipart():
		return "", hopeless("a multipart has no parts")
	case p.Is("message", "partial"):
		return "", hopeless("it is a piece of a message (message/partial)") // RFC 2046 section 5.2.2.1
	case !identity(p.Encoding) && !strings.EqualFold(p.Encoding, quotedPrintable) && !strings.EqualFold(p.Encoding, base64Encoding):
		return "", hopeless("a part has the unknown encoding %.40q", p.Encoding)
	case binary, !p.Is("text", "") && (!p.Is("message", "") || p.IsMessage()):
		return base64Encoding, nil
	}
	return quotedPrintable, nil
}

func hopeless(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrStructure}, args...)...)
}

func has8bit(p []byte) bool {
	var or byte
	for _, c := range p {
		or |= c
	}
	return or >= 0x80
}

// any8bit reports whether a stretch of the message has 8-bit bytes.
func (m *Message) any8bit(e message.Extent) (bool, error) {
	var found eightBitSearch
	err := m.copy(&found, e)
	return bool(found), err
}

type eightBitSearch bool

func (s *eightBitSearch) Write(p []byte) (int, error) {
	*s = *s || eightBitSearch(has8bit(p))
	return len(p), nil
}

// copy writes a stretch of the message as it is.
func (m *Message) copy(w io.Writer, e message.Extent) error {
	if e.End == e.Start {
		return nil
	}
	_, err := io.CopyBuffer(w, readerOnly{m.section(e)}, make([]byte, min(block, e.End-e.Start)))
	return err
}

// readerOnly keeps io.Copy from choosing other piece sizes.
type readerOnly struct{ io.Reader }

func (m *Message) section(e message.Extent) io.Reader {
	return io.NewSectionReader(m.c, e.Start, e.End-e.Start)
}

// Send writes the message to w.
func (m *Message) Send(w io.Writer) error {
	bw := bufio.NewWriterSize(w, block)
	if err := m.part(bw, m.root); err != nil {
		return err
	}
	return bw.Flush()
}

func (m *Message) part(w *bufio.Writer, p *message.Part) error {
	ch, changed := m.changes[p]
	var err error
	if changed {
		err = m.header(w, p.Header(), ch)
	} else {
		err = m.copy(w, p.Header())
	}
	switch {
	case err != nil:
		return err
	case walked(p):
		return m.inside(w, p)
	case ch.label == quotedPrintable || ch.label == base64Encoding:
		return m.encode(w, p, ch.label)
	}
	return m.copy(w, p.Body())
}

// inside writes the children of p and what is around them.
func (m *Message) inside(w *bufio.Writer, p *message.Part) error {
	i := 0
	for g := range gaps(p) {
		if err := m.copy(asterisks{w}, g); err != nil {
			return err
		}
		if i < len(p.Children) {
			if err := m.part(w, p.Children[i]); err != nil {
				return err
			}
		}
		i++
	}
	return nil
}

// gaps are the stretches before, between and after the children of p.
func gaps(p *message.Part) func(yield func(message.Extent) bool) {
	return func(yield func(message.Extent) bool) {
		at := p.BodyStart
		for _, c := range p.Children {
			if !yield(message.Extent{Start: at, End: c.HeaderStart}) {
				return
			}
			at = c.End
		}
		yield(message.Extent{Start: at, End: p.End})
	}
}

// asterisks writes 8-bit bytes as asterisks, which no boundary may have.
type asterisks struct{ w *bufio.Writer }

func (a asterisks) Write(p []byte) (int, error) {
	for _, c := range p {
		if c >= 0x80 {
			c = '*'
		}
		a.w.WriteByte(c)
	}
	return len(p), nil // an error of w comes again, at Flush
}

// encode writes the body of a part in another encoding.
func (m *Message) encode(w *bufio.Writer, p *message.Part, label string) error {
	r, err := p.BinaryReader(m.c)
	if err != nil {
		return err
	}
	var enc io.WriteCloser = &quotedWriter{w: w}
	if label == base64Encoding {
		enc = base64.NewEncoder(base64.StdEncoding, &foldWriter{w: w})
	}
	if _, err := io.CopyBuffer(enc, readerOnly{r}, make([]byte, block)); err != nil {
		return err
	}
	return enc.Close()
}
