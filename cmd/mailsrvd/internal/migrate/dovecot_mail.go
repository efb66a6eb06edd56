package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"svc.plus/mailsrvd/maildir"
)

// mailLocation reads where the mail is, in the form of 2.3 or of 2.4.
func (p *Plan) mailLocation(root *block) {
	const where = "dovecot mail_location"
	parts := strings.Split(root.get("mail_location"), ":")
	if path := root.get("mail_path"); path != "" {
		parts = []string{root.get("mail_driver"), path}
		for name, option := range map[string]string{"mail_inbox_path": "INBOX", "mail_index_path": "INDEX", "mail_control_path": "CONTROL"} {
			if v := root.get(name); v != "" {
				parts = append(parts, option+"="+v)
			}
		}
		if l := root.get("mailbox_list_layout"); l != "" && l != "maildir++" {
			parts = append(parts, "LAYOUT="+l)
		}
	}
	if root.get("mailbox_list_utf8") == "yes" {
		parts = append(parts, "UTF-8")
	}
	switch {
	case len(parts) < 2:
		p.Todo(where, "set [mail] location", "is not set; Dovecot then guesses, and we take ~/Maildir")
		return
	case parts[0] != "maildir":
		p.Todo(where, "convert first, with Dovecot: doveadm sync -A maildir:~/Maildir", "the mail is in the format %s, and only Maildir is read", parts[0])
		return
	}
	if root.get("mail_home") != "" {
		p.Todo("dovecot mail_home", "check [mail] location", "the home directory is that of the user's account")
	}
	location := ourPath(parts[1])
	if strings.Contains(strings.NewReplacer("%u", "", "%n", "").Replace(location), "%") {
		p.Todo(where, "set [mail] location; it knows %u for the user's name, and ~/", "%s has variables that we do not know", parts[1])
		location = "~/Maildir"
	}
	p.set("mail", "location", quote(location), where)
	for _, option := range parts[2:] {
		name, value, _ := strings.Cut(option, "=")
		switch {
		case name == "INDEX":
			p.note(where, "Dovecot's index in %s is neither used nor touched", value)
		case name == "CONTROL":
			p.Todo(where, "move the files of each user's CONTROL directory into his Maildir before the switch", "UIDs, subscriptions and keywords must be in the Maildir, not in %s", value)
		case name == "INBOX" && ourPath(value) == ourPath(parts[1]):
		default:
			p.Todo(where, "convert first, with Dovecot: doveadm sync -A maildir:~/Maildir", "%s is not supported", option)
		}
	}
}

var doveVariable = regexp.MustCompile(`%\{user\}|%\{user ?\| ?username\}|%\{home\}|%h|%Lu|%Ln`)

// ourPath turns Dovecot's variables into ours.
func ourPath(s string) string {
	return doveVariable.ReplaceAllStringFunc(s, func(v string) string {
		switch v {
		case "%{home}", "%h":
			return "~"
		case "%{user}", "%Lu":
			return "%u"
		}
		return "%n"
	})
}

func (p *Plan) namespace(b *block, where string) {
	if b.get("inbox") != "yes" {
		p.Todo(where, "tell the users: its folders will be missing", "there is one namespace, with the user's own folders; location %s, type %s", b.get("location"), b.get("type"))
		return
	}
	if s := b.get("separator"); s != "" {
		p.set("imap", "separator", quote(s), where+" separator")
	}
	if prefix := b.get("prefix"); prefix != "" {
		p.Todo(where+" prefix", "tell the users: clients with a fixed prefix must drop it, others find the folders by themselves", "folder names have no prefix; was %q", prefix)
	}
	for _, m := range b.blocks {
		if m.name == "mailbox" {
			p.specialUse(m, where+" mailbox "+m.arg)
		}
	}
	known := []string{"inbox", "separator", "prefix", "location", "list", "subscriptions", "type", "hidden"}
	for _, s := range b.settings {
		if !slices.Contains(known, s.name) {
			p.Todo(where+" "+s.name, "look up what it did", "has no counterpart: %s", s.value)
		}
	}
}

func (p *Plan) specialUse(m *block, where string) {
	if use := m.get("special_use"); use != "" && maildir.UsualUse(m.arg) != use {
		p.Todo(where, fmt.Sprintf("let each user's client set it (SETMETADATA %q (/private/specialuse %q))", m.arg, use), "the use %s is known by the usual names only", use)
	}
	if m.get("autoexpunge") != "" {
		p.Todo(where+" autoexpunge", "let the mail programs do it, or a cron job with find", "old messages are not deleted by themselves")
	}
	if auto := m.get("auto"); auto == "create" || auto == "subscribe" {
		p.note(where+" auto", "clients make such folders when they need them; those that exist stay")
	}
}
