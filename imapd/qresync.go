package imapd

import (
	"slices"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/maildir"
)

// QRESYNC (RFC 7162 section 3.2): a client that comes back learns in one round
// trip what has changed and what has vanished.

// qresync is the parameter of SELECT. The optional pairs of sequence numbers and
// UIDs, with which a client helps a server that remembers no expunges, are read
// and not used: ours remembers, or tells all that does not exist.
type qresync struct {
	given    bool
	validity uint32
	modseq   maildir.ModSeq
	known    wire.Set // of UIDs; empty is all
}

// parseQresync parses the value of the parameter.
func (s *session) parseQresync() qresync {
	q := qresync{given: true}
	s.dec.SP()
	s.dec.Expect('(')
	q.validity = s.dec.NZNumber()
	s.dec.SP()
	q.modseq = s.parseModSeq()
	for s.dec.AcceptSP() {
		if s.dec.Peek() != '(' {
			q.known = s.dec.Set()
			continue
		}
		s.dec.Expect('(')
		s.dec.Set()
		s.dec.SP()
		s.dec.Set()
		s.dec.Expect(')')
	}
	s.dec.Expect(')')
	if s.dec.Err() == nil && !s.enabled.qresync {
		s.dec.Failf("QRESYNC is not enabled")
	}
	return q
}

// resync writes what has changed since the client was here. With another
// UIDVALIDITY nothing that it knows is of use.
func (s *session) resync(q qresync, messages []maildir.Message) {
	if q.validity != s.view.box.UIDValidity() {
		return
	}
	known := q.known
	if len(known.Ranges) == 0 {
		known.Ranges = []wire.Range{{First: 1, Last: wire.Star}}
	}
	ranges := s.view.knownRanges(known)
	s.tellVanished(true, s.view.vanishedSince(q.modseq, ranges))
	for _, m := range messages {
		if m.ModSeq > q.modseq && wire.Contains(ranges, uint32(m.UID)) {
			s.tellFlags(m)
		}
	}
}

// knownRanges resolves a set of UIDs that the client may know: all below
// UIDNEXT, whether they exist or not.
func (v *view) knownRanges(set wire.Set) []wire.Range {
	largest := uint32(v.box.UIDNext()) - 1
	ranges := set.Resolve(largest)
	for len(ranges) > 0 && ranges[len(ranges)-1].First > largest {
		ranges = ranges[:len(ranges)-1]
	}
	if n := len(ranges); n > 0 {
		ranges[n-1].Last = min(ranges[n-1].Last, largest)
	}
	return ranges
}

// vanishedSince returns the UIDs in ranges that were expunged after a
// modification sequence. When that is longer ago than we remember, it is all
// that do not exist: the client cannot know them, or has to forget them.
func (v *view) vanishedSince(since maildir.ModSeq, ranges []wire.Range) []wire.Range {
	uids, ok := v.box.ExpungedSince(since)
	if !ok {
		return v.missing(ranges)
	}
	slices.Sort(uids)
	var vanished []wire.Range
	for _, uid := range uids {
		if wire.Contains(ranges, uint32(uid)) && v.seq(uid) == 0 {
			vanished = appendUID(vanished, uint32(uid))
		}
	}
	return vanished
}

// appendUID adds the next UID to ranges.
func appendUID(ranges []wire.Range, uid uint32) []wire.Range {
	if n := len(ranges); n > 0 && ranges[n-1].Last+1 >= uid {
		ranges[n-1].Last = uid
		return ranges
	}
	return append(ranges, wire.Range{First: uid, Last: uid})
}

// missing returns what of ranges is not in the view.
func (v *view) missing(ranges []wire.Range) []wire.Range {
	var out []wire.Range
	for _, r := range ranges {
		next := r.First
		i, _ := slices.BinarySearch(v.uids, maildir.UID(r.First))
		for ; i < len(v.uids) && uint32(v.uids[i]) <= r.Last; i++ {
			if uid := uint32(v.uids[i]); uid > next {
				out = append(out, wire.Range{First: next, Last: uid - 1})
			}
			next = uint32(v.uids[i]) + 1
		}
		if next <= r.Last {
			out = append(out, wire.Range{First: next, Last: r.Last})
		}
	}
	return out
}

// tellVanished writes VANISHED (RFC 7162 section 3.2.10), unless nothing has.
func (s *session) tellVanished(earlier bool, ranges []wire.Range) {
	if len(ranges) == 0 {
		return
	}
	s.enc.Raw("* VANISHED ")
	if earlier {
		s.enc.Raw("(EARLIER) ")
	}
	s.enc.Bytes(wire.AppendRanges(nil, ranges)).CRLF()
}

// tellExpunged writes that messages are gone: by UID for a client that has
// QRESYNC or UIDONLY, else by sequence number, the last one first.
func (s *session) tellExpunged() {
	if !s.enabled.qresync && !s.enabled.uidOnly {
		for _, i := range s.view.takeGone() {
			s.enc.Raw("* ").Number(uint64(i + 1)).Raw(" EXPUNGE").CRLF()
		}
		return
	}
	var vanished []wire.Range
	slices.Sort(s.view.gone)
	for _, uid := range s.view.gone {
		vanished = appendUID(vanished, uint32(uid))
	}
	if s.view.takeGone() != nil {
		s.tellVanished(false, vanished)
	}
}
