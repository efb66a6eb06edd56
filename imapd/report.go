package imapd

import "svc.plus/mailsrvd/maildir"

// report tells the client, at the end of a command, what has happened in the
// selected mailbox (RFC 9051 section 7). What its flags do not allow now waits
// for a later command.
func (s *session) report(c *call) error {
	if c.flags&quiet != 0 {
		return nil
	}
	s.tellNotified()
	if s.view == nil {
		return nil
	}
	if c.flags&looks != 0 {
		if err := s.view.box.Sync(s.srv.ctx); err != nil {
			s.logger().Warn("looking for changes failed", "mailbox", s.view.box.Name(), "err", err)
		}
	}
	if c.flags&usesSeq != 0 {
		return s.tell(allNews &^ newsExpunged)
	}
	return s.tell(allNews)
}

// news is what may be told of the selected mailbox; several may be joined.
type news uint8

const (
	newsArrived news = 1 << iota
	newsExpunged
	newsFlags

	allNews = newsArrived | newsExpunged | newsFlags
)

// tell writes the news of the selected mailbox; what is not told now waits.
func (s *session) tell(what news) error {
	v := s.view
	v.collect()
	if v.removed {
		return &closeError{code: "NONEXISTENT", text: "The selected mailbox was removed"}
	}
	if what&newsExpunged != 0 {
		s.leaveContexts(v.gone)
		s.tellExpunged()
	}
	if before := len(v.uids); what&newsArrived != 0 && v.takeArrived() {
		s.exists()
		if err := s.fetchNew(before); err != nil {
			return err
		}
		s.checkContexts(v.uids[before:])
	}
	if what&newsFlags != 0 {
		touched := v.takeTouched()
		for _, m := range v.takeChanged() {
			s.tellFlags(m)
		}
		s.checkContexts(touched)
	}
	return s.enc.Err()
}

// fetchNew writes what NOTIFY has asked for of new messages, those from index lo
// on.
func (s *session) fetchNew(lo int) error {
	if s.note == nil || s.note.selected == nil || s.note.selected.fetch == nil {
		return nil
	}
	f := &fetcher{s: s, c: &call{command: &command{}, tag: "*"}, req: *s.note.selected.fetch}
	return f.run([]span{{lo, len(s.view.uids)}})
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
