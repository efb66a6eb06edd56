package migrate

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/lda/sieve"
)

// scripts are the administrator's filters around users' own, by the number at the
// end of their setting's name.
type scripts map[int]setting

// sieveNumber is sieve_before, sieve_before2 and so on.
var sieveNumber = regexp.MustCompile(`^sieve_(before|after)([0-9]*)$`)

// isSieve reports whether a setting is Pigeonhole's.
func isSieve(name string) bool {
	return name == "sieve" || strings.HasPrefix(name, "sieve_") || strings.HasPrefix(name, "imapsieve_") || strings.HasPrefix(name, "managesieve_")
}

// sieve reads a setting of Pigeonhole: in plugin { } of Dovecot 2.3, or at the top
// of 2.4.
func (p *Plan) sieve(name, value, where string) {
	if m := sieveNumber.FindStringSubmatch(name); m != nil {
		n, _ := strconv.Atoi(m[2])
		p.around(m[1], n, value, where)
		return
	}
	switch {
	case name == "sieve":
		path, options, _ := strings.Cut(value, ";")
		active := "~/.dovecot.sieve"
		if a, ok := strings.CutPrefix(options, "active="); ok {
			active = a
		} else if file := strings.TrimPrefix(path, "file:"); strings.HasSuffix(file, ".sieve") {
			path, active = "~/sieve", file // the older form names the active script alone
		}
		p.ownScripts(where, path, active)
	case name == "sieve_dir":
		p.ownScripts(where, value, "~/.dovecot.sieve")
	case name == "sieve_default", name == "sieve_global_path":
		p.script("default", value, where)
	case name == "sieve_global", name == "sieve_global_dir":
		p.script("global_dir", value, where)
	case name == "sieve_max_redirects" && isNumber(value):
		p.set("sieve", "redirects", value, where)
	case name == "sieve_extensions", name == "sieve_global_extensions":
		p.sieveExtensions(where, value)
	case name == "managesieve_sieve_capability": // found out by Dovecot itself
		if unknown := unknownExtensions(value); len(unknown) > 0 {
			p.note(where, "scripts cannot use %s; a user's script that does is among the todos", strings.Join(unknown, ", "))
		}
	case strings.HasPrefix(name, "managesieve_"):
		p.note(where, "is not settable")
	case strings.HasPrefix(name, "imapsieve_"), name == "sieve_plugins" && strings.Contains(value, "imapsieve"):
		p.Todo(where, "let people or a cron job do what it does, such as teaching the spam filter", "scripts run when mail is delivered, not when it is moved or copied; was %s", value)
	case name == "sieve_plugins", strings.HasPrefix(name, "sieve_pipe_"), strings.HasPrefix(name, "sieve_filter_"), strings.HasPrefix(name, "sieve_execute_"):
		p.Todo(where, "let a program read the mailbox by IMAP, or a filter of [[inbound.filter]] judge the mail", "scripts run no programs; was %s", value)
	case strings.HasPrefix(name, "sieve_max_"), strings.HasPrefix(name, "sieve_quota_"), strings.HasPrefix(name, "sieve_trace_"), name == "sieve_user_log", name == "sieve_default_name":
		p.note(where, "limits are our own, and mistakes are told in ~/.dovecot.sieve.log")
	default:
		p.Todo(where, "look up what it did", "has no counterpart: %s", value)
	}
}

// ownScripts compares where users keep their scripts with where we read them.
func (p *Plan) ownScripts(where, dir, active string) {
	if d := ourPath(strings.TrimPrefix(dir, "file:")); strings.TrimSuffix(d, "/") != "~/sieve" || ourPath(active) != "~/.dovecot.sieve" {
		p.Todo(where, "make links: ~/.dovecot.sieve to the active script of each user, ~/sieve to the directory",
			"users' scripts are looked for in ~/.dovecot.sieve and ~/sieve, not in %s and %s", active, strings.TrimPrefix(dir, "file:"))
		return
	}
	p.note(where, "users' scripts are run from the same place, ~/.dovecot.sieve; sieve check FILE looks at one")
}

// script sets a path of [sieve].
func (p *Plan) script(key, value, where string) {
	if path, ok := p.scriptPath(value, where); ok {
		p.set("sieve", key, quote(path), where)
	}
}

// scriptPath is the file or directory of a location as Pigeonhole writes it.
func (p *Plan) scriptPath(value, where string) (string, bool) {
	path, _, _ := strings.Cut(strings.TrimPrefix(value, "file:"), ";")
	if !filepath.IsAbs(path) || strings.Contains(path, "%") {
		p.Todo(where, "put it into a file of its own and name that in [sieve]", "is no path of a file for all users: %s", value)
		return "", false
	}
	return path, true
}

// around notes a script, or all those of a directory, before or after users' own.
func (p *Plan) around(key string, n int, value, where string) {
	path, ok := p.scriptPath(value, where)
	if !ok {
		return
	}
	list := quote(path)
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		files, _ := filepath.Glob(filepath.Join(path, "*.sieve")) // sorted, as Pigeonhole takes them
		list = quoted(files)
		p.Todo(where, "add further ones to [sieve] "+key, "scripts are named one by one, and a directory's are those of today")
	}
	if p.scripts == nil {
		p.scripts = map[string]scripts{}
	}
	if p.scripts[key] == nil {
		p.scripts[key] = scripts{}
	}
	for p.scripts[key][n].key != "" {
		n++ // of 2.4, where the order is that of the file
	}
	p.scripts[key][n] = setting{"sieve", key, list, where}
}

// setScripts turns what around has noted into settings.
func (p *Plan) setScripts() {
	for _, key := range []string{"before", "after"} {
		var lists, origins []string
		for _, n := range slices.Sorted(maps.Keys(p.scripts[key])) {
			s := p.scripts[key][n]
			if s.value != "" {
				lists, origins = append(lists, s.value), append(origins, s.origin)
			}
		}
		if len(lists) > 0 {
			p.set("sieve", key, "["+strings.Join(lists, ", ")+"]", strings.Join(origins, ", "))
		}
	}
}

// unknownExtensions are those of a list that we have not; "+name" and "-name" switch
// one on or off.
func unknownExtensions(list string) []string {
	ours := sieve.Options{}.Extensions()
	var unknown []string
	for _, word := range strings.Fields(list) {
		name, off := strings.CutPrefix(word, "-")
		if name = strings.TrimPrefix(name, "+"); !off && !slices.Contains(ours, name) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

func (p *Plan) sieveExtensions(where, value string) {
	if unknown := unknownExtensions(value); len(unknown) > 0 {
		p.Todo(where, "look for scripts that need it: grep -l "+quote(unknown[0])+" /home/*/sieve/*", "scripts cannot use %s", strings.Join(unknown, ", "))
		return
	}
	p.note(where, "all extensions that are named are always there")
}

// sieveScript reads a section sieve_script of Dovecot 2.4.
func (p *Plan) sieveScript(b *block, where string) {
	path := b.get("sieve_script_path")
	if path == "" {
		path = b.get("path")
	}
	typ := b.get("sieve_script_type")
	if typ == "" {
		typ = b.get("type")
	}
	switch typ {
	case "", "personal":
		active := b.get("sieve_script_active_path")
		if active == "" {
			if active = b.get("active_path"); active == "" {
				active = "~/.dovecot.sieve"
			}
		}
		p.ownScripts(where, path, active)
	case "before", "after":
		p.around(typ, 0, path, where)
	case "default":
		p.script("default", path, where)
	case "global":
		p.script("global_dir", path, where)
	default:
		p.Todo(where, "look what it does", "has no counterpart: %s", fmt.Sprintf("type %s, %s", typ, path))
	}
}
