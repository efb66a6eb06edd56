package imapd

import (
	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/maildir"
)

// quotaRoot is the one quota root of a user: all his mailboxes count together.
const quotaRoot = "User quota"

// getQuota runs GETQUOTA (RFC 9208 section 4.1.1).
func (s *session) getQuota(*call) error {
	s.dec.SP()
	root := s.dec.AString()
	if err := s.dec.End(); err != nil {
		return err
	}
	used, limits, err := s.store.Usage(s.srv.ctx)
	if err != nil {
		return err
	}
	if root != quotaRoot || !limits.Limited() {
		return no(imap.ResponseCodeNonExistent, "No such quota root")
	}
	s.writeQuota(used, limits)
	return nil
}

// getQuotaRoot runs GETQUOTAROOT (RFC 9208 section 4.1.2). The mailbox need not
// exist: a client may ask before it makes one.
func (s *session) getQuotaRoot(*call) error {
	s.dec.SP()
	name := s.mailbox()
	if err := s.endWith(name); err != nil {
		return err
	}
	used, limits, err := s.store.Usage(s.srv.ctx)
	if err != nil {
		return err
	}
	s.enc.Raw("* QUOTAROOT ").Mailbox(name.name)
	if !limits.Limited() {
		s.enc.CRLF()
		return nil
	}
	s.enc.SP().String(quotaRoot).CRLF()
	s.writeQuota(used, limits)
	return nil
}

// writeQuota writes the QUOTA response (RFC 9208 section 4.2.1): storage in units
// of 1,024 octets, a part of one counted whole.
func (s *session) writeQuota(used maildir.Usage, limits maildir.Limits) {
	s.enc.Raw("* QUOTA ").String(quotaRoot).Raw(" (")
	resource := func(name string, used, limit int64) {
		s.enc.Raw(name).SP().Number(uint64(used)).SP().Number(uint64(limit))
	}
	storage := limits.Storage > 0 && s.caps.on("QUOTA=RES-STORAGE")
	if storage {
		resource("STORAGE", (used.Storage+1023)/1024, limits.Storage/1024)
	}
	if limits.Messages > 0 && s.caps.on("QUOTA=RES-MESSAGE") {
		if storage {
			s.enc.SP()
		}
		resource("MESSAGE", used.Messages, limits.Messages)
	}
	s.enc.Raw(")").CRLF()
}

// setQuota refuses SETQUOTA (RFC 9208 section 4.1.3): the administrator sets
// quotas in the configuration.
func (s *session) setQuota(*call) error {
	s.dec.SP()
	_ = s.dec.AString()
	s.dec.SP()
	s.dec.List(func() {
		_ = s.dec.Word()
		s.dec.SP()
		_ = s.dec.Number64()
	})
	if err := s.dec.End(); err != nil {
		return err
	}
	return no(imap.ResponseCodeNoPerm, "Quotas are set by the administrator")
}

// ownRights are the rights of RFC 4314 section 2.1 that everybody has on his own
// mailboxes: all but that to give them to others.
const ownRights = "lrswipkxte"

// myRights runs MYRIGHTS (RFC 4314 section 3.5).
func (s *session) myRights(*call) error {
	s.dec.SP()
	name := s.mailbox()
	if err := s.endWith(name); err != nil {
		return err
	}
	box, err := s.store.Open(s.srv.ctx, name.name)
	if err != nil {
		return err
	}
	box.Close()
	s.writeRights(name.name)
	return nil
}

// writeRights writes the MYRIGHTS response.
func (s *session) writeRights(name string) {
	s.enc.Raw("* MYRIGHTS ").Mailbox(name).SP().Raw(ownRights).CRLF()
}
