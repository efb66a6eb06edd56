package passwdfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/asuser"
)

// Entry is one account of the file.
type Entry struct {
	// Name is the first field.
	Name string
	// Password is the second field with its scheme, "{SCHEME}hash". Empty, "*"
	// and "!" mean that nobody may log in; mail is delivered all the same.
	Password string
	// UID and GID are what mail is kept with; both -1 for the daemon's own
	// identity.
	UID, GID int
	// Gecos is free text.
	Gecos string
	// Home is an absolute path.
	Home string
	// Maildir is from the extra field userdb_mail, as auth.Account has it.
	Maildir string
	// NoLogin is the extra field nologin.
	NoLogin bool
	// Quota is from the extra field userdb_quota_rule; nil if there is none.
	Quota *Quota
	// Line is where the entry stands in the file, from 1.
	Line int

	hash hash // nil: no login
}

// String gives the line of the file, without its end.
func (e Entry) String() string {
	id := func(n int) string {
		if n < 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	extra := []string{}
	if e.Maildir != "" {
		extra = append(extra, "userdb_mail=maildir:"+e.Maildir)
	}
	if e.NoLogin {
		extra = append(extra, "nologin")
	}
	if e.Quota != nil {
		extra = append(extra, fmt.Sprintf("userdb_quota_rule=*:bytes=%d:messages=%d", e.Quota.Storage, e.Quota.Messages))
	}
	return strings.Join([]string{e.Name, e.Password, id(e.UID), id(e.GID), e.Gecos, e.Home, "", strings.Join(extra, " ")}, ":")
}

func (e Entry) account() auth.Account {
	a := auth.Account{Name: e.Name, Maildir: e.Maildir}
	if e.UID < 0 {
		a.Owner, a.Self = asuser.Self(e.Name, e.Home), true
		return a
	}
	a.Owner = asuser.Owner{Name: e.Name, UID: e.UID, GID: e.GID, Home: e.Home}
	return a
}

// parsed is what a file holds. Problems and warnings begin with the line
// number and a colon.
type parsed struct {
	users              map[string]Entry
	problems, warnings []string
}

// parse reads the whole text. Empty lines and lines that begin with # are
// skipped, as Dovecot does.
func parse(text, homes string) parsed {
	p := parsed{users: make(map[string]Entry)}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		l := lineParser{line: n, homes: homes}
		e := l.entry(line)
		if first, dup := p.users[e.Name]; dup && e.Name != "" {
			l.problem("%q stands on line %d already", e.Name, first.Line)
		}
		p.problems = append(p.problems, l.problems...)
		p.warnings = append(p.warnings, l.warnings...)
		p.users[e.Name] = e
	}
	return p
}

// lineParser collects what is wrong with one line.
type lineParser struct {
	line               int
	homes              string
	problems, warnings []string
}

func (l *lineParser) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Sprintf("%d: ", l.line)+fmt.Sprintf(format, args...))
}

func (l *lineParser) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf("%d: ", l.line)+fmt.Sprintf(format, args...))
}

// entry reads "user:password:uid:gid:gecos:home:shell:extra". The extra fields
// may hold colons.
func (l *lineParser) entry(line string) Entry {
	f := strings.SplitN(line, ":", 8)
	for len(f) < 8 {
		f = append(f, "")
	}
	e := Entry{Name: f[0], Password: f[1], Gecos: f[4], Line: l.line}
	l.name(e.Name)
	e.hash = l.password(e.Password)
	e.UID, e.GID = l.ids(f[2], f[3])
	e.Home = l.home(e.Name, f[5])
	l.extra(&e, f[7])
	return e
}

func (l *lineParser) name(s string) {
	switch {
	case s == "":
		l.problem("the user name is empty")
	case s == "." || s == ".." || s[0] == '-' || !utf8.ValidString(s) || strings.Contains(s, "/") || strings.ContainsFunc(s, unicode.IsControl):
		l.problem("%q cannot be a user name", s)
	case strings.Contains(s, "@"):
		l.problem("%q has a domain: write the part before the @ alone, for all local domains", s)
	}
}

// password reads the second field. The problem texts never hold the hash.
func (l *lineParser) password(s string) hash {
	if s == "" || s[0] == '*' || s[0] == '!' {
		return nil
	}
	h, err := parseHash(s)
	if err != nil {
		l.problem("password: %v", err)
		return nil
	}
	if w := h.weakness(); w != "" {
		l.warn("password: %s", w)
	}
	return h
}

// ids reads uid and gid: both numbers, or both empty for the daemon's own.
func (l *lineParser) ids(uid, gid string) (int, int) {
	if uid == "" && gid == "" {
		return -1, -1
	}
	u, uerr := strconv.ParseUint(uid, 10, 31)
	g, gerr := strconv.ParseUint(gid, 10, 31)
	if uerr != nil || gerr != nil {
		l.problem("uid %q and gid %q: two numbers are needed, or both empty for the daemon's own", uid, gid)
		return -1, -1
	}
	if int(u) != os.Geteuid() && (u == 0 || g == 0) {
		l.problem("uid %d, gid %d: mail is not kept as root", u, g)
	}
	return int(u), int(g)
}

func (l *lineParser) home(name, home string) string {
	switch {
	case home == "" && l.homes != "":
		return filepath.Join(l.homes, name)
	case home == "":
		l.problem("the home directory (field 6) is empty")
	case !strings.HasPrefix(home, "/"):
		l.problem("the home directory %q is not absolute", home)
	}
	return home
}

// extra reads the last field: words separated by spaces, of which we know a
// few and tell about the others, since they may have been meant as a limit.
func (l *lineParser) extra(e *Entry, s string) {
	for _, word := range strings.Fields(s) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "userdb_mail":
			e.Maildir = l.maildir(value)
		case "nologin":
			e.NoLogin = value == "" || value == "yes" || value == "y" || value == "1"
		case "userdb_quota_rule":
			q, err := parseQuotaRule(value)
			if err != nil {
				l.problem("userdb_quota_rule: %v", err)
			}
			e.Quota = q
		case "userdb_quota_storage_size":
			l.warn("%s is not used: quota is set in the configuration", key)
		case "allow_nets":
			l.warn("allow_nets is not used: this account may log in from everywhere")
		default:
			l.warn("extra field %q is not used", key)
		}
	}
}

// maildir takes Dovecot's mail location; only Maildir without parameters has a
// meaning here.
func (l *lineParser) maildir(location string) string {
	path, params, _ := strings.Cut(strings.TrimPrefix(location, "maildir:"), ":")
	if params != "" {
		l.warn("userdb_mail: the parameters %q are not used", params)
	}
	if !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "~/") {
		l.problem("userdb_mail: %q is neither absolute nor below ~/", location)
	}
	return path
}
