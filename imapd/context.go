package imapd

import (
	"slices"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/maildir"
)

// CONTEXT=SEARCH and CONTEXT=SORT (RFC 5267): a result that RETURN (UPDATE) keeps
// alive. Whenever news of the mailbox is told, so is what it changes in the
// result. A context lives until CANCELUPDATE, or as long as its mailbox is
// selected.

const (
	// maxContexts bounds those of a session.
	maxContexts = 10
	// maxContextSize bounds the messages in one.
	maxContextSize = 200_000
)

// searchContext is one result that is kept alive.
type searchContext struct {
	tag     string
	uid     bool // it is told in UIDs
	key     predicate
	sort    []sortKey       // nil: in the order of the mailbox
	members []contextMember // in the order of the result
}

// contextMember is a message in a result, with the values that it is sorted by.
type contextMember struct {
	uid    maildir.UID
	values []sortValue
}

// compare orders members as the result is.
func (x *searchContext) compare(a, b contextMember) int {
	for i, k := range x.sort {
		if d := a.values[i].compare(b.values[i]); d != 0 {
			if k.reverse {
				return -d
			}
			return d
		}
	}
	return int(int64(a.uid) - int64(b.uid))
}

// keepContext keeps a result alive, or says that it cannot be.
func (s *session) keepContext(c *call, x *searchContext, p *searchParser) {
	v := s.view
	v.contexts = slices.DeleteFunc(v.contexts, func(old *searchContext) bool { return old.tag == c.tag })
	why := ""
	switch {
	case p.fleeting:
		why = "A key of this search changes its meaning by itself"
	case x.key.cost >= costText:
		why = "A search in texts is not kept alive"
	case len(v.contexts) >= maxContexts, len(x.members) > maxContextSize:
		why = "Too many contexts"
	}
	if why != "" {
		s.status("*", "NO", `NOUPDATE "`+c.tag+`"`, why)
		return
	}
	v.contexts = append(v.contexts, x)
}

// cancelUpdate runs CANCELUPDATE (RFC 5267 section 4.3.4).
func (s *session) cancelUpdate(*call) error {
	s.dec.SP()
	tags := []string{s.dec.String()}
	for s.dec.AcceptSP() {
		tags = append(tags, s.dec.String())
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	for _, tag := range tags {
		before := len(s.view.contexts)
		s.view.contexts = slices.DeleteFunc(s.view.contexts, func(x *searchContext) bool { return x.tag == tag })
		if len(s.view.contexts) == before {
			return bad("There is no context of this tag")
		}
	}
	return nil
}

// touch notes messages whose flags this session has changed itself, of which the
// watcher does not tell.
func (v *view) touch(messages []maildir.Message) {
	if len(v.contexts) == 0 {
		return
	}
	for _, m := range messages {
		v.touched = append(v.touched, m.UID)
	}
}

// takeTouched returns the messages whose flags may have changed, in order. It
// leaves changed as it is.
func (v *view) takeTouched() []maildir.UID {
	if len(v.contexts) == 0 {
		return nil
	}
	uids := slices.Concat(v.touched, v.changed)
	v.touched = nil
	slices.Sort(uids)
	return slices.DeleteFunc(slices.Compact(uids), func(uid maildir.UID) bool { return v.seq(uid) == 0 })
}

// leaveContexts takes messages that are about to be reported as expunged out of
// the results.
func (s *session) leaveContexts(gone []maildir.UID) {
	if len(gone) == 0 || len(s.view.contexts) == 0 {
		return
	}
	leaves := make(map[maildir.UID]bool, len(gone))
	for _, uid := range gone {
		leaves[uid] = true
	}
	for _, x := range s.view.contexts {
		s.removeFrom(x, func(uid maildir.UID) bool { return leaves[uid] })
	}
}

// checkContexts looks whether messages, which ascend, belong to the results.
func (s *session) checkContexts(uids []maildir.UID) {
	if len(uids) == 0 {
		return
	}
	for _, x := range s.view.contexts {
		in := make(map[maildir.UID]bool, len(uids)) // the message is looked at, and matches
		member := make(map[maildir.UID]bool)
		for _, m := range x.members {
			member[m.uid] = true
		}
		var added []contextMember
		err := s.candidates(uids, func(_ int, cand *candidate) error {
			cand.seq = s.view.seq(cand.UID)
			ok, err := x.key.match(cand)
			if err != nil {
				return err
			}
			if in[cand.UID] = ok; ok && !member[cand.UID] {
				m := contextMember{uid: cand.UID}
				if m.values, err = sortValues(x.sort, cand); err == nil {
					added = append(added, m)
				}
			}
			return err
		})
		if err != nil {
			return // the server is shutting down
		}
		s.removeFrom(x, func(uid maildir.UID) bool { ok, looked := in[uid]; return looked && !ok })
		s.addTo(x, added)
	}
}

// removeFrom takes members out and tells so.
func (s *session) removeFrom(x *searchContext, leaves func(maildir.UID) bool) {
	var places []contextPlace
	kept := x.members[:0]
	for _, m := range x.members {
		if leaves(m.uid) {
			places = append(places, contextPlace{len(kept) + 1, m.uid})
			continue
		}
		kept = append(kept, m)
	}
	clear(x.members[len(kept):])
	x.members = kept
	s.tellContext(x, "REMOVEFROM", places)
}

// addTo puts new members into their places and tells so.
func (s *session) addTo(x *searchContext, added []contextMember) {
	var places []contextPlace
	for _, m := range added {
		i, _ := slices.BinarySearchFunc(x.members, m, x.compare)
		x.members = slices.Insert(x.members, i, m)
		places = append(places, contextPlace{i + 1, m.uid})
	}
	s.tellContext(x, "ADDTO", places)
}

// contextPlace is a message with its position in a result, from 1, at the moment
// when it comes or goes.
type contextPlace struct {
	at  int
	uid maildir.UID
}

// tellContext writes the ESEARCH response (RFC 5267 section 4.3): in the order of
// the mailbox positions have no meaning, and are 0.
func (s *session) tellContext(x *searchContext, what string, places []contextPlace) {
	if len(places) == 0 {
		return
	}
	numbers := make([]uint32, len(places))
	for i, p := range places {
		numbers[i] = uint32(p.uid)
		if !x.uid {
			numbers[i] = s.view.seq(p.uid)
		}
	}
	s.enc.Raw("* ESEARCH (TAG ").String(x.tag).Raw(")")
	if x.uid {
		s.enc.Raw(" UID")
	}
	s.enc.SP().Raw(what).Raw(" (")
	if x.sort == nil {
		slices.Sort(numbers)
		s.enc.Raw("0 ").Bytes(wire.AppendNumbers(nil, numbers))
	} else {
		for i, p := range places {
			if i > 0 {
				s.enc.SP()
			}
			s.enc.Number(uint64(p.at)).SP().Number(uint64(numbers[i]))
		}
	}
	s.enc.Raw(")").CRLF()
}

// sortValues are what a message is sorted by.
func sortValues(keys []sortKey, cand *candidate) ([]sortValue, error) {
	values := make([]sortValue, len(keys))
	for i, key := range keys {
		var err error
		if values[i], err = key.of(cand); err != nil {
			return nil, err
		}
	}
	return values, nil
}
