package imapd

import (
	"context"
	"errors"
	"syscall"

	"github.com/emersion/go-imap/v2"

	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/maildir"
)

// no is a tagged NO with a response code, which may be empty.
func no(code imap.ResponseCode, text string) *imap.Error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}
}

// bad is a tagged BAD.
func bad(text string) *imap.Error {
	return &imap.Error{Type: imap.StatusResponseTypeBad, Text: text}
}

// closeError ends the connection with a BYE that says why.
type closeError struct {
	code, text string
	cause      error // for the log, if it is a fault of ours
}

func (e *closeError) Error() string {
	if e.cause != nil {
		return e.text + ": " + e.cause.Error()
	}
	return e.text
}

func (e *closeError) Unwrap() error { return e.cause }

// status writes a status response; tag is "*" for an untagged one.
func (s *session) status(tag, kind, code, text string) {
	s.enc.Raw(tag).SP().Raw(kind).SP()
	if code != "" {
		s.enc.Byte('[').Raw(code).Raw("] ")
	}
	s.enc.Text(text).CRLF()
}

// untaggedOK writes "* OK [code] text".
func (s *session) untaggedOK(code, text string) { s.status("*", "OK", code, text) }

// storeErrors are the replies to what the storage tells apart. The text never
// says more than the client could know.
var storeErrors = []struct {
	err   error
	reply *imap.Error
}{
	{maildir.ErrNotFound, no(imap.ResponseCodeNonExistent, "No such mailbox")},
	{maildir.ErrExists, no(imap.ResponseCodeAlreadyExists, "Mailbox already exists")},
	{maildir.ErrInvalidName, no(imap.ResponseCodeCannot, "Invalid mailbox name")},
	{maildir.ErrInbox, no(imap.ResponseCodeCannot, "INBOX cannot be deleted or renamed")},
	{maildir.ErrRemoved, no(imap.ResponseCodeNonExistent, "Mailbox was removed or replaced")},
	{maildir.ErrExpunged, no("EXPUNGEISSUED", "Some of the messages no longer exist")},
	{maildir.ErrTooManyKeywords, no(imap.ResponseCodeLimit, "Too many keywords in this mailbox")},
	{maildir.ErrLocked, no(imap.ResponseCodeInUse, "Mailbox is locked by another program, try again later")},
	{maildir.ErrQuota, no(imap.ResponseCodeOverQuota, "Quota exceeded")},
	{maildir.ErrClosed, no(imap.ResponseCodeUnavailable, "Server is shutting down")},
	{context.Canceled, no(imap.ResponseCodeUnavailable, "Server is shutting down")},
	{context.DeadlineExceeded, no(imap.ResponseCodeUnavailable, "Server is overloaded, try again later")},
	{syscall.EDQUOT, no(imap.ResponseCodeOverQuota, "Quota exceeded")},
	{syscall.ENOSPC, no(imap.ResponseCodeUnavailable, "Insufficient system storage")},
}

// storeError is the reply to an error of the storage. What nobody classified is
// our fault and is logged.
func (s *session) storeError(err error) *imap.Error {
	for _, e := range storeErrors {
		if errors.Is(err, e.err) {
			return e.reply
		}
	}
	var st *status.Error
	if errors.As(err, &st) {
		return deliveryError(st)
	}
	s.logger().Error("imap command failed", "err", err)
	return no(imap.ResponseCodeServerBug, "Internal error, see the server's log")
}

// deliveryError is the reply to what storing a message came to.
func deliveryError(st *status.Error) *imap.Error {
	if st.Enhanced[1] == 2 && st.Enhanced[2] == 2 { // RFC 3463 section 3.3: mailbox full
		return no(imap.ResponseCodeOverQuota, st.Text)
	}
	return no(imap.ResponseCodeUnavailable, st.Text)
}
