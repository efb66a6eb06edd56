package imapd

import (
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/maildir"
)

// copyMessages runs COPY and UID COPY (RFC 9051 section 6.4.7).
func (s *session) copyMessages(c *call) error {
	code, err := s.transfer(c, (*maildir.Mailbox).Copy)
	if err != nil {
		return err
	}
	c.ok(code, "")
	return nil
}

// moveMessages runs MOVE and UID MOVE (RFC 9051 section 6.4.8). COPYUID comes
// before the EXPUNGE responses, which are reported at the end of the command.
func (s *session) moveMessages(c *call) error {
	code, err := s.transfer(c, func(box *maildir.Mailbox, ctx context.Context, uids []maildir.UID, to *maildir.Mailbox) (from, into []maildir.UID, err error) {
		if err := s.mayWrite(); err != nil {
			return nil, nil, err
		}
		return box.Move(ctx, uids, to)
	})
	if err != nil {
		return err
	}
	if code != "" {
		s.untaggedOK(code, "Moved UIDs.")
	}
	return nil
}

// transferFunc is Mailbox.Copy or Mailbox.Move.
type transferFunc func(*maildir.Mailbox, context.Context, []maildir.UID, *maildir.Mailbox) (from, into []maildir.UID, err error)

// transfer parses and runs COPY or MOVE, and returns the COPYUID code; none, if
// there was nothing to do.
func (s *session) transfer(c *call, run transferFunc) (code string, err error) {
	s.dec.SP()
	set := s.dec.Set()
	s.dec.SP()
	name := s.mailbox()
	if err := s.endWith(name); err != nil {
		return "", err
	}
	spans, err := s.view.resolve(set, c.uid)
	if err != nil {
		return "", err
	}
	to, err := s.target(name.name)
	if err != nil {
		return "", err
	}
	defer to.Close()
	if len(spans) == 0 {
		return "", nil
	}
	from, into, err := run(s.view.box, s.srv.ctx, s.view.uidsOf(spans), to)
	if err != nil || len(from) == 0 {
		return "", err
	}
	return copyUID(to.UIDValidity(), from, into), nil
}

// target opens the mailbox that messages are to be put into.
func (s *session) target(name string) (*maildir.Mailbox, error) {
	box, err := s.store.Open(s.srv.ctx, name)
	if errors.Is(err, maildir.ErrNotFound) {
		return nil, no(imap.ResponseCodeTryCreate, "No such mailbox")
	}
	return box, err
}

// copyUID is the response code of RFC 9051 section 7.1.
func copyUID(validity uint32, from, into []maildir.UID) string {
	return fmt.Sprintf("COPYUID %d %s %s", validity, wire.AppendNumbers(nil, from), wire.AppendNumbers(nil, into))
}
