package imapd

import (
	"slices"

	"svc.plus/mailsrvd/maildir"
)

// statusItem is a data item of STATUS; its value is written behind its name.
type statusItem struct {
	name  string
	write func(*session, maildir.Status)
}

// number is a status item with a number.
func number[N int | int64 | uint32 | maildir.UID | maildir.ModSeq](of func(maildir.Status) N) func(*session, maildir.Status) {
	return func(s *session, st maildir.Status) { s.enc.Number(uint64(of(st))) }
}

// statusItems are all of them (RFC 9051 section 6.3.11, RFC 3501 section
// 6.3.10, RFC 7162, RFC 7889, RFC 8438, RFC 8474, RFC 9208).
var statusItems = map[string]func(*session, maildir.Status){
	"MESSAGES":    number(func(st maildir.Status) int { return st.Messages }),
	"RECENT":      number(func(st maildir.Status) int { return st.Recent }),
	"UIDNEXT":     number(func(st maildir.Status) maildir.UID { return st.UIDNext }),
	"UIDVALIDITY": number(func(st maildir.Status) uint32 { return st.UIDValidity }),
	"UNSEEN":      number(func(st maildir.Status) int { return st.Unseen }),
	"DELETED":     number(func(st maildir.Status) int { return st.Deleted }),
	"SIZE":        number(func(st maildir.Status) int64 { return st.Size }),
	// What EXPUNGE would free (RFC 9208 section 4.1.4).
	"DELETED-STORAGE": number(func(st maildir.Status) int64 { return st.DeletedSize }),
	"HIGHESTMODSEQ":   number(func(st maildir.Status) maildir.ModSeq { return st.HighestModSeq }),
	"APPENDLIMIT":     func(s *session, _ maildir.Status) { s.enc.Number(uint64(s.srv.limits.AppendSize)) },
	"MAILBOXID":       func(s *session, st maildir.Status) { s.enc.Byte('(').Raw(objectID(st.GUID)).Byte(')') },
}

// statusMailbox runs STATUS (RFC 9051 section 6.3.11).
func (s *session) statusMailbox(*call) error {
	s.dec.SP()
	name := s.mailbox()
	s.dec.SP()
	items := s.parseStatusItems()
	if err := s.endWith(name); err != nil {
		return err
	}
	return s.writeStatus(name.name, items)
}

// parseStatusItems parses the parenthesised items.
func (s *session) parseStatusItems() []statusItem {
	var items []statusItem
	s.dec.NonEmptyList(func() {
		name := s.dec.Word()
		write := statusItems[name]
		if name == "HIGHESTMODSEQ" {
			if s.useCondstore(); !s.enabled.condstore {
				write = nil
			}
		}
		if s.dec.Err() == nil && write == nil {
			s.dec.Failf("Unknown status item %s", name)
		}
		if items = append(items, statusItem{name, write}); len(items) > 2*len(statusItems) {
			s.dec.Failf("Too many status items")
		}
	})
	return items
}

// writeStatus writes the STATUS response of one mailbox.
func (s *session) writeStatus(name string, items []statusItem) error {
	size := slices.ContainsFunc(items, func(i statusItem) bool { return i.name == "SIZE" || i.name == "DELETED-STORAGE" })
	st, err := s.store.Status(s.srv.ctx, name, size)
	if err != nil {
		return err
	}
	s.enc.Raw("* STATUS ").Mailbox(name).Raw(" (")
	for i, item := range items {
		if i > 0 {
			s.enc.SP()
		}
		s.enc.Raw(item.name).SP()
		item.write(s, st)
	}
	s.enc.Raw(")").CRLF()
	return nil
}
