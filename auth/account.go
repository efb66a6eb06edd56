// Package auth answers who somebody is, and with which uid, gid and home his
// mail is kept. A back end (auth/pam or auth/passwdfile) judges the password;
// the Authenticator before it decides what a login name means, slows down
// guessing, hides whether a name exists, and remembers good passwords for a
// moment. Servers for the SASL mechanisms PLAIN and LOGIN are here too.
package auth

import (
	"context"
	"net/netip"
	"path"
	"strings"

	"svc.plus/mailsrvd/internal/asuser"
)

// Account is somebody who has mail here. It is a plain value.
type Account struct {
	// Name is the user name as the system writes it, without a domain. It never
	// holds a slash and is never "." or "..", so that it may name a directory.
	Name string
	// Owner is the identity that all file work for the account is done with.
	Owner asuser.Owner
	// Maildir is where the mail lies, if not in the configured place: an
	// absolute path or one that begins with "~/". Empty means the configured
	// place.
	Maildir string
	// Self says that the configuration keeps this mail with the daemon's own
	// identity, so that Options.MinUID does not apply.
	Self bool
}

// MaildirPath is the absolute path of the account's mail. location is the
// configured place, which counts when the account has none of its own: "~/" at
// its start is the home directory, %u and %n the name, %h the home.
func (a Account) MaildirPath(location string) string {
	if a.Maildir != "" {
		location = a.Maildir
	}
	if rest, ok := strings.CutPrefix(location, "~/"); ok {
		location = a.Owner.Home + "/" + rest
	}
	return path.Clean(strings.NewReplacer("%%", "%", "%u", a.Name, "%n", a.Name, "%h", a.Owner.Home).Replace(location))
}

// Credentials are one attempt to log in.
type Credentials struct {
	// Login is the name as the client sent it: "support" or, for a local
	// domain, "support@svc.plus".
	Login string
	// Password is kept nowhere and never logged.
	Password string
	// Remote is the client's address; the zero value for a local socket.
	Remote netip.Addr
	// Service says what is logged in to, for logs and metrics: "imap",
	// "submission", "managesieve", "pop3" or "test".
	Service string
	// TLS says that the connection is protected. The protocols refuse to take a
	// password otherwise; it is here for the log.
	TLS bool
}

// Backend knows the accounts and their passwords. Its methods are safe for
// concurrent use and bounded in time by themselves or by ctx.
type Backend interface {
	// Verify checks the password of a checked name without a domain. It returns
	// nil or an *Error: Refused for a wrong password and an unknown user alike,
	// Expired or Disabled when the password is right but the account may not be
	// used, Unavailable for everything else. It does not delay failures.
	Verify(ctx context.Context, name, password string, remote netip.Addr) error
	// Lookup finds the account without a password. It returns ErrNoUser when
	// there is none; any other error may heal.
	Lookup(ctx context.Context, name string) (Account, error)
}
