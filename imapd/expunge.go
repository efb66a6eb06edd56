package imapd

import (
	"fmt"

	"svc.plus/mailsrvd/maildir"
)

// expunge runs EXPUNGE (RFC 9051 section 6.4.3). The EXPUNGE responses are what
// the mailbox reports at the end of the command.
func (s *session) expunge(c *call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	return s.expungeDeleted(c, s.view.uids)
}

// uidExpunge runs UID EXPUNGE (RFC 9051 section 6.4.9).
func (s *session) uidExpunge(c *call) error {
	s.dec.SP()
	set := s.dec.Set()
	if err := s.dec.End(); err != nil {
		return err
	}
	spans, err := s.view.resolve(set, true)
	if err != nil {
		return err
	}
	return s.expungeDeleted(c, s.view.uidsOf(spans))
}

// expungeDeleted expunges those of uids that are \Deleted. Messages that this
// client has not been told of are never among them.
func (s *session) expungeDeleted(c *call, uids []maildir.UID) error {
	if err := s.mayWrite(); err != nil {
		return err
	}
	_, err := s.view.box.Expunge(s.srv.ctx, uids)
	if s.enabled.qresync {
		c.ok(fmt.Sprintf("HIGHESTMODSEQ %d", s.view.box.HighestModSeq()), "")
	}
	return err
}

// mayWrite refuses changes to a mailbox that was opened by EXAMINE.
func (s *session) mayWrite() error {
	if s.view.readOnly {
		return no("NOPERM", "Mailbox is read-only")
	}
	return nil
}
