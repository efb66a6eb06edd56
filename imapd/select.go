package imapd

import (
	"fmt"
	"slices"
	"strings"

	"svc.plus/mailsrvd/maildir"
)

// selectMailbox runs SELECT (RFC 9051 section 6.3.2).
func (s *session) selectMailbox(c *call) error { return s.open(c, false) }

// examine runs EXAMINE (RFC 9051 section 6.3.3).
func (s *session) examine(c *call) error { return s.open(c, true) }

func (s *session) open(c *call, readOnly bool) error {
	s.dec.SP()
	name := s.mailbox()
	q := s.parseSelectParameters()
	if err := s.endWith(name); err != nil {
		return err
	}
	// The old mailbox is closed even if the new one cannot be opened.
	if s.view != nil {
		s.deselect()
		s.untaggedOK("CLOSED", "Previous mailbox closed.")
	}
	box, err := s.store.Open(s.srv.ctx, name.name)
	if err != nil {
		return err
	}
	s.view = newView(box, readOnly, func() { s.wake.fire(wakeChange) })
	s.state = selected
	if !readOnly {
		if err := s.view.watcher.ClaimRecent(s.srv.ctx); err != nil {
			s.deselect()
			return err
		}
	}
	highest := box.HighestModSeq() // before load, so that nothing newer is missed
	messages := s.view.load()
	s.view.known = max(s.view.known, highest)
	s.describe(messages, highest)
	if q.given {
		s.resync(q, messages)
	}
	if readOnly {
		c.ok("READ-ONLY", "")
	} else {
		c.ok("READ-WRITE", "")
	}
	return nil
}

// parseSelectParameters parses the parameters of SELECT (RFC 4466 section 2.2).
func (s *session) parseSelectParameters() (q qresync) {
	if !s.dec.AcceptSP() {
		return q
	}
	s.dec.NonEmptyList(func() {
		name := s.dec.Word()
		switch {
		case name == "CONDSTORE" && s.caps.on("CONDSTORE"):
			s.useCondstore()
		case name == "QRESYNC" && s.caps.on("QRESYNC"):
			q = s.parseQresync()
		default:
			s.dec.Failf("Unknown parameter %s", name)
		}
	})
	return q
}

// describe writes the untagged responses of SELECT (RFC 9051 section 6.3.2, RFC
// 3501 section 6.3.1).
func (s *session) describe(messages []maildir.Message, highest maildir.ModSeq) {
	box := s.view.box
	s.writeFlags()
	s.exists()
	unseen := slices.IndexFunc(messages, func(m maildir.Message) bool { return m.Flags&maildir.Seen == 0 })
	if unseen >= 0 && !s.enabled.rev2 {
		s.enc.Raw("* OK [UNSEEN ").Number(uint64(unseen + 1)).Raw("] First unseen.").CRLF()
	}
	s.enc.Raw("* OK [UIDVALIDITY ").Number(uint64(box.UIDValidity())).Raw("] UIDs valid").CRLF()
	s.enc.Raw("* OK [UIDNEXT ").Number(uint64(box.UIDNext())).Raw("] Predicted next UID").CRLF()
	s.tellHighest(highest)
	if s.caps.on("OBJECTID") {
		s.untaggedOK("MAILBOXID ("+objectID(box.GUID())+")", "Ok")
	}
	if s.enabled.rev2 {
		s.enc.Raw("* LIST () ").String(s.separator()).SP().Mailbox(box.Name()).CRLF()
	}
}

// writeFlags writes FLAGS and PERMANENTFLAGS.
func (s *session) writeFlags() {
	v := s.view
	names := v.flags.names(^maildir.Flags(0), false)
	all := strings.Join(names, " ")
	s.enc.Raw("* FLAGS (").Raw(all).Raw(")").CRLF()
	if v.readOnly {
		s.untaggedOK("PERMANENTFLAGS ()", "Read-only mailbox.")
		return
	}
	if len(v.flags.keywords) < maxKeywords {
		all += ` \*`
	}
	s.untaggedOK("PERMANENTFLAGS ("+all+")", "Flags permitted.")
}

// maxKeywords is how many keywords a mailbox can have: the letters a-z of
// Maildir's file names.
const maxKeywords = 26

// deselect drops the selected mailbox, if there is one.
func (s *session) deselect() {
	if s.view == nil {
		return
	}
	s.view.close()
	s.view = nil
	s.wake.take(wakeChange)
	if s.state == selected {
		s.state = authenticated
	}
}

// closeMailbox runs CLOSE (RFC 9051 section 6.4.1): what is \Deleted is
// expunged, without a word, unless the mailbox is read-only.
func (s *session) closeMailbox(c *call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	defer s.deselect()
	if s.view.readOnly {
		return nil
	}
	_, err := s.view.box.Expunge(s.srv.ctx, s.view.uids)
	if s.enabled.qresync {
		c.ok(fmt.Sprintf("HIGHESTMODSEQ %d", s.view.box.HighestModSeq()), "")
	}
	return err
}

// unselect runs UNSELECT (RFC 9051 section 6.4.2).
func (s *session) unselect(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.deselect()
	return nil
}

// check runs CHECK (RFC 3501 section 6.4.1): everything is durable always.
func (s *session) check(*call) error { return s.dec.End() }
