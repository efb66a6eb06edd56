package migrate

import "strings"

func (p *Plan) passdb(b *block, where string) {
	driver := b.get("driver")
	if driver == "" {
		driver = b.arg // 2.4 names it in the heading
	}
	switch driver {
	case "pam", "shadow", "passwd", "bsdauth":
		p.set("auth", "backend", quote("pam"), where)
		service := "dovecot"
		if args := strings.Fields(b.get("args")); len(args) > 0 && !strings.Contains(args[len(args)-1], "=") {
			service = args[len(args)-1]
		}
		if service == "*" || service == "%s" {
			service = "imap"
		}
		if driver == "pam" {
			p.note(where, "the PAM service is mailsrvd; compare /etc/pam.d/mailsrvd with /etc/pam.d/%s", service)
		}
	case "passwd-file":
		args := strings.Fields(b.get("args"))
		path := b.get("passwd_file_path")
		if len(args) > 0 {
			path = args[len(args)-1]
		}
		p.set("auth", "backend", quote("passwd-file"), where)
		p.set("auth.passwd_file", "path", quote(path), where)
		for _, a := range args[:max(len(args)-1, 0)] {
			p.Todo(where, "write {SCHEME} before each hash, and names without domain", "%s has no counterpart", a)
		}
	default:
		p.Todo(where, "make the users known to PAM (pam_ldap, sssd, …), or write them into a passwd-file", "passwords from %q are not supported", driver)
	}
	for _, name := range []string{"deny", "master", "pass"} {
		if b.get(name) == "yes" {
			p.Todo(where, "look who relies on it", "%s = yes has no counterpart", name)
		}
	}
}

func (p *Plan) userdb(b *block, where string) {
	driver := b.get("driver")
	if driver == "" {
		driver = b.arg
	}
	switch driver {
	case "passwd", "passwd-file", "prefetch":
		p.note(where, "accounts come from where passwords are: the system, or the passwd-file")
	case "static":
		p.Todo(where, "with backend = \"passwd-file\": write uid, gid and home into each line of it", "one identity for all mail (%s) is not supported", b.get("args"))
	default:
		p.Todo(where, "make the users system users (sssd, nslcd), or write them into a passwd-file", "accounts from %q are not supported", driver)
	}
}
