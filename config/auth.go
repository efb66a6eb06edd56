package config

// Auth is [auth]: who may log in.
type Auth struct {
	// Backend is "pam" or "passwd-file".
	Backend    string
	PAM        PAM
	PasswdFile PasswdFile
}

// PAM is [auth.pam].
type PAM struct {
	// Service is the name of the file in /etc/pam.d.
	Service string
}

// PasswdFile is [auth.passwd_file].
type PasswdFile struct {
	// Path is the file, in Dovecot's passwd-file format.
	Path string
}

func (s *Auth) section() section {
	return section{name: "auth", doc: "Who may log in, for submission and IMAP alike. PLAIN and LOGIN are offered, under TLS only.", keys: []key{
		{name: "backend", def: `"pam"`, value: choice(&s.Backend, "pam", "passwd-file"),
			doc: "\"pam\": the system's users, asked through PAM. \"passwd-file\": a file of names and password hashes."},
	}}
}

func (s *PAM) section() section {
	return section{name: "auth.pam", doc: "With backend = \"pam\".", keys: []key{
		{name: "service", def: `"mailsrvd"`, value: text(&s.Service, notEmpty),
			doc: "The file below /etc/pam.d. When it is missing, PAM silently uses the file \"other\", so check-config insists on it."},
	}}
}

func (s *PasswdFile) section() section {
	return section{name: "auth.passwd_file", doc: "With backend = \"passwd-file\".", keys: []key{
		{name: "path", def: `"/etc/mailsrvd/passwd"`, value: file(&s.Path),
			doc: "Dovecot's format: user:{SCHEME}hash:uid:gid:gecos:home:shell:extra, with the schemes PLAIN, SHA256-CRYPT, SHA512-CRYPT, BLF-CRYPT, ARGON2ID, SSHA256, SSHA512; mkpasswd -m sha512crypt makes a hash. With empty uid and gid the daemon's own identity stores the mail, and no privilege is needed. A changed file is read at once."},
	}}
}

func (s *Auth) check() Problems {
	if s.Backend == "passwd-file" && s.PasswdFile.Path == "" {
		return Problems{{Key: "auth.passwd_file.path", Text: "is empty", Mend: "name the file, or use backend = \"pam\""}}
	}
	return nil
}
