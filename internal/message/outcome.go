package message

// Outcome is what became of one recipient in one attempt to deliver.
type Outcome struct {
	// Err is nil when the responsibility for the message has passed on (RFC 5321
	// section 6.1). Else its chain holds a *status.Error, which says whether
	// another attempt can help; an error without one counts as temporary.
	Err error
	// Remote is the host that decided, such as "mx.example.org[192.0.2.1]";
	// empty means this host. Reply is what it said, on one line.
	Remote, Reply string
	// Notifies says, of a success, that Remote has taken over the sender's wish
	// for a success notification (RFC 3461 section 5.2.2).
	Notifies bool
	// Unreachable says, of a temporary failure, that nobody at the destination
	// could be spoken to, so that other messages to it would fare the same.
	Unreachable bool
}
