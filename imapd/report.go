package imapd

import "svc.plus/mailsrvd/maildir"

// report tells the client, at the end of a command, what has happened in the
// selected mailbox (RFC 9051 section 7). What its flags do not allow now waits
// for a later command.
func (s *session) report(c *call) error {
	if s.view == nil || c.flags&quiet != 0 {
		return nil
	}
	if c.flags&looks != 0 {
		if err := s.view.box.Sync(s.srv.ctx); err != nil {
			s.logger().Warn("looking for changes failed", "mailbox", s.view.box.Name(), "err", err)
		}
	}
	return s.tell(c.flags&usesSeq == 0)
}

// tell writes all news of the mailbox; expunges only if they are allowed.
func (s *session) tell(expunges bool) error {
	v := s.view
	v.collect()
	if v.removed {
		return &closeError{code: "NONEXISTENT", text: "The selected mailbox was removed"}
	}
	if expunges {
		s.tellExpunged()
	}
	if v.takeArrived() {
		s.exists()
	}
	for _, m := range v.takeChanged() {
		s.tellFlags(m)
	}
	return s.enc.Err()
}

// exists writes EXISTS, and for the older protocol RECENT.
func (s *session) exists() {
	s.enc.Raw("* ").Number(uint64(len(s.view.uids))).Raw(" EXISTS").CRLF()
	if !s.enabled.rev2 {
		s.enc.Raw("* ").Number(uint64(len(s.view.recent))).Raw(" RECENT").CRLF()
	}
}

// tellFlags writes a FETCH response that nobody asked for. It has the UID: a
// client that works by UIDs need not translate.
func (s *session) tellFlags(m maildir.Message) {
	s.tellKeywords()
	s.startFetch(s.view.seq(m.UID), m.UID)
	s.enc.Raw("UID ").Number(uint64(m.UID)).Raw(" FLAGS ").Raw(s.flagsOf(m))
	s.endFetch(m)
}

// endFetch ends a FETCH response of flags, with the MODSEQ if the client knows
// of it.
func (s *session) endFetch(m maildir.Message) {
	if s.enabled.condstore {
		s.enc.Raw(" MODSEQ (").Number(uint64(m.ModSeq)).Byte(')')
	}
	s.enc.Byte(')').CRLF()
}

// tellKeywords writes FLAGS and PERMANENTFLAGS again when the mailbox has got a
// keyword that the client does not know.
func (s *session) tellKeywords() {
	if s.view.flags.refresh() {
		s.writeFlags()
	}
}

// flagsOf returns the flags of a message as a parenthesised list.
func (s *session) flagsOf(m maildir.Message) string {
	return s.view.flags.list(m.Flags, m.Recent && !s.enabled.rev2)
}
