package mbox

import (
	"bytes"
	"slices"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// maxHeader is how much of a message's header is looked at. Fields behind that
// are text.
const maxHeader = 1 << 20

// ownFields are those that say what the mailbox knows of a message.
var ownFields = []string{"Status", "X-Status", "X-Keywords", "X-UID", "X-IMAP", "X-IMAPbase"}

// takeStatus reads the mailbox's own fields in a header block, with or without its
// blank line, into m, and appends the others, as they stand, to dst. internal says
// that it is no message but what UW-IMAP notes about the mailbox.
func (m *Message) takeStatus(dst, header []byte) (rest []byte, internal bool) {
	for _, f := range message.ParseHeader(header) {
		if !slices.ContainsFunc(ownFields, f.Is) {
			dst = append(dst, f.Raw...)
			continue
		}
		switch value := f.Value(); {
		case f.Is("Status"):
			m.Seen = strings.Contains(value, "R")
		case f.Is("X-Status"):
			m.Answered = strings.Contains(value, "A")
			m.Flagged = strings.Contains(value, "F")
			m.Draft = strings.Contains(value, "T")
			m.Deleted = strings.Contains(value, "D")
		case f.Is("X-Keywords"):
			m.Keywords = append(m.Keywords, strings.Fields(value)...)
		case f.Is("X-IMAP"):
			internal = true
		}
	}
	return dst, internal
}

// appendStatus appends the mailbox's own fields.
func (m *Message) appendStatus(dst []byte) []byte {
	dst = append(dst, "Status: "...)
	if m.Seen {
		dst = append(dst, 'R')
	}
	dst = append(dst, "O\n"...) // old: no program shows it as new mail
	letters := ""
	for _, f := range []struct {
		set    bool
		letter string
	}{{m.Answered, "A"}, {m.Flagged, "F"}, {m.Draft, "T"}, {m.Deleted, "D"}} {
		if f.set {
			letters += f.letter
		}
	}
	if letters != "" {
		dst = append(append(append(dst, "X-Status: "...), letters...), '\n')
	}
	if len(m.Keywords) > 0 {
		dst = append(append(append(dst, "X-Keywords: "...), strings.Join(m.Keywords, " ")...), '\n')
	}
	return dst
}

// quoted reports whether a line has what makes a ">" be put before it.
func quoted(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, ">"), fromWord)
}

var fromWord = []byte("From ")
