package imapd

import (
	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/maildir"
)

// CONDSTORE (RFC 7162 section 3.1): every message and every mailbox has a
// modification sequence, by which clients ask for what has changed. Commands
// that show that the client knows of it switch it on.

// useCondstore switches CONDSTORE on; from now on every FETCH response of ours
// has the MODSEQ.
func (s *session) useCondstore() {
	if s.caps.on("CONDSTORE") {
		s.enabled.condstore = true
	}
}

// tellHighest writes the HIGHESTMODSEQ of the selected mailbox.
func (s *session) tellHighest(highest maildir.ModSeq) {
	if s.caps.on("CONDSTORE") {
		s.enc.Raw("* OK [HIGHESTMODSEQ ").Number(uint64(highest)).Raw("] Highest").CRLF()
	}
}

// modseq writes the data item MODSEQ.
func (f *fetcher) modseq(_ *fetchItem, m *fetched) error {
	f.s.enc.Byte('(').Number(uint64(m.ModSeq)).Byte(')')
	return nil
}

// parseModSeq insists on a modification sequence.
func (s *session) parseModSeq() maildir.ModSeq { return maildir.ModSeq(s.dec.Number64()) }

// parseChangedSince parses the value of CHANGEDSINCE, which implies MODSEQ (RFC
// 7162 section 3.1.4.1).
func (s *session) parseChangedSince(req *fetchRequest) {
	s.dec.SP()
	req.changedSince, req.conditional = s.parseModSeq(), true
	req.add(fetchItem{name: "MODSEQ", write: (*fetcher).modseq})
}

// parseUnchangedSince parses the modifier of STORE if it is there.
func (s *session) parseUnchangedSince(req *storeRequest) {
	if s.dec.Peek() != '(' {
		return
	}
	s.dec.NonEmptyList(func() {
		if name := s.dec.Word(); name != "UNCHANGEDSINCE" || !s.caps.on("CONDSTORE") {
			s.dec.Failf("Unknown modifier %s", name)
		}
		s.dec.SP()
		since := s.parseModSeq()
		req.unchangedSince = &since
	})
	s.dec.SP()
	if s.dec.Err() == nil {
		s.useCondstore()
	}
}

// modified is the response code for the messages that a conditional STORE has
// left alone (RFC 7162 section 3.1.3), in the numbers that the command used.
func (s *session) modified(c *call, uids []maildir.UID) string {
	if len(uids) == 0 {
		return ""
	}
	if c.uid {
		return "MODIFIED " + string(wire.AppendNumbers(nil, uids))
	}
	numbers := make([]uint32, len(uids))
	for i, uid := range uids {
		numbers[i] = s.view.seq(uid)
	}
	return "MODIFIED " + string(wire.AppendNumbers(nil, numbers))
}

// modseqKey is the search key MODSEQ (RFC 7162 section 3.1.5). An entry name and
// type may come before the value; we keep one sequence for all flags.
func (p *searchParser) modseqKey() predicate {
	dec := p.s.dec
	dec.SP()
	if dec.Peek() == '"' {
		_ = dec.String()
		dec.SP()
		_ = dec.Word()
		dec.SP()
	}
	since := p.s.parseModSeq()
	p.modseq = true
	p.s.useCondstore()
	return predicate{cost: costMemory, match: func(c *candidate) (bool, error) { return c.ModSeq >= since, nil }}
}

// highestOf is the highest modification sequence of the messages.
func (v *view) highestOf(uids []maildir.UID) (highest maildir.ModSeq) {
	for _, m := range v.box.Lookup(uids, nil) {
		highest = max(highest, m.ModSeq)
	}
	return highest
}
