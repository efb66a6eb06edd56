package config

// Sieve is [sieve]: users' filter scripts.
type Sieve struct {
	Enabled bool
	// Before and After are the administrator's scripts around the user's, and
	// Default that of users without one.
	Before, After []string
	Default       string
	// GlobalDir has scripts that users may include.
	GlobalDir string
	// Redirects bounds the redirects of one message.
	Redirects int
}

func (s *Sieve) section() section {
	return section{name: "sieve", doc: "Filter scripts in the language Sieve (RFC 5228), as Pigeonhole has them: a user's active script is ~/.dovecot.sieve, usually a link to one in ~/sieve. What a script does not decide goes the usual way: to Junk what [inbound] sets aside, else to the folder of the address's detail, else to the INBOX. A script with a mistake keeps the message, and says why in ~/.dovecot.sieve.log.", keys: []key{
		{name: "enabled", def: `true`, value: boolean(&s.Enabled),
			doc: "Run users' scripts when mail is delivered."},
		{name: "before", def: `""`, value: files(&s.Before),
			doc: "Scripts that run before the user's, for everybody; a list of paths. The next one runs if a script keeps the message."},
		{name: "after", def: `""`, value: files(&s.After),
			doc: "Scripts that run after the user's."},
		{name: "default", def: `""`, value: file(&s.Default),
			doc: "The script of users who have none."},
		{name: "global_dir", def: `""`, example: `"/etc/mailsrvd/sieve"`, value: file(&s.GlobalDir),
			doc: "Directory of the scripts that users may include with :global, as NAME.sieve."},
		{name: "redirects", def: `4`, value: integer(&s.Redirects, 0, 100),
			doc: "How many redirects one message may lead to; 0 forbids them."},
	}}
}
