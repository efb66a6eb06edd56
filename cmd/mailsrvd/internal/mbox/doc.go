// Package mbox reads and writes mailboxes in one file (RFC 4155), in the form that
// mail programs agree on best, "mboxrd": a message begins with a line "From sender
// date" behind an empty one, and a line of its text that begins with "From ", or with
// some ">" and that, has one ">" more.
//
// What a mailbox knows of a message stands in its header as mutt, Dovecot and UW-IMAP
// have it: Status (R: seen), X-Status (A: answered, F: flagged, T: draft, D: deleted)
// and X-Keywords. Such fields are taken out on reading and written anew.
package mbox

import "time"

// Message is what an mbox tells of a message beside its text.
type Message struct {
	// Sender is the reverse-path; it may be empty.
	Sender string
	// Date is when the message arrived, to the second; zero if it is not known.
	Date time.Time
	// Seen and so on are the flags of IMAP (RFC 9051 section 2.3.2).
	Seen, Answered, Flagged, Draft, Deleted bool
	// Keywords are the other flags, by name.
	Keywords []string
}
