package imapd

import (
	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/maildir"
)

// UIDONLY (RFC 9586): a client that never uses sequence numbers spares both
// sides the keeping of them.

// errUIDRequired refuses a command that uses sequence numbers.
var errUIDRequired = &imap.Error{Type: imap.StatusResponseTypeBad, Code: "UIDREQUIRED",
	Text: "Sequence numbers are not allowed when UIDONLY is enabled"}

// startFetch begins a FETCH response or, with UIDONLY, a UIDFETCH response.
func (s *session) startFetch(seq uint32, uid maildir.UID) {
	if s.enabled.uidOnly {
		s.enc.Raw("* ").Number(uint64(uid)).Raw(" UIDFETCH (")
		return
	}
	s.enc.Raw("* ").Number(uint64(seq)).Raw(" FETCH (")
}
