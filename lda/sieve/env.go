package sieve

import (
	"context"
	"time"
)

// Env is what a script may know beside the message, and the hooks by which it
// asks. The zero Env works: what it does not know, tests find empty.
type Env struct {
	// From is the reverse-path, empty for the null one. To is the address that
	// the message was sent to, as RCPT gave it.
	From, To string
	// Auth is the name that the sender has authenticated with, for the envelope
	// test; empty if none.
	Auth string
	// Owner is the user's own address, and Addresses are others that mean him:
	// messages to them are answered by vacation (RFC 5230 section 4.5). To is
	// always one of them.
	Owner     string
	Addresses []string
	// Delimiter holds the characters that can separate user and detail of an
	// address (RFC 5233); empty is "+".
	Delimiter string
	// Hostname is this host, for the Message-ID of vacation responses and the
	// environment item "host".
	Hostname string

	// Now is the time of the delivery, and Zone the user's time zone; the zero
	// values are the present and the zone of Now.
	Now  time.Time
	Zone *time.Location

	// Environment holds further items of RFC 5183: "domain", "version",
	// "remote-host", "remote-ip". "location" is "MDA" and "phase" is "during" if
	// they are not there.
	Environment map[string]string

	// MailboxExists tells whether a message may be stored in a mailbox; nil: in
	// none but INBOX. SpecialUse returns the mailbox of a use such as "\\Junk"
	// (RFC 6154), or "".
	MailboxExists func(ctx context.Context, name string) (bool, error)
	SpecialUse    func(ctx context.Context, use string) (string, error)

	// Seen tells whether an identifier is remembered for this user: one that an
	// earlier Result gave to Remember and whose time is not over. It is asked by
	// duplicate and vacation. nil remembers nothing.
	Seen func(ctx context.Context, id string) (bool, error)

	// Spam and Virus are the verdicts for spamtest and virustest (RFC 5235).
	Spam  *Spam
	Virus Virus

	// Trace is told each step; nil for none.
	Trace func(Step)
}

// Spam is how likely a message is unwanted, in percent from 0 to 100.
type Spam struct{ Percent float64 }

// Virus is the value of RFC 5235 section 3.2: 0 is not tested, 1 clean, 2
// repaired, 3 replaced, 4 perhaps infected, 5 infected.
type Virus int
