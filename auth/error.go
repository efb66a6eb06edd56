package auth

import (
	"errors"
	"fmt"

	"svc.plus/mailsrvd/internal/status"
)

// ErrNoUser means that no such account exists, or none that may have mail.
var ErrNoUser = errors.New("no such user")

// Kind says why somebody was not let in.
type Kind int

// The kinds of failure. Refused is the only one that a wrong password or an
// unknown name leads to; Expired and Disabled are told only to somebody who
// knows the password.
const (
	// Unavailable is our own fault or that of a service behind us; the client
	// may try again with the same password.
	Unavailable Kind = iota
	// Refused is a wrong password, an unknown user or a name that is not ours.
	Refused
	// Expired is a password or an account past its date, or a password that
	// must be changed first.
	Expired
	// Disabled is an account that may not log in here.
	Disabled
	// Throttled means that the password was not looked at, since too many
	// attempts of this client are waiting.
	Throttled
	// Malformed is a SASL response that breaks the rules of its mechanism.
	Malformed
)

// kinds holds what each kind looks like outside: the name in logs and metrics,
// the SMTP reply (RFC 4954 section 6), the IMAP response code (RFC 5530) and
// the text for both.
var kinds = [...]struct {
	name            string
	code            int
	subject, detail int
	imap            string
	text            string
}{
	Unavailable: {"unavailable", 454, 7, 0, "UNAVAILABLE", "Temporary authentication failure, try again later"},
	Refused:     {"refused", 535, 7, 8, "AUTHENTICATIONFAILED", "Authentication credentials invalid"},
	Expired:     {"expired", 535, 7, 8, "EXPIRED", "The password or the account has expired"},
	Disabled:    {"disabled", 535, 7, 8, "AUTHORIZATIONFAILED", "This account may not be used here"},
	Throttled:   {"throttled", 454, 7, 0, "UNAVAILABLE", "Too many login attempts, try again later"},
	Malformed:   {"malformed", 501, 5, 2, "CLIENTBUG", "Malformed authentication response"},
}

// String gives the name used in logs and metrics, as "refused".
func (k Kind) String() string { return kinds[k].name }

// Error is a login that did not succeed. It has two texts: Error for the log,
// Text for the client, which learns neither a cause nor whether a name exists.
type Error struct {
	Kind Kind
	// Cause is for the log; it may be nil.
	Cause error
}

// Fail returns an *Error of the given kind; format and args make its cause, as
// in fmt.Errorf.
func Fail(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Cause: fmt.Errorf(format, args...)}
}

// AsError finds the *Error in err. An error that nobody classified is
// Unavailable: we never tell a client that his password is wrong unless we
// know. It returns nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Unavailable, Cause: err}
}

// Error gives kind and cause, for logs.
func (e *Error) Error() string {
	if e.Cause == nil {
		return "authentication " + e.Kind.String()
	}
	return "authentication " + e.Kind.String() + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Text is what the client may read.
func (e *Error) Text() string { return kinds[e.Kind].text }

// Temporary reports whether the same credentials may be good later.
func (e *Error) Temporary() bool { return kinds[e.Kind].code/100 == 4 }

// Status gives the SMTP reply (RFC 4954 section 6): 535 5.7.8, 454 4.7.0, or
// 501 5.5.2 for Malformed.
func (e *Error) Status() *status.Error {
	k := kinds[e.Kind]
	return status.Wrap(e, k.code, k.subject, k.detail, k.text)
}

// IMAPCode gives the response code for IMAP's NO (RFC 5530 section 3), without
// brackets.
func (e *Error) IMAPCode() string { return kinds[e.Kind].imap }
