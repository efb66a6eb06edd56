package message

import "time"

// Envelope is what SMTP says about a message beside its content (RFC 5321
// section 2.3.1): where it came from and where it goes. Values are copied, not
// shared; treat the slices as read-only.
type Envelope struct {
	// Trace names this message in logs and headers from accept to file or
	// remote reply: a short string of letters and digits.
	Trace string `json:"trace"`
	// ReversePath is the address that failures are reported to; empty for the
	// null reverse-path.
	ReversePath string `json:"reverse_path"`
	// Recipients are the forward-paths with their DSN options.
	Recipients []Recipient `json:"recipients"`
	// User is the account that submitted the message; empty for mail from
	// elsewhere.
	User string `json:"user,omitempty"`
	// Trusted says that the reverse-path is authenticated (our own user, SPF or
	// aligned DKIM), so that a bounce to it is no backscatter.
	Trusted bool `json:"trusted,omitempty"`
	// Junk says that the checks of inbound mail want it kept out of the INBOX.
	Junk bool `json:"junk,omitempty"`
	// EightBit says that the body may have 8-bit bytes (BODY=8BITMIME, RFC 6152).
	EightBit bool `json:"eight_bit,omitempty"`
	// SMTPUTF8 says that addresses or headers may be UTF-8 (RFC 6531).
	SMTPUTF8 bool `json:"smtputf8,omitempty"`
	// RequireTLS is the REQUIRETLS parameter (RFC 8689).
	RequireTLS bool `json:"require_tls,omitempty"`
	// TLSOptional lets the message go without the TLS that its destination's
	// policy wants (RFC 8689 section 5, RFC 8460 section 5.3).
	TLSOptional bool `json:"tls_optional,omitempty"`
	// Ret is "FULL", "HDRS" or empty, and EnvID the sender's identifier, decoded
	// from xtext (RFC 3461 sections 4.3 and 4.4).
	Ret   string `json:"ret,omitempty"`
	EnvID string `json:"env_id,omitempty"`
	// ReleaseAt is when the message may first be delivered (RFC 4865); zero for at
	// once.
	ReleaseAt time.Time `json:"release_at,omitzero"`
	// DeliverBy is the parameter BY (RFC 2852).
	DeliverBy DeliverBy `json:"deliver_by,omitzero"`
}

// DeliverBy says by when a message is to be delivered (RFC 2852 section 4). The
// zero value says nothing.
type DeliverBy struct {
	// At is the time.
	At time.Time `json:"at"`
	// Return says that a message which is too late fails; else the sender is told
	// that it is delayed, and delivery goes on.
	Return bool `json:"return,omitempty"`
	// Trace asks each server to tell the sender when it hands the message on.
	Trace bool `json:"trace,omitempty"`
}

// Recipient is one forward-path with its DSN options (RFC 3461).
type Recipient struct {
	// Address is the mailbox, without angle brackets.
	Address string `json:"address"`
	// Notify holds "NEVER" or any of "SUCCESS", "FAILURE", "DELAY"; empty means
	// the default (failures, and delays).
	Notify []string `json:"notify,omitempty"`
	// ORcpt is the original recipient, "rfc822;user@host", decoded from xtext.
	ORcpt string `json:"orcpt,omitempty"`
	// Local is set for what is left of a recipient that leads to several places:
	// this one delivery, whatever Address leads to today.
	Local *Local `json:"local,omitempty"`
}

// Route tells where one address leads: to local accounts, to remote addresses,
// or to both where an alias says so.
type Route struct {
	Local  []Local
	Remote []string
	// Discard says that an alias throws the mail away: the address is good, and
	// what else the Route names still counts.
	Discard bool
}

// Local is one local delivery: to an account, or into a program.
type Local struct {
	// User is the login name of the account; empty for a program.
	User string `json:"user,omitempty"`
	// Program is the command that an alias pipes the mail into: its absolute path
	// and arguments, as the alias has them.
	Program string `json:"program,omitempty"`
	// Address is the recipient address that led to it, for Delivered-To.
	Address string `json:"address,omitempty"`
	// Detail is the part after the plus sign (RFC 5233); empty if none.
	Detail string `json:"detail,omitempty"`
}

// Place is l without what does not tell one place from another: two addresses of
// one mailbox are one delivery, while a program runs for each address.
func (l Local) Place() Local {
	if l.Program == "" {
		l.Address = ""
	}
	return l
}
