package config

// Quota is [quota]: how much one user may keep.
type Quota struct {
	// Storage is in bytes, Messages counts messages; 0 is no limit.
	Storage  int64
	Messages int
	// Warning is in percent; 0 is never.
	Warning int
}

func (s *Quota) section() section {
	return section{name: "quota", doc: "How much mail one user may keep, all folders together. The usage is kept in the file maildirsize of the Maildir (Maildir++), which Dovecot's \"maildir\" quota and Courier share. In a passwd-file the extra field userdb_quota_rule=*:storage=2G:messages=10000 sets it for one user. IMAP clients see it (GETQUOTA), and SMTP answers 552 5.2.2.", keys: []key{
		{name: "storage", def: `""`, example: `"10GiB"`, value: sizeOrNone(&s.Storage, 1<<20),
			doc: "The most that one user's messages may take, as in \"10GiB\". Empty for no limit."},
		{name: "messages", def: `0`, value: integer(&s.Messages, 0, 1<<31-2),
			doc: "How many messages one user may have. 0 for no limit."},
		{name: "warning", def: `0`, example: `90`, value: integer(&s.Warning, 0, 100),
			doc: "When a delivery fills a quota to this many percent, the user gets a message that says so. 0 for none."},
	}}
}

// sizeOrNone is size, with the empty text for 0.
func sizeOrNone(p *int64, least int64) value {
	inner := size(p, least)
	return value{inner.kind, func(e env, v any) error {
		if v == "" {
			*p = 0
			return nil
		}
		return inner.set(e, v)
	}}
}
