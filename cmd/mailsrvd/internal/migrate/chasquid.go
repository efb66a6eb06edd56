package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/dkim"
)

// chasquid reads chasquid's configuration directory into the plan.
func (p *Plan) chasquid(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := p.chasquidConf(filepath.Join(dir, "chasquid.conf")); err != nil {
		return err
	}
	domains, err := subdirs(filepath.Join(dir, "domains"))
	if err != nil {
		return fmt.Errorf("chasquid's domains: %w", err)
	}
	for _, d := range domains {
		p.addDomain(d)
		p.kept(filepath.Join(dir, "domains", d), "is a local domain")
		if err := p.chasquidDomain(dir, d); err != nil {
			return err
		}
	}
	certs, err := subdirs(filepath.Join(dir, "certs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("chasquid's certificates: %w", err)
	}
	for _, name := range certs {
		p.chasquidCert(filepath.Join(dir, "certs", name), name)
	}
	p.chasquidHooks(filepath.Join(dir, "hooks"))
	return nil
}

// subdirs lists directories, and links to such.
func subdirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if fi, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && fi.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// listener is one of chasquid's listeners, with our name and the address that
// systemd's socket of it has.
type listener struct{ name, key, usual string }

var listeners = []listener{
	{"smtp_address", "mx", ":25"},
	{"submission_address", "submission", ":587"},
	{"submission_over_tls_address", "submissions", ":465"},
	{"monitoring_address", "metrics", ""},
}

func (p *Plan) chasquidConf(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("chasquid's configuration: %w", err)
	}
	fields, err := parseTextproto(string(text))
	if err != nil {
		return fmt.Errorf("chasquid's configuration %s: %w", path, err)
	}
	dropped, data, auth := ".", "/var/lib/chasquid", "false"
	addresses := map[string][]string{}
	var mda string
	for _, f := range fields {
		where := fmt.Sprintf("%s:%d %s", path, f.line, f.key)
		switch i := slices.IndexFunc(listeners, func(l listener) bool { return l.name == f.key }); {
		case i >= 0:
			if f.value == "systemd" {
				f.value = listeners[i].usual
			}
			addresses[f.key] = append(addresses[f.key], f.value)
		case f.key == "hostname":
			p.hostname = strings.ToLower(f.value)
			p.kept(where, "is now hostname")
		case f.key == "max_data_size_mb":
			p.set("mail", "message_size_limit", quote(f.value+"MiB"), where)
		case f.key == "suffix_separators":
			p.separators(where, f.value)
		case f.key == "drop_characters":
			dropped = f.value
		case f.key == "data_dir":
			data = f.value
		case f.key == "dovecot_auth":
			auth = f.value
		case f.key == "mail_delivery_agent_bin":
			mda = f.value
		case f.key == "haproxy_incoming" && f.value == "true":
			p.Todo(where, "let the proxy go, or let it pass packets on", "the PROXY protocol is not spoken")
		case f.key == "give_up_send_after":
			p.set("queue", "max_age", quote(f.value), where)
		case f.key == "max_queue_items":
			p.note(where, "the queue takes what the disk takes; [submission] bounds what one user sends")
		case f.key == "mail_log_path":
			p.note(where, "the log goes to the journal: journalctl -u mailsrvd")
		case slices.Contains([]string{"mail_delivery_agent_args", "dovecot_userdb_path", "dovecot_client_path", "haproxy_incoming"}, f.key):
			p.note(where, "is not needed: delivery and authentication are in the same process")
		default:
			p.Todo(where, "look up what it did", "is not known here")
		}
	}
	for _, l := range listeners {
		if a := addresses[l.name]; len(a) > 0 && !slices.Equal(a, []string{l.usual}) {
			p.set("listen", l.key, "["+quoted(a)+"]", path+" "+l.name)
		}
	}
	if mda != "" && !slices.Contains([]string{"dovecot-lda", "deliver", "mda-lmtp"}, filepath.Base(mda)) {
		p.Todo(path+" mail_delivery_agent_bin", "move what it filters into Sieve scripts", "mail is stored directly, %s is not called", mda)
	}
	if auth != "true" {
		p.note(path+" dovecot_auth", "chasquid did not ask Dovecot for passwords; now all passwords come from [auth]")
	}
	if dropped != "" {
		p.Todo(path+" drop_characters", "add an alias for each address that is in use with them, as in \"first.last: firstlast\"",
			"chasquid ignores %q in the user part of addresses; here they count", dropped)
	}
	p.note("/etc/aliases", "applies here too, after the domains' own aliases; chasquid did not read it")
	p.queued = queuedMessages(filepath.Join(data, "queue"))
	return nil
}

func (p *Plan) separators(where, value string) {
	switch len(value) {
	case 0, 1:
		p.set("mail", "recipient_delimiter", quote(value), where)
	default:
		p.set("mail", "recipient_delimiter", quote(value[:1]), where)
		p.Todo(where, "tell the users who have such addresses", "only %q separates the detail of an address; %q no longer does", value[:1], value[1:])
	}
}

func queuedMessages(dir string) int {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0 // not the machine's own configuration, or nothing was ever sent
	}
	return len(entries)
}

func (p *Plan) chasquidDomain(dir, domain string) error {
	at := filepath.Join(dir, "domains", domain)
	entries, err := os.ReadDir(at)
	if err != nil {
		return fmt.Errorf("chasquid's domain %s: %w", domain, err)
	}
	for _, e := range entries {
		path := filepath.Join(at, e.Name())
		selector, isKey := strings.CutPrefix(e.Name(), "dkim:")
		selector, isPEM := strings.CutSuffix(selector, ".pem")
		switch {
		case e.Name() == "aliases":
			err = p.chasquidAliases(path, domain)
		case e.Name() == "users":
			err = p.chasquidUsers(path, domain)
		case isKey && isPEM:
			err = p.signingKey(path, domain, selector)
		case e.Name() == "dkim_selector": // of the example hook, which signs with an outside program
			err = p.hookKey(path, filepath.Join(dir, "certs", domain, "dkim_privkey.pem"), domain)
		default:
			p.Todo(path, "look up what it was for", "is not known here")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Plan) hookKey(selectorFile, key, domain string) error {
	selector, err := os.ReadFile(selectorFile)
	if err != nil {
		return fmt.Errorf("the DKIM selector of %s: %w", domain, err)
	}
	return p.signingKey(key, domain, strings.TrimSpace(string(selector)))
}

// signingKey copies a DKIM key, so that chasquid's directory can go one day.
func (p *Plan) signingKey(path, domain, selector string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the DKIM key of %s: %w", domain, err)
	}
	if _, err := dkim.ParseKey(data); err != nil {
		p.Todo(path, "make a new one: mailsrvd dkim genkey "+domain, "is no key that we can sign with: %v", err)
		return nil
	}
	name := fmt.Sprintf("dkim/%s.%s.key", domain, selector)
	p.Files = append(p.Files, File{Name: name, Data: data, Secret: true})
	p.tables = append(p.tables, table{"dkim", []setting{{key: "domain", value: quote(domain)}, {key: "selector", value: quote(selector)}, {key: "key", value: quote(name)}}, path})
	p.kept(path, "signs as selector %s of %s, with a copy in %s; the DNS stays as it is", selector, domain, name)
	return nil
}

// userName finds the names in chasquid's users file, a text of nested messages.
var userName = regexp.MustCompile(`(?m)\bkey:\s*"([^"]+)"`)

func (p *Plan) chasquidUsers(path, domain string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("chasquid's users of %s: %w", domain, err)
	}
	for _, m := range userName.FindAllStringSubmatch(string(text), -1) {
		p.Todo(path, fmt.Sprintf("make sure that %s is a system user who may log in by PAM: mailsrvd auth test %s", m[1], m[1]),
			"the password of %s@%s is in chasquid's own form, which only chasquid reads", m[1], domain)
	}
	return nil
}

// chasquidAliases turns "user: a, b@c" lines, which are nearly ours, into an
// alias file of the domain.
func (p *Plan) chasquidAliases(path, domain string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("chasquid's aliases of %s: %w", domain, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# From %s\n", path)
	n, at := 0, 0
	for line := range strings.Lines(string(text)) {
		n++
		where := fmt.Sprintf("%s:%d", path, n)
		line = strings.TrimSpace(line)
		name, targets, ok := strings.Cut(line, ":")
		name, targets = strings.TrimSpace(name), strings.TrimSpace(targets)
		switch {
		case line == "" || line[0] == '#':
			fmt.Fprintln(&b, line)
		case !ok || name == "" || targets == "":
			p.Todo(where, "mend it by hand", "is no alias: %q", line)
		case strings.HasPrefix(targets, "|"):
			program, _, _ := strings.Cut(strings.TrimSpace(targets[1:]), " ")
			p.Todo(where, fmt.Sprintf("to go on with it, add pipe_programs = [%q] to [aliases], and take the # away before %s in aliases.%s", program, name, domain),
				"%s runs a program, which must be allowed here, and then runs as nobody", name)
			fmt.Fprintf(&b, "# %s: %s\n", name, targets)
		default:
			at++
			p.postmaster = p.postmaster || strings.EqualFold(name, "postmaster")
			fmt.Fprintf(&b, "%s: %s\n", strings.ToLower(name), targets)
		}
	}
	if at == 0 {
		return nil
	}
	name := "aliases." + domain
	p.Files = append(p.Files, File{Name: name, Data: []byte(b.String())})
	p.tables = append(p.tables, table{"aliases.domain", []setting{{key: "domain", value: quote(domain)}, {key: "file", value: quote(name)}}, path})
	p.kept(path, "%s", strconv.Itoa(at)+" aliases are now in "+name)
	return nil
}

// chasquidCert takes a pair over. Where chasquid's directory is a link to
// certbot's, ours leads there directly.
func (p *Plan) chasquidCert(dir, name string) {
	cert, key := linkEnd(filepath.Join(dir, "fullchain.pem")), linkEnd(filepath.Join(dir, "privkey.pem"))
	if _, err := os.Stat(cert); err != nil {
		p.Todo(dir, "name the certificate in [tls] yourself", "has no certificate: %v", err)
		return
	}
	p.pairs = append(p.pairs, pair{name, cert, key, dir})
}

// linkEnd follows a link of the directory, then one of the file: as far as
// certbot's live directory, whose own links change at each renewal.
func linkEnd(path string) string {
	path = filepath.Join(follow(filepath.Dir(path)), filepath.Base(path))
	if end := follow(path); !strings.Contains(end, "/archive/") {
		return end
	}
	return path
}

func follow(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return path
	}
	if !filepath.IsAbs(target) {
		return filepath.Join(filepath.Dir(path), target)
	}
	return target
}

func (p *Plan) chasquidHooks(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		fi, err := os.Stat(path)
		if err != nil || fi.IsDir() || fi.Mode().Perm()&0o111 == 0 {
			continue
		}
		switch e.Name() {
		case "post-data":
			p.Todo(path, "look what it does: DKIM signing, SPF, DKIM and DMARC checks are built in"+hookPrograms(path), "hooks are not run")
		case "alias-resolve", "alias-exists":
			p.Todo(path, "write the aliases into a file of [aliases]", "hooks are not run")
		default:
			p.Todo(path, "look what it does", "hooks are not run")
		}
	}
}

// hookCalls are programs that hooks call, with what there is in their place.
var hookCalls = []struct{ name, instead string }{
	{"rspamc", "connect rspamd by [[inbound.filter]]"},
	{"spamc", "connect SpamAssassin by spamass-milter and [[inbound.filter]]"},
	{"clamdscan", "connect clamav-milter by [[inbound.filter]]"},
	{"clamscan", "connect clamav-milter by [[inbound.filter]]"},
	{"greylistc", "set [inbound.greylist]"},
}

// hookPrograms says what to do about the programs that a hook names.
func hookPrograms(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	out := ""
	for _, c := range hookCalls {
		if regexp.MustCompile(`\b` + c.name + `\b`).Match(text) {
			out += "; in place of " + c.name + " " + c.instead
		}
	}
	return out
}
