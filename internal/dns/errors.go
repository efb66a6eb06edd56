package dns

import (
	"errors"
	"fmt"
)

// What went wrong, for errors.Is.
var (
	// ErrNotFound means that the name or the record does not exist: an answer.
	ErrNotFound = errors.New("does not exist")
	// ErrTemporary means that no resolver gave a usable answer: ask again later.
	ErrTemporary = errors.New("no answer at present")
	// ErrNullMX means that the domain says it takes no mail (RFC 7505).
	ErrNullMX = errors.New("the domain accepts no mail")
	// ErrInvalidName means that the question is no domain name.
	ErrInvalidName = errors.New("is not a domain name")
)

// Error tells which question failed and how. It unwraps to one of the named
// errors and, where there is one, to the cause below it.
type Error struct {
	// Name and Type are the question, such as "example.org" and "MX".
	Name, Type string
	// Err is one of the named errors of this package.
	Err error
	// NoName is set with ErrNotFound where the name has no records of any type
	// (NXDOMAIN), and not only none of this type.
	NoName bool
	// Secure says, with ErrNotFound, that DNSSEC vouches for the absence.
	Secure bool
	// Cause is what the network or the resolver said; it may be nil.
	Cause error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("DNS: %s %s %v", e.Name, e.Type, e.Err)
	if e.NoName {
		s = fmt.Sprintf("DNS: name %s %v", e.Name, e.Err)
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the named error and the cause to errors.Is.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Cause}
}
