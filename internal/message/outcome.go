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
	// TLS is how the connection was protected on which Remote decided.
	TLS TLS
	// Notifies says, of a success, that Remote has taken over the sender's wish
	// for a success notification (RFC 3461 section 5.2.2).
	Notifies bool
	// Unreachable says, of a temporary failure, that nobody at the destination
	// could be spoken to, so that other messages to it would fare the same.
	Unreachable bool
}

// TLS says how a connection to another host was protected. The zero value is a
// connection in the clear.
type TLS struct {
	// Version and Cipher are named as in crypto/tls: "TLS 1.3",
	// "TLS_AES_128_GCM_SHA256".
	Version string `json:"version"`
	Cipher  string `json:"cipher"`
	// Verified is what the host's certificate was good for: "dane" (RFC 7672),
	// "sts" (RFC 8461), "pkix" (the usual authorities, without such a policy) or
	// "none", where nothing was demanded of it.
	Verified string `json:"verified"`
}

// String is the form for people: "TLS 1.3, TLS_AES_128_GCM_SHA256, verified:
// dane", or "no TLS".
func (t TLS) String() string {
	if t.Version == "" {
		return "no TLS"
	}
	return t.Version + ", " + t.Cipher + ", verified: " + t.Verified
}
