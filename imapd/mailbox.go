package imapd

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/maildir"
)

// mailbox insists on a mailbox name and returns it as UTF-8. Parsing goes on
// with a name that is not valid: checkName tells at the end of the command.
func (s *session) mailbox() mailboxName {
	raw := s.dec.AString()
	name, err := wire.DecodeMailbox(raw, s.enc.UTF8(), s.store.Separator())
	return mailboxName{name, err}
}

// mailboxName is a name as it was given, and what is wrong with it.
type mailboxName struct {
	name string
	err  error
}

// endWith ends the command and checks the names in it.
func (s *session) endWith(names ...mailboxName) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	for _, n := range names {
		if n.err != nil {
			return no(imap.ResponseCodeCannot, "Mailbox name is not valid")
		}
	}
	return nil
}

// create runs CREATE (RFC 9051 section 6.3.4).
func (s *session) create(c *call) error {
	s.dec.SP()
	box := s.mailbox()
	var use []string
	if s.dec.AcceptSP() {
		use = s.parseCreate()
	}
	if err := s.endWith(box); err != nil {
		return err
	}
	// A name that ends in the separator says that children will come; there is
	// nothing to prepare.
	name := strings.TrimSuffix(box.name, s.separator())
	if err := s.checkUses(name, use); err != nil {
		return err
	}
	if err := s.store.Create(s.srv.ctx, name); err != nil {
		return err
	}
	if len(use) > 0 {
		if err := s.giveUses(name, use); err != nil {
			return errors.Join(err, s.store.Delete(s.srv.ctx, name))
		}
	}
	if s.caps.on("OBJECTID") {
		s.createdID(c, name)
	}
	return nil
}

// parseCreate parses the parameters of CREATE (RFC 4466 section 2.3, RFC 6154)
// and returns the special uses.
func (s *session) parseCreate() (use []string) {
	s.dec.NonEmptyList(func() {
		if s.dec.Word() != "USE" || !s.caps.on("CREATE-SPECIAL-USE") {
			s.dec.Failf("Unknown parameter of CREATE")
			return
		}
		s.dec.SP()
		use = append(use, s.dec.FlagList()...)
	})
	return use
}

// createdID puts the identity of a new mailbox into the reply (RFC 8474 section
// 4.1).
func (s *session) createdID(c *call, name string) {
	if box, err := s.store.Open(s.srv.ctx, name); err == nil {
		c.ok("MAILBOXID ("+objectID(box.GUID())+")", "")
		box.Close()
	}
}

// delete runs DELETE (RFC 9051 section 6.3.5).
func (s *session) delete(*call) error {
	s.dec.SP()
	box := s.mailbox()
	if err := s.endWith(box); err != nil {
		return err
	}
	own := s.view != nil && s.view.box.Name() == box.name
	if err := s.store.Delete(s.srv.ctx, box.name); err != nil {
		return err
	}
	if own {
		s.deselect()
		s.untaggedOK("CLOSED", "The selected mailbox was deleted.")
	}
	return nil
}

// rename runs RENAME (RFC 9051 section 6.3.6).
func (s *session) rename(*call) error {
	s.dec.SP()
	from := s.mailbox()
	s.dec.SP()
	to := s.mailbox()
	if err := s.endWith(from, to); err != nil {
		return err
	}
	return s.store.Rename(s.srv.ctx, from.name, to.name)
}

// subscribe runs SUBSCRIBE (RFC 9051 section 6.3.7). The mailbox need not
// exist: what is deleted and made anew shall stay subscribed.
func (s *session) subscribe(*call) error {
	s.dec.SP()
	box := s.mailbox()
	if err := s.endWith(box); err != nil {
		return err
	}
	return s.store.Subscribe(s.srv.ctx, box.name)
}

// unsubscribe runs UNSUBSCRIBE (RFC 9051 section 6.3.8). A name that is not
// subscribed is fine: clients say it after DELETE to be sure.
func (s *session) unsubscribe(*call) error {
	s.dec.SP()
	box := s.mailbox()
	if err := s.endWith(box); err != nil {
		return err
	}
	if err := s.store.Unsubscribe(s.srv.ctx, box.name); !errors.Is(err, maildir.ErrNotFound) {
		return err
	}
	return nil
}
