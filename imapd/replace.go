package imapd

import (
	"fmt"

	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/maildir"
)

// replace runs REPLACE and UID REPLACE (RFC 8508): a new message takes the place
// of an old one, which goes only when the new one is durable.
func (s *session) replace(c *call) error {
	s.dec.SP()
	number := s.dec.Set()
	s.dec.SP()
	name := s.mailbox()
	if err := s.dec.Err(); err != nil {
		return err
	}
	old, box, err := s.replaceWhat(c, number, name)
	if err != nil {
		return err
	}
	defer box.Close()
	s.dec.SP()
	m, err := s.receive()
	if m.content != nil {
		defer m.content.Close()
	}
	if err != nil {
		return err
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	uid, err := box.Append(s.srv.ctx, m.content, m.delivery)
	if err != nil {
		return err
	}
	s.srv.metrics.appended.Inc()
	s.untaggedOK(fmt.Sprintf("APPENDUID %d %d", box.UIDValidity(), uid), "Replacement stored.")
	return s.remove(s.view.box, old)
}

// replaceWhat finds the message to replace and the mailbox for the new one,
// before the new one is asked for.
func (s *session) replaceWhat(c *call, number wire.Set, name mailboxName) ([]maildir.UID, *maildir.Mailbox, error) {
	if name.err != nil {
		return nil, nil, no(imap.ResponseCodeTryCreate, "Mailbox name is not valid")
	}
	if err := s.mayWrite(); err != nil {
		return nil, nil, err
	}
	spans, err := s.view.resolve(number, c.uid)
	if err != nil {
		return nil, nil, err
	}
	if count(spans) != 1 {
		return nil, nil, no(imap.ResponseCodeNonExistent, "There must be one message to replace")
	}
	box, err := s.target(name.name)
	return s.view.uidsOf(spans), box, err
}

// remove expunges messages, whatever their flags.
func (s *session) remove(box *maildir.Mailbox, uids []maildir.UID) error {
	_, _, err := box.StoreFlags(s.srv.ctx, uids, maildir.AddFlags, maildir.Deleted, nil, maildir.StoreOptions{})
	if err != nil {
		return err
	}
	_, err = box.Expunge(s.srv.ctx, uids)
	return err
}
