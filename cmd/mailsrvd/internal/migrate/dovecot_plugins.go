package migrate

import (
	"regexp"
	"strings"
)

func (p *Plan) mailPlugins(where, value string) {
	for _, name := range strings.Fields(strings.ReplaceAll(value, "$mail_plugins", "")) {
		switch name {
		case "quota", "imap_quota":
			p.note(where, "%s is built in: [quota]", name)
		case "sieve":
			p.note(where, "users' filter scripts are run: [sieve]")
		case "imap_sieve":
			p.Todo(where, "let people or a cron job do what its scripts do, such as teaching the spam filter", "imap_sieve: scripts run when mail is delivered, not when it is moved or copied")
		case "listescape":
			p.escapeChar(where, `\`)
		case "notify", "mail_log", "mail_compress", "imap_compress":
			p.note(where, "%s is not needed", name)
		case "fts", "fts_flatcurve", "fts_lucene", "fts_solr", "fts_xapian", "fts_squat":
			p.note(where, "%s: searches have an index of their own", name)
		case "zlib":
			p.Todo(where, "if zlib_save is set, unpack the messages first: doveadm sync to a Maildir without it", "compressed messages cannot be read")
		case "mail_crypt":
			p.Todo(where, "decrypt the messages first: doveadm sync to a Maildir without it", "encrypted messages cannot be read")
		case "acl", "imap_acl", "virtual":
			p.Todo(where, "tell the users: each sees only folders of his own", "%s: there are no shared folders", name)
		default:
			p.Todo(where, "look up what it does", "the plug-in %s has no counterpart", name)
		}
	}
}

// escapeChar is about names of folders that hold the separator.
func (p *Plan) escapeChar(where, char string) {
	p.Todo(where, "rename such folders before the switch: find /home/*/Maildir -maxdepth 1 -name '.*"+strings.ReplaceAll(char, `\`, `\\`)+"2e*'",
		"a folder with a dot in its name keeps it as %s2e on disk, and is shown so", char)
}

// plugins reads plugin { }.
func (p *Plan) plugins(b *block) {
	for _, s := range b.settings {
		where := "dovecot plugin/" + s.name
		switch {
		case isSieve(s.name):
			p.sieve(s.name, s.value, where)
		case strings.HasPrefix(s.name, "quota"):
			p.quota(s.name, s.value, where)
		case strings.HasPrefix(s.name, "mail_log_") || strings.HasPrefix(s.name, "fts"):
			p.note(where, "is not needed")
		default:
			p.Todo(where, "look up what it did", "has no counterpart: %s", s.value)
		}
	}
}

// quota reads a setting of the quota plug-in.
func (p *Plan) quota(name, value, where string) {
	switch {
	case name == "quota":
		p.note(where, "the usage is counted anew, in the file maildirsize; was %s", value)
	case name == "quota_rule":
		p.quotaRule(value, where)
	case strings.HasPrefix(name, "quota_rule"):
		p.Todo(where, "none is needed, if the folders need no limits of their own", "one limit for all folders: %s", value)
	case name == "quota_storage_size": // of 2.4
		p.quotaRule("*:bytes="+value, where)
	case name == "quota_message_count":
		p.quotaRule("*:messages="+value, where)
	case name == "quota_vsizes", strings.HasPrefix(name, "quota_status_"):
		p.note(where, "is not needed")
	default:
		if m := quotaWarning.FindStringSubmatch(value); m != nil && strings.HasPrefix(name, "quota_warning") {
			p.set("quota", "warning", m[1], where)
			return
		}
		p.Todo(where, "look up what it did", "has no counterpart: %s", value)
	}
}

var (
	quotaWarning = regexp.MustCompile(`^(?:storage|messages|bytes)=([0-9]+)%`)
	quotaLimit   = regexp.MustCompile(`^(storage|bytes|messages)=([0-9]+)([bkmgtBKMGT]?)[bB]?$`)
)

// quotaRule reads "*:storage=2G:messages=5000". storage without a unit is in
// KiB.
func (p *Plan) quotaRule(value, where string) {
	folder, limits, _ := strings.Cut(value, ":")
	var read [][]string
	for l := range strings.SplitSeq(limits, ":") {
		m := quotaLimit.FindStringSubmatch(l)
		if m == nil || folder != "*" && folder != "?" || m[1] == "messages" && m[3] != "" {
			p.Todo(where, "set [quota] storage and messages", "cannot be read: %s", value)
			return
		}
		read = append(read, m)
	}
	for _, m := range read {
		unit := strings.ToUpper(m[3])
		switch {
		case strings.Trim(m[2], "0") == "":
			p.note(where, "no limit of %s", m[1])
			continue
		case m[1] == "messages":
			p.set("quota", "messages", m[2], where)
			continue
		case unit == "" && m[1] == "storage":
			unit = "KiB"
		case unit == "" || unit == "B":
			unit = "B"
		default:
			unit += "iB"
		}
		p.set("quota", "storage", quote(m[2]+unit), where)
	}
}

// quotaRoot reads a section quota of Dovecot 2.4.
func (p *Plan) quotaRoot(b *block, where string) {
	p.note(where, "the usage is counted anew, in the file maildirsize")
	for _, s := range b.settings {
		if strings.HasPrefix(s.name, "quota_") {
			p.quota(s.name, s.value, where+" "+s.name)
		}
	}
	for _, w := range b.blocks {
		if percent := w.get("quota_storage_percentage"); w.name == "quota_warning" && isNumber(percent) {
			p.set("quota", "warning", percent, where+" "+w.name)
		}
	}
}
