package imapd

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
)

// appendMemory is up to which size a message is kept in memory until it is
// stored.
const appendMemory = 64 << 10

// newMessage is a message that APPEND has received.
type newMessage struct {
	content  *message.Content
	delivery maildir.Delivery
}

// append runs APPEND (RFC 9051 section 6.3.12). The message is spooled first:
// the network is slow, and nobody may act as the user while waiting for it. A
// message that would be refused is not asked for.
func (s *session) append(c *call) error {
	s.dec.SP()
	name := s.mailbox()
	if err := s.dec.Err(); err != nil {
		return err
	}
	if name.err != nil {
		return no(imap.ResponseCodeTryCreate, "Mailbox name is not valid")
	}
	box, err := s.target(name.name)
	if err != nil {
		return err
	}
	defer box.Close()
	messages, err := s.receiveAll()
	defer func() {
		for _, m := range messages {
			m.content.Close()
		}
	}()
	if err != nil {
		return err
	}
	uids, err := s.storeAll(box, messages)
	if err != nil {
		return err
	}
	s.srv.metrics.appended.Add(float64(len(uids)))
	c.ok(fmt.Sprintf("APPENDUID %d %s", box.UIDValidity(), wire.AppendNumbers(nil, uids)), "")
	return nil
}

// maxAppend bounds how many messages one APPEND may have, each of which may hold
// a spool file.
const maxAppend = 100

// receiveAll receives one message, or several (MULTIAPPEND, RFC 3502), to the
// end of the command.
func (s *session) receiveAll() (messages []newMessage, err error) {
	s.dec.SP()
	for {
		m, err := s.receive()
		if m.content != nil {
			messages = append(messages, m)
		}
		if err != nil {
			return messages, err
		}
		if !s.caps.on("MULTIAPPEND") || !s.dec.AcceptSP() {
			return messages, s.dec.End()
		}
		if len(messages) == maxAppend {
			return messages, no(imap.ResponseCodeLimit, "Too many messages in one command")
		}
	}
}

// storeAll stores all messages or, if one fails, none.
func (s *session) storeAll(box *maildir.Mailbox, messages []newMessage) (uids []maildir.UID, err error) {
	for _, m := range messages {
		uid, err := box.Append(s.srv.ctx, m.content, m.delivery)
		if err != nil {
			s.takeBack(box, uids)
			return nil, err
		}
		uids = append(uids, uid)
	}
	return uids, nil
}

// takeBack removes the messages that were stored before one failed.
func (s *session) takeBack(box *maildir.Mailbox, uids []maildir.UID) {
	if len(uids) == 0 {
		return
	}
	_, _, err := box.StoreFlags(s.srv.ctx, uids, maildir.AddFlags, maildir.Deleted, nil, maildir.StoreOptions{})
	if err == nil {
		_, err = box.Expunge(s.srv.ctx, uids)
	}
	if err != nil {
		s.logger().Error("taking back appended messages failed", "mailbox", box.Name(), "err", err)
	}
}

// receive parses flags, date and literal of a message, and reads it.
func (s *session) receive() (newMessage, error) {
	var m newMessage
	if s.dec.Peek() == '(' {
		names := s.dec.FlagList()
		s.dec.SP()
		if s.dec.Err() == nil {
			var err error
			if m.delivery.Flags, m.delivery.Keywords, err = parseFlags(names); err != nil {
				return m, err
			}
		}
	}
	m.delivery.Date = time.Now()
	if s.dec.Peek() == '"' {
		m.delivery.Date = s.dec.DateTime()
		s.dec.SP()
	}
	utf8 := s.enabled.utf8 && s.dec.AcceptWord("UTF8") // RFC 6855 section 4
	if utf8 {
		s.dec.SP()
		s.dec.Expect('(')
	}
	var err error
	if s.caps.on("CATENATE") && s.dec.AcceptWord("CATENATE") {
		err = s.catenate(&m)
	} else {
		err = s.readMessage(&m)
	}
	if utf8 && err == nil {
		s.dec.Expect(')')
	}
	return m, err
}

// readMessage reads the literal.
func (s *session) readMessage(m *newMessage) error {
	lit := s.dec.Literal()
	if err := s.dec.Err(); err != nil {
		return err
	}
	if err := s.acceptable(lit); err != nil {
		return err
	}
	r, err := s.dec.OpenLiteral()
	if err != nil {
		return err
	}
	if !lit.Binary {
		r = nulReplacer{r}
	}
	m.content, err = message.Spool(r, s.srv.options.SpoolDir, appendMemory, 0)
	if s.dec.Err() != nil {
		return s.dec.Err()
	}
	if err != nil {
		return fmt.Errorf("spooling a message: %w", err)
	}
	if err := s.dec.CloseLiteral(); err != nil {
		return err
	}
	return nil
}

// acceptable refuses a message before it is read.
func (s *session) acceptable(lit wire.Literal) error {
	switch {
	case lit.Size > s.srv.limits.AppendSize:
		return no(imap.ResponseCodeTooBig, "Message is too big")
	case lit.Size == 0:
		return no("", "Message is empty")
	case lit.Binary && !s.caps.on("BINARY"):
		return bad("Binary literals are not supported")
	}
	return nil
}

// nulReplacer replaces NULs, which no literal may hold, by 0x80 as Dovecot does:
// a message is better kept with a scar than refused.
type nulReplacer struct{ r io.Reader }

func (n nulReplacer) Read(p []byte) (int, error) {
	got, err := n.r.Read(p)
	for rest := p[:got]; ; {
		i := bytes.IndexByte(rest, 0)
		if i < 0 {
			return got, err
		}
		rest[i] = 0x80
		rest = rest[i+1:]
	}
}
