package config

import (
	"regexp"
	"time"
)

// IMAP is [imap].
type IMAP struct {
	// Separator is between the parts of folder names, "." or "/".
	Separator string
	// IdleTimeout ends silent sessions.
	IdleTimeout time.Duration
	// Disable lists capabilities that are not offered.
	Disable []string
	// LoginTimeout and StallTimeout end connections that do not log in, or stop in
	// the middle of something.
	LoginTimeout, StallTimeout time.Duration
	// CommandLimit, LiteralLimit and PreloginLimit are in bytes.
	CommandLimit, LiteralLimit, PreloginLimit int64
	// NestingLimit, SearchKeys and BadCommands are numbers of each.
	NestingLimit, SearchKeys, BadCommands int
	// NotifyMailboxes is how many mailboxes a session may follow.
	NotifyMailboxes int
	// User has the exceptions of single users.
	User []IMAPUser
}

// IMAPUser is one [[imap.user]].
type IMAPUser struct {
	// Name is the account's.
	Name string
	// Disable lists capabilities that are not offered to it.
	Disable []string
}

// DisableFor are the exceptions by user name.
func (s *IMAP) DisableFor() map[string][]string {
	users := make(map[string][]string, len(s.User))
	for _, u := range s.User {
		users[u.Name] = append(users[u.Name], u.Disable...)
	}
	return users
}

var capabilityName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.=+-]*$`)

func (s *IMAP) section() section {
	return section{name: "imap", doc: "IMAP.", keys: []key{
		{name: "separator", def: `"."`, value: choice(&s.Separator, ".", "/"),
			doc: "The separator of folder names as clients see it. Take over the old server's: clients keep names, and a change looks like deleted folders."},
		{name: "idle_timeout", def: `"30m"`, value: duration(&s.IdleTimeout, 30*time.Minute, 24*time.Hour),
			doc: "A session that says nothing for this long is closed; RFC 9051 section 5.4 wants at least 30 minutes."},
		{name: "disable", def: `[]`, value: texts(&s.Disable, capability),
			doc: "Capabilities not to offer, for clients that stumble over them, as in [\"COMPRESS=DEFLATE\"]."},
		{name: "login_timeout", def: `"3m"`, value: duration(&s.LoginTimeout, 5*time.Second, time.Hour),
			doc: "A connection that has not logged in by then is closed."},
		{name: "stall_timeout", def: `"2m"`, value: duration(&s.StallTimeout, 5*time.Second, time.Hour),
			doc: "How long a client may stop in the middle of a command, or not take what it has asked for."},
		{name: "command_limit", def: `"64KiB"`, value: size(&s.CommandLimit, 8<<10),
			doc: "The longest command line, literals not counted. Clients write sets of UIDs that get long. A longer one ends the connection."},
		{name: "literal_limit", def: `"64KiB"`, value: size(&s.LiteralLimit, 4<<10),
			doc: "The longest literal that is no message: a name, a text to look for, an annotation."},
		{name: "prelogin_limit", def: `"8KiB"`, value: size(&s.PreloginLimit, 1<<10),
			doc: "The longest command line of somebody who has not logged in."},
		{name: "nesting_limit", def: `200`, value: integer(&s.NestingLimit, 10, 10000),
			doc: "How deep parentheses, NOT and OR may nest in a command."},
		{name: "search_keys", def: `1000`, value: integer(&s.SearchKeys, 10, 1<<20),
			doc: "How many keys one search may have."},
		{name: "bad_commands", def: `20`, value: integer(&s.BadCommands, 3, 100000),
			doc: "After so many commands in a row that are not understood, a connection is closed."},
		{name: "notify_mailboxes", def: `200`, value: integer(&s.NotifyMailboxes, 1, 100000),
			doc: "How many mailboxes beside the selected one a session may follow at one time (NOTIFY)."},
	}}
}

func (s *IMAP) userSection() section {
	return section{name: "imap.user", doc: "Exceptions for one user, whose client stumbles over something.",
		each: func() ([]key, func()) {
			u := &IMAPUser{}
			return []key{
				{name: "name", example: `"alice"`, value: text(&u.Name), required: "add the user's name", doc: "The account's name, without a domain."},
				{name: "disable", example: `["COMPRESS=DEFLATE"]`, value: texts(&u.Disable, capability), required: "add the list of capabilities", doc: "Capabilities not to offer to this user, beside those of [imap]."},
			}, func() { s.User = append(s.User, *u) }
		}}
}

func capability(c string) error {
	if !capabilityName.MatchString(c) {
		return faultf(`write it as in "CONDSTORE"`, "%q is not the name of a capability", c)
	}
	return nil
}
