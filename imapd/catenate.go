package imapd

import (
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// CATENATE (RFC 4469): a new message is put together from text of the client and
// parts of messages that are here.

// catenate receives the message. Its reader parses as it is read, so that no
// part is held in memory.
func (s *session) catenate(m *newMessage) error {
	s.dec.SP()
	s.dec.Expect('(')
	if err := s.dec.Err(); err != nil {
		return err
	}
	parts := &catenation{s: s, left: s.srv.limits.AppendSize}
	defer parts.close()
	content, err := message.Spool(parts, s.srv.options.SpoolDir, appendMemory, 0)
	switch {
	case parts.err != nil: // has a reply of its own
		err = parts.err
	case s.dec.Err() != nil:
		err = s.dec.Err()
	}
	if err != nil {
		if content != nil {
			content.Close()
		}
		return err
	}
	if content.Size() == 0 {
		content.Close()
		return no("", "Message is empty")
	}
	m.content = content
	return nil
}

// catenation reads the parts of a message one after the other.
type catenation struct {
	s     *session
	left  int64 // of the size that is allowed
	begun bool
	part  io.Reader    // nil between parts
	end   func() error // of the part
	err   error
}

func (c *catenation) Read(p []byte) (int, error) {
	for {
		if c.part == nil {
			if err := c.next(); err != nil {
				return 0, err
			}
		}
		n, err := c.part.Read(p)
		if c.left -= int64(n); c.left < 0 {
			return 0, c.fail(no(imap.ResponseCodeTooBig, "Message is too big"))
		}
		if err == io.EOF {
			err = c.close()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next parses the next part; io.EOF is the end of the list.
func (c *catenation) next() error {
	dec := c.s.dec
	if c.begun && !dec.AcceptSP() {
		if dec.Expect(')'); dec.Err() != nil {
			return dec.Err()
		}
		return io.EOF
	}
	c.begun = true
	switch name := dec.Word(); {
	case dec.Err() != nil:
	case name == "TEXT":
		dec.SP()
		return c.text()
	case name == "URL":
		dec.SP()
		return c.url(dec.AString())
	default:
		dec.Failf("Expected TEXT or URL")
	}
	return dec.Err()
}

// text opens a literal of the client.
func (c *catenation) text() error {
	lit := c.s.dec.Literal()
	if err := c.s.dec.Err(); err != nil {
		return err
	}
	if lit.Size > c.left {
		return c.fail(no(imap.ResponseCodeTooBig, "Message is too big"))
	}
	r, err := c.s.dec.OpenLiteral()
	if err != nil {
		return err
	}
	c.part, c.end = nulReplacer{r}, c.s.dec.CloseLiteral
	return nil
}

// url opens a part of a message that is here.
func (c *catenation) url(text string) error {
	if err := c.s.dec.Err(); err != nil {
		return err
	}
	r, end, err := c.s.openURL(text)
	if err != nil {
		return c.fail(no(imap.ResponseCode("BADURL "+quoteURL(text)), "No such part"))
	}
	c.part, c.end = r, end
	return nil
}

// quoteURL writes a URL into a response code.
func quoteURL(text string) string {
	if len(text) > 1000 || strings.ContainsAny(text, "\"\\\r\n\x00") {
		return `""`
	}
	return `"` + text + `"`
}

func (c *catenation) fail(err error) error {
	c.err = err
	return err
}

// close ends the part at hand.
func (c *catenation) close() error {
	if c.part == nil {
		return nil
	}
	c.part = nil
	return c.end()
}

// errBadURL means that a URL names nothing here.
var errBadURL = errors.New("bad URL")

// openURL opens what a URL of our own mailboxes names (RFC 5092 section 7): in
// its absolute-path form, or relative to the selected mailbox.
func (s *session) openURL(text string) (io.Reader, func() error, error) {
	u, err := parseURL(text)
	if err != nil {
		return nil, nil, err
	}
	box, closeBox, err := s.mailboxOfURL(u)
	if err != nil {
		return nil, nil, err
	}
	defer closeBox()
	if u.validity != 0 && u.validity != box.UIDValidity() {
		return nil, nil, errBadURL
	}
	info, err := box.Info(s.srv.ctx, u.uid)
	if err != nil {
		return nil, nil, err
	}
	part, extent, ok := u.section.find(info.Part)
	if !ok {
		return nil, nil, errBadURL
	}
	file, err := box.OpenMessage(s.srv.ctx, u.uid)
	if err != nil {
		return nil, nil, err
	}
	r, err := u.section.read(file, part, extent)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return r, file.Close, nil
}

// mailboxOfURL opens the mailbox of a URL, and returns how to close it.
func (s *session) mailboxOfURL(u messageURL) (*maildir.Mailbox, func(), error) {
	if u.mailbox == "" {
		if s.view == nil {
			return nil, nil, errBadURL
		}
		return s.view.box, func() {}, nil
	}
	name, err := wire.DecodeMailbox(u.mailbox, true, s.store.Separator())
	if err != nil {
		return nil, nil, err
	}
	box, err := s.store.Open(s.srv.ctx, name)
	if err != nil {
		return nil, nil, err
	}
	return box, box.Close, nil
}
