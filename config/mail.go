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

// LDA is [lda]: how a message finds its folder.
type LDA struct {
	// DetailFolder delivers user+folder@domain into that folder.
	DetailFolder bool
	// Forward obeys users' ~/.forward, and ForwardPipes what it pipes mail into.
	Forward, ForwardPipes bool
	// Autocreate and Autosubscribe make a folder that mailsrvd lda -m names.
	Autocreate, Autosubscribe bool
	// FullTempfail makes a full mailbox a passing failure.
	FullTempfail bool
}

func (s *LDA) section() section {
	return section{name: "lda", doc: "Local delivery. The last three are for the command mailsrvd lda and have the names of dovecot-lda's settings, which its option -o sets as well.", keys: []key{
		{name: "detail_folder", def: `false`, value: boolean(&s.DetailFolder),
			doc: "Deliver mail for user+folder@domain into the folder of that name, where the user has one; else it goes to the INBOX."},
		{name: "forward", def: `false`, value: boolean(&s.Forward),
			doc: "Obey ~/.forward as Sendmail and Postfix do: addresses that a user's mail goes to in place of him, on one or more lines; his own name, or \\name, keeps a copy. Files are refused. Sieve's redirect does the same."},
		{name: "forward_pipes", def: `false`, value: boolean(&s.ForwardPipes),
			doc: "Let ~/.forward also pipe mail into programs (|/usr/bin/procmail), those that pipe_programs of [aliases] names; they run as the user himself. Without this, mail to who has such a line is kept, and the log says why."},
		{name: "mailbox_autocreate", def: `false`, value: boolean(&s.Autocreate),
			doc: "Make the folder that -m names when it does not exist; else the message goes to the INBOX."},
		{name: "mailbox_autosubscribe", def: `false`, value: boolean(&s.Autosubscribe),
			doc: "Also subscribe to a folder that was made so."},
		{name: "quota_full_tempfail", def: `false`, value: boolean(&s.FullTempfail),
			doc: "Exit with 75 (try again) in place of 77 (return to sender) when the mailbox is full."},
	}}
}

// Submission is [submission]: what a logged-in user may do.
type Submission struct {
	// CheckSender binds the reverse-path to the login.
	CheckSender bool
	// SendersFile lists further addresses per user; empty for none.
	SendersFile string
	// The limits of what one user may send; 0 for none.
	MessagesPerHour, MessagesPerDay     int
	RecipientsPerHour, RecipientsPerDay int
	// Unlimited are accounts without limits.
	Unlimited []string
}

func (s *Submission) section() section {
	return section{name: "submission", doc: "What a logged-in user may send.", keys: []key{
		{name: "check_sender", def: `true`, value: boolean(&s.CheckSender),
			doc: "Refuse a reverse-path (MAIL FROM) or From field that is not the user's: user@ any local domain, an alias that leads to the user, or an address of senders_file."},
		{name: "senders_file", def: `""`, value: file(&s.SendersFile),
			doc: "Further sender addresses, one line a user: \"user: address, @domain, ...\". \"*\" allows everything. Read again on reload."},
		{name: "messages_per_hour", def: `0`, value: integer(&s.MessagesPerHour, 0, 1<<30),
			doc: "Messages that one user may send within an hour; 0 for no limit. A further one is answered with 450. Limits like 100 and 500 stop a stolen password before it harms the server's name; mailsrvd sending list shows what is usual here."},
		{name: "messages_per_day", def: `0`, value: integer(&s.MessagesPerDay, 0, 1<<30), doc: "The same within a day."},
		{name: "recipients_per_hour", def: `0`, value: integer(&s.RecipientsPerHour, 0, 1<<30), doc: "Recipients of one user's messages within an hour; 0 for no limit."},
		{name: "recipients_per_day", def: `0`, value: integer(&s.RecipientsPerDay, 0, 1<<30), doc: "The same within a day."},
		{name: "unlimited_users", def: `""`, example: `["notify"]`, value: texts(&s.Unlimited),
			doc: "Accounts without these limits, such as a program that sends notifications."},
	}}
}
