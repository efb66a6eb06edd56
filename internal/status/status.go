// Package status holds the delivery status that every layer returns for a
// message or a recipient: an SMTP reply code (RFC 5321 section 4.2), an
// enhanced code (RFC 3463), a text that may be shown to the peer, and a cause
// that is kept for the log. Whether a failure is temporary is decided here and
// nowhere else.
package status

import (
	"errors"
	"fmt"
	"strings"
)

// Enhanced is an enhanced mail system status code (RFC 3463): class, subject
// and detail. The zero value means that there is none.
type Enhanced [3]int

// String gives the code in wire form, "5.1.1", or "" for the zero value.
func (e Enhanced) String() string {
	if e == (Enhanced{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
}

// Error is the outcome of a delivery that did not succeed. It is immutable.
type Error struct {
	// Code is the SMTP reply code, 400 to 599.
	Code int
	// Enhanced is the RFC 3463 code; its class agrees with Code's.
	Enhanced Enhanced
	// Text is what the peer may read: one line, no path, no setting.
	Text string
	// Cause is for the log and for errors.Is; it may be nil.
	Cause error
}

// New returns a status without an inner cause. The class of enhanced is
// derived from code, so only subject and detail are given.
func New(code, subject, detail int, text string) *Error {
	return &Error{Code: code, Enhanced: Enhanced{code / 100, subject, detail}, Text: oneLine(text)}
}

// Wrap is New with the error that led to this status.
func Wrap(cause error, code, subject, detail int, text string) *Error {
	e := New(code, subject, detail, text)
	e.Cause = cause
	return e
}

// From turns any error into a status: nil stays nil, a *Error in the chain is
// returned as it is, and everything else becomes 451 4.3.0, since an error
// that nobody classified may heal.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Wrap(err, 451, 3, 0, "Local error, try again later")
}

// IsTemporary reports whether trying again later can help. It is false for
// nil.
func IsTemporary(err error) bool {
	e := From(err)
	return e != nil && e.Temporary()
}

// Temporary reports whether trying again later can help (RFC 5321 section
// 4.2.1: 4yz).
func (e *Error) Temporary() bool { return e.Code/100 != 5 }

// Error gives the whole status with its cause, for logs.
func (e *Error) Error() string {
	s := e.Reply()
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Reply gives the status as an SMTP client would see it, without the cause:
// "550 5.1.1 No such user".
func (e *Error) Reply() string {
	if c := e.Enhanced.String(); c != "" {
		return fmt.Sprintf("%d %s %s", e.Code, c, e.Text)
	}
	return fmt.Sprintf("%d %s", e.Code, e.Text)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// oneLine keeps a text from breaking out of its reply line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// NoSuchUser says that address has no mailbox here (RFC 3463 X.1.1).
func NoSuchUser(address string) *Error {
	return New(550, 1, 1, "<"+address+">: no such user here")
}

// MailboxFull says that the recipient is over quota (RFC 3463 X.2.2). It is
// permanent: the sender learns of it in the transaction.
func MailboxFull(cause error) *Error {
	return Wrap(cause, 552, 2, 2, "Mailbox is full")
}

// SystemFull says that our storage has no room (RFC 3463 X.3.1).
func SystemFull(cause error) *Error {
	return Wrap(cause, 452, 3, 1, "Insufficient system storage, try again later")
}

// RelayDenied says that we do not relay to this address (RFC 3463 X.7.1).
func RelayDenied(address string) *Error {
	return New(550, 7, 1, "<"+address+">: relay access denied")
}
