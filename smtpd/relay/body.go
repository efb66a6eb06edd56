package relay

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/relay/sevenbit"
)

// body is a message with what the session must know of it before it is sent.
type body struct {
	c *message.Content
	// size is the length on the wire, without dot-stuffing.
	size int64
	// clean says that every line ends in CRLF, so that the bytes go as they are.
	clean bool
	// headerEightBit and textEightBit say that there are bytes above 127 in the
	// header and behind it.
	headerEightBit, textEightBit bool
	// converted is what is sent in the place of c; nil for c itself.
	converted *sevenbit.Message
	// seven is the message for hosts without 8BITMIME, once one was met.
	seven *body
}

// block is the piece in which a message is read and sent.
const block = 32 << 10

// scan reads a message once.
func scan(c *message.Content) (*body, error) {
	b := &body{c: c}
	var counted countWriter
	n := newNormalizer(&counted)
	header := headerScan{}
	buf := make([]byte, block)
	r := c.NewReader()
	for {
		k, err := r.Read(buf)
		chunk := buf[:k]
		if text := header.feed(chunk); !b.textEightBit {
			b.textEightBit = has8bit(text)
		}
		n.Write(chunk)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading a message to send: %w", err)
		}
	}
	n.Close()
	b.size = int64(counted)
	b.clean = !n.changed
	b.headerEightBit = header.eightBit
	return b, nil
}

// sevenBit gives the message as a host without 8BITMIME takes it (RFC 6152 section
// 3): itself, if its text has no 8-bit bytes. The error is sevenbit.ErrStructure,
// or one of reading.
func (b *body) sevenBit() (*body, error) {
	if !b.textEightBit || b.seven != nil {
		return cmp.Or(b.seven, b), nil
	}
	m, err := sevenbit.New(b.c)
	if err != nil {
		return nil, err
	}
	seven := &body{c: b.c, headerEightBit: b.headerEightBit, converted: m}
	var counted countWriter
	if err := seven.send(&counted, func() {}); err != nil {
		return nil, fmt.Errorf("converting a message to send: %w", err)
	}
	seven.size = int64(counted)
	b.seven = seven
	return seven, nil
}

func has8bit(p []byte) bool {
	var or byte
	for _, c := range p {
		or |= c
	}
	return or >= 0x80
}

type countWriter int64

func (w *countWriter) Write(p []byte) (int, error) {
	*w += countWriter(len(p))
	return len(p), nil
}

// headerScan looks for 8-bit bytes up to the first empty line.
type headerScan struct {
	eightBit, done bool
	lineLen        int // of the current line, CR not counted
}

// feed takes the next bytes and returns those that lie behind the header.
func (h *headerScan) feed(p []byte) (text []byte) {
	for i, c := range p {
		switch {
		case h.done:
			return p[i:]
		case c == '\n':
			h.done = h.lineLen == 0
			h.lineLen = 0
		case c != '\r':
			h.lineLen++
			h.eightBit = h.eightBit || c >= 0x80
		}
	}
	return nil
}

// send writes the message to w: as it is when it is clean, else with its line
// ends mended, or converted. renew is called before each piece.
func (b *body) send(to io.Writer, renew func()) error {
	w := renewing{to, renew}
	if b.clean {
		_, err := io.CopyBuffer(w, readerOnly{b.c.NewReader()}, make([]byte, block))
		return err
	}
	n := newNormalizer(w)
	if b.converted != nil {
		if err := b.converted.Send(n); err != nil {
			return err
		}
		return n.Close()
	}
	if _, err := io.CopyBuffer(n, readerOnly{b.c.NewReader()}, make([]byte, block)); err != nil {
		return err
	}
	return n.Close()
}

// readerOnly keeps io.Copy from choosing other piece sizes.
type readerOnly struct{ io.Reader }

// normalizer turns every bare CR and bare LF into CRLF and ends the text with
// one (RFC 5321 section 2.3.8).
type normalizer struct {
	w       io.Writer
	buf     []byte
	cr      bool // the last byte was a CR, not yet written
	empty   bool // nothing yet
	atEnd   bool // the last thing written is a line end
	changed bool
}

func newNormalizer(w io.Writer) *normalizer { return &normalizer{w: w, empty: true} }

var crlf = []byte("\r\n")

func (n *normalizer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n.empty = false
	out := n.buf[:0]
	for rest := p; len(rest) > 0; {
		if n.cr {
			n.cr = false
			out = append(out, crlf...)
			n.atEnd = true
			if rest[0] == '\n' {
				rest = rest[1:]
				continue
			}
			n.changed = true
		}
		i := bytes.IndexAny(rest, "\r\n")
		if i < 0 {
			i = len(rest)
		}
		if i > 0 {
			out = append(out, rest[:i]...)
			n.atEnd = false
		}
		if rest = rest[i:]; len(rest) == 0 {
			break
		}
		if rest[0] == '\r' {
			n.cr = true
		} else {
			out = append(out, crlf...)
			n.atEnd, n.changed = true, true
		}
		rest = rest[1:]
	}
	n.buf = out
	if _, err := n.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is missing of the last line.
func (n *normalizer) Close() error {
	if !n.cr && (n.atEnd || n.empty) {
		return nil
	}
	n.changed = true
	n.cr, n.atEnd = false, true
	_, err := n.w.Write(crlf)
	return err
}

// dotWriter doubles a dot at the beginning of a line (RFC 5321 section 4.5.2).
// It takes text whose lines end in CRLF.
type dotWriter struct {
	w      *bufio.Writer
	inLine bool
}

func (d *dotWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if !d.inLine && rest[0] == '.' {
			d.w.WriteByte('.')
		}
		i := bytes.IndexByte(rest, '\n') + 1
		d.inLine = i == 0
		if i == 0 {
			i = len(rest)
		}
		if _, err := d.w.Write(rest[:i]); err != nil {
			return 0, err
		}
		rest = rest[i:]
	}
	return len(p), nil
}
