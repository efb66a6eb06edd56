package config

import "strings"

// Mail is [mail]: storage and delivery of local mail.
type Mail struct {
	// Location is the Maildir; "~/" is the user's home.
	Location string
	// Group is the group of Maildirs that setup-user --mode shared makes.
	Group string
	// MessageSizeLimit is in bytes, for every way in.
	MessageSizeLimit int64
	// MinUID is the smallest uid that may have mail.
	MinUID int
	// RecipientDelimiter separates user and detail; empty for none.
	RecipientDelimiter string
}

func (s *Mail) section() section {
	return section{name: "mail", doc: "Where mail is kept and what is accepted.", keys: []key{
		{name: "location", def: `"~/Maildir"`, value: text(&s.Location, maildirPath),
			doc: "The Maildir of each user; \"~/\" is the home directory. Dovecot and other programs may use it at the same time."},
		{name: "group", def: `"mail"`, value: text(&s.Group),
			doc: "The group that setup-user gives to a shared Maildir (mode 2770)."},
		{name: "message_size_limit", def: `"50MiB"`, value: size(&s.MessageSizeLimit, 64<<10),
			doc: "The largest message accepted by SMTP, LMTP, sendmail and IMAP APPEND. Attachments grow by a third on their way."},
		{name: "min_uid", def: `1000`, value: integer(&s.MinUID, 1, 1<<31-2),
			doc: "System users below this uid have no mailbox and cannot log in. Root never can."},
		{name: "recipient_delimiter", def: `"+"`, value: text(&s.RecipientDelimiter, delimiter),
			doc: "Mail for user+anything@domain goes to user. Empty to switch that off."},
	}}
}

func maildirPath(s string) error {
	if !strings.HasPrefix(s, "~/") && !strings.HasPrefix(s, "/") {
		return faultf(`write it as in "~/Maildir"`, "%q is neither below the home directory nor an absolute path", s)
	}
	if strings.HasPrefix(s, "/") && !strings.Contains(s, "%u") && !strings.Contains(s, "%n") {
		return faultf(`use "~/Maildir"`, "%q would be one Maildir for all users", s)
	}
	return nil
}

func delimiter(s string) error {
	if len(s) > 1 || strings.ContainsAny(s, "@.<>\"\\ ") {
		return faultf(`write it as in "+" or "-"`, "%q is not a single delimiter character", s)
	}
	return nil
}

// Submission is [submission]: what a logged-in user may do.
type Submission struct {
	// CheckSender binds the reverse-path to the login.
	CheckSender bool
	// SendersFile lists further addresses per user; empty for none.
	SendersFile string
}

func (s *Submission) section() section {
	return section{name: "submission", doc: "What a logged-in user may send.", keys: []key{
		{name: "check_sender", def: `true`, value: boolean(&s.CheckSender),
			doc: "Refuse a reverse-path (MAIL FROM) or From field that is not the user's: user@ any local domain, an alias that leads to the user, or an address of senders_file."},
		{name: "senders_file", def: `""`, value: file(&s.SendersFile),
			doc: "Further sender addresses, one line a user: \"user: address, @domain, ...\". \"*\" allows everything. Read again on reload."},
	}}
}
