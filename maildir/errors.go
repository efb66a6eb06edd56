package maildir

import "errors"

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: there is no folder of this name.
	ErrNotFound = errors.New("no such mailbox")
	// ErrExists: the folder, or one that would come of a rename, exists.
	ErrExists = errors.New("mailbox already exists")
	// ErrInvalidName: the name cannot be a folder's (RFC 9051 section 5.1 and
	// the limits of Maildir++).
	ErrInvalidName = errors.New("invalid mailbox name")
	// ErrInbox: INBOX can be neither deleted nor renamed.
	ErrInbox = errors.New("INBOX cannot be deleted or renamed")
	// ErrRemoved: the open folder was deleted, or its UIDVALIDITY changed under
	// us. Close it; opening the name again gives what is there now.
	ErrRemoved = errors.New("mailbox was removed or replaced")
	// ErrExpunged: the message is not there any more.
	ErrExpunged = errors.New("message was expunged")
	// ErrTooManyKeywords: a folder has room for 26 keywords, the letters a-z of
	// its file names.
	ErrTooManyKeywords = errors.New("mailbox has no room for another keyword")
	// ErrLocked: another program has held a lock file for too long.
	ErrLocked = errors.New("mailbox is locked by another program")
	// ErrQuota: Options.Quota refused the message; its errors should wrap this.
	ErrQuota = errors.New("quota exceeded")
	// ErrClosed: Stores was closed.
	ErrClosed = errors.New("mail storage is closed")
)
