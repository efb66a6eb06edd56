// Package control is the daemon's own protocol on UNIX sockets: the commands
// (queue list, reload, status) and the hand-over of local mail speak it.
//
// A connection carries one call. The caller sends a request line, one JSON
// object, and after it, if the line says so, a body in counted chunks:
//
//	{"call":"queue.show","args":{"id":"3fq"}}
//	{"call":"lda.deliver","args":{"user":"alice"},"body":true}
//	11
//	Subject: x
//	0
//
// The daemon answers with any number of chunks, for handlers that stream, and
// ends with a reply line:
//
//	{"value":{"queued":2}}
//	{"error":{"kind":"not_found","text":"no message 3fq"}}
//
// Counted chunks tell a body that ends from a caller that died: a message is
// never taken for whole because its sender was killed. The kernel tells who
// calls (SO_PEERCRED), so there is no password.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Kind classes a failure for the caller's program; its text is for people.
type Kind string

// The kinds that both sides know. A handler may use its own ones too.
const (
	// Failed is any error that a handler did not classify.
	Failed Kind = "failed"
	// Invalid means that the request cannot be understood.
	Invalid Kind = "invalid"
	// NotFound means that what the request names does not exist.
	NotFound Kind = "not_found"
	// Refused means that this peer may not do this.
	Refused Kind = "refused"
	// Unavailable means that trying later can help.
	Unavailable Kind = "unavailable"
	// Unknown means that the daemon has no such call.
	Unknown Kind = "unknown_call"
)

// Error is a failure as it travels to the caller.
type Error struct {
	// Kind is for programs.
	Kind Kind `json:"kind"`
	// Text is for people; the caller's process prints it.
	Text string `json:"text"`
}

// Error gives the text.
func (e *Error) Error() string { return e.Text }

// Errorf returns an *Error with a formatted text.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// asError finds the *Error in err's chain or makes one of kind Failed, so that
// every failure has a form for the wire.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Failed, Text: err.Error()}
}

// request is the request line.
type request struct {
	Call string          `json:"call"`
	Args json.RawMessage `json:"args,omitempty"`
	Body bool            `json:"body,omitempty"`
}

// reply is the reply line; exactly one field is set.
type reply struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error *Error          `json:"error,omitempty"`
}
