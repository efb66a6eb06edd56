package migrate

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/maildir"
)

// dovecot reads Dovecot's configuration, 2.3 or 2.4, into the plan. path is a
// directory with dovecot.conf or a file with the output of doveconf -nP.
func (p *Plan) dovecot(ctx context.Context, path string) error {
	root, err := readDoveconf(ctx, path)
	if err != nil {
		return err
	}
	p.mailLocation(root)
	p.doveSettings(root, "")
	for _, b := range root.blocks {
		p.doveBlock(b)
	}
	p.tlsPair(root, "dovecot", "")
	return nil
}

func (p *Plan) doveBlock(b *block) {
	where := strings.TrimSpace("dovecot " + b.name + " " + b.arg)
	switch b.name {
	case "passdb":
		p.passdb(b, where)
	case "userdb":
		p.userdb(b, where)
	case "namespace":
		p.namespace(b, where)
	case "plugin":
		p.plugins(b)
	case "protocol":
		p.doveSettings(b, b.name+" "+b.arg+"/")
	case "service":
		p.service(b, where)
	case "local_name":
		p.tlsPair(b, where, b.arg)
	case "mailbox": // 2.4 allows it outside of a namespace
		p.specialUse(b, where)
	case "event_exporter", "metric":
		p.note(where, "metrics are Prometheus's own, [listen] metrics")
	default:
		p.Todo(where, "look what it does", "has no counterpart")
	}
}

// reasons are the settings that need no counterpart, with why.
var reasons = map[string]string{
	"log_path info_log_path debug_log_path syslog_facility log_timestamp auth_verbose auth_debug mail_debug verbose_ssl auth_verbose_passwords auth_debug_passwords login_log_format_elements deliver_log_format mail_log_prefix": "the log goes to the journal; [log] level says how much",
	"ssl_dh ssl_cipher_list ssl_cipher_suites ssl_curve_list ssl_prefer_server_ciphers ssl_options ssl_server_dh_file":                                                                                                            "ciphers are Go's choice and stay current with it",
	"ssl_client_ca_dir ssl_client_ca_file ssl_ca": "the system's certificates are used",
	"mail_fsync fsync_disable":                    "every message is on disk before it is acknowledged",
	"mail_privileged_group mail_access_groups mail_uid mail_gid default_internal_user default_login_user default_internal_group":                                                        "mail is read and written with its owner's own rights; no group is needed",
	"auth_cache_size auth_cache_ttl auth_cache_negative_ttl auth_worker_max_count":                                                                                                      "what an authentication costs is bounded by itself",
	"login_greeting mail_server_admin mail_server_comment imap_id_send imap_id_log":                                                                                                     "is not settable",
	"base_dir state_dir login_trusted_networks dovecot_config_version dovecot_storage_version listen instance_name import_environment":                                                  "concerns Dovecot's own processes",
	"default_process_limit default_client_limit default_vsz_limit":                                                                                                                      "there is one process; see [limits]",
	"imap_client_workarounds imap_idle_notify_interval imap_hibernate_timeout imap_logout_format imap_capability imap_fetch_failure":                                                    "clients get what they need by themselves; [imap] disable switches a capability off",
	"maildir_stat_dirs maildir_copy_with_hardlinks maildir_very_dirty_syncs mailbox_list_index mail_cache_fields mail_always_cache_fields mail_nfs_index mail_nfs_storage mmap_disable": "concerns Dovecot's index, which is neither used nor touched",
	"submission_host sendmail_path auth_socket_path lda_original_recipient_header lmtp_hdr_delivery_address lmtp_save_to_detail_mailbox":                                                "delivery is in the same process",
}

func reason(name string) string {
	for names, why := range reasons {
		if slices.Contains(strings.Fields(names), name) {
			return why
		}
	}
	return ""
}

// boolKeys and textKeys are settings with a counterpart of the same meaning.
var (
	boolKeys = map[string][2]string{
		"lda_mailbox_autocreate": {"lda", "mailbox_autocreate"}, "lda_mailbox_autosubscribe": {"lda", "mailbox_autosubscribe"},
		"quota_full_tempfail": {"lda", "quota_full_tempfail"},
	}
	numberKeys = map[string][2]string{"first_valid_uid": {"mail", "min_uid"}, "mail_max_userip_connections": {"limits", "connections_per_user"}}
)

// ownReaders are settings that other methods read.
var ownReaders = []string{
	"mail_location", "mail_driver", "mail_path", "mail_home", "mail_inbox_path", "mail_index_path", "mail_control_path", "mailbox_list_layout", "mailbox_list_utf8", "mailbox_list_storage_escape_char",
	"ssl_cert", "ssl_key", "ssl_server_cert_file", "ssl_server_key_file",
}

func (p *Plan) doveSettings(b *block, prefix string) {
	for _, s := range b.settings {
		where := "dovecot " + prefix + s.name
		if k, ok := boolKeys[s.name]; ok {
			p.set(k[0], k[1], strconv.FormatBool(s.value == "yes"), where)
			continue
		}
		if k, ok := numberKeys[s.name]; ok && isNumber(s.value) {
			p.set(k[0], k[1], s.value, where)
			continue
		}
		if why := reason(s.name); why != "" {
			p.note(where, "%s", why)
			continue
		}
		if slices.Contains(ownReaders, s.name) {
			continue
		}
		p.doveSetting(s, where)
	}
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

func (p *Plan) doveSetting(s doveSetting, where string) {
	switch s.name {
	case "protocols":
		p.protocols(where, s.value)
	case "mail_plugins", "imap_plugins":
		p.mailPlugins(where, s.value)
	case "ssl":
		if s.value == "no" {
			p.Todo(where, "set up the mail programs for TLS", "logins without TLS are never allowed")
		} else {
			p.note(where, "TLS is always needed to log in")
		}
	case "ssl_min_protocol":
		if s.value == "TLSv1.3" {
			p.set("tls", "min_version", quote("1.3"), where)
		} else if s.value != "TLSv1.2" {
			p.Todo(where, "let such clients be replaced", "%s is too old; 1.2 is the least", s.value)
		}
	case "disable_plaintext_auth", "auth_allow_cleartext":
		if (s.name == "disable_plaintext_auth") == (s.value == "no") {
			p.Todo(where, "set up the mail programs for TLS", "passwords are only taken under TLS")
		}
	case "auth_mechanisms":
		for _, m := range strings.Fields(s.value) {
			if m != "plain" && m != "login" {
				p.Todo(where, "set up the mail programs for a plain password under TLS", "%s is not offered, only PLAIN and LOGIN", m)
			}
		}
	case "auth_username_format":
		p.note(where, "a login is lower case, and a local domain after it is dropped; Dovecot used %s", s.value)
	case "recipient_delimiter":
		p.separators(where, s.value)
	case "postmaster_address":
		p.note(where, "mail for postmaster goes where the key postmaster says; was %s", s.value)
	case "hostname":
		if p.hostname == "" {
			p.hostname = s.value
			p.kept(where, "is now hostname")
		}
	case "last_valid_uid", "first_valid_gid", "last_valid_gid":
		p.note(where, "has no counterpart: PAM and min_uid say who may log in")
	default:
		p.Todo(where, "look up what it did", "has no counterpart: %s", s.value)
	}
}

func (p *Plan) protocols(where, value string) {
	for _, name := range strings.Fields(value) {
		switch name {
		case "imap":
		case "lmtp":
			p.set("listen", "lmtp", quote("/run/mailsrvd/lmtp.sock"), where)
		case "pop3":
			p.Todo(where, "move its users to IMAP", "POP3 is not spoken")
		case "sieve":
			p.set("listen", "managesieve", quote(":4190"), where)
		default:
			p.Todo(where, "look up who uses it", "%s is not spoken", name)
		}
	}
}

func (p *Plan) mailPlugins(where, value string) {
	for _, name := range strings.Fields(strings.ReplaceAll(value, "$mail_plugins", "")) {
		switch name {
		case "quota", "imap_quota":
			p.note(where, "%s is built in: [quota]", name)
		case "sieve", "imap_sieve":
			p.note(where, "%s is built in: [sieve]", name)
		case "notify", "mail_log", "listescape", "mail_compress", "imap_compress":
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

// tlsPair takes a certificate over. A file's name follows "<" in 2.3.
func (p *Plan) tlsPair(b *block, where, name string) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := b.get(n); v != "" {
				return strings.TrimSpace(strings.TrimPrefix(v, "<"))
			}
		}
		return ""
	}
	cert, key := first("ssl_server_cert_file", "ssl_cert"), first("ssl_server_key_file", "ssl_key")
	switch {
	case cert == "" && key == "":
	case !filepath.IsAbs(cert) || !filepath.IsAbs(key):
		p.Todo(where+" ssl_key", "give the output of doveconf -nP, or name the files in [tls]", "the name of the key is hidden, or its text stands in the configuration")
	default:
		p.pairs = append(p.pairs, pair{name, cert, key, where + " ssl_cert"})
	}
}

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

var quotaLimit = regexp.MustCompile(`^\*:(?:storage|bytes)=([0-9]+)([kKMGT]?)[bB]?(?::messages=([0-9]+))?$`)

func (p *Plan) plugins(b *block) {
	for _, s := range b.settings {
		where := "dovecot plugin/" + s.name
		switch {
		case s.name == "quota_rule":
			m := quotaLimit.FindStringSubmatch(s.value)
			if m == nil {
				p.Todo(where, "set [quota] storage and messages", "cannot be read: %s", s.value)
				continue
			}
			unit := strings.ToUpper(m[2])
			if unit != "" {
				unit += "i"
			}
			p.set("quota", "storage", quote(m[1]+unit+"B"), where)
			if m[3] != "" {
				p.set("quota", "messages", m[3], where)
			}
		case strings.HasPrefix(s.name, "quota_rule"):
			p.Todo(where, "none is needed, if the folders need no limits of their own", "one limit for all folders: %s", s.value)
		case s.name == "quota":
			p.note(where, "the usage is counted anew, in the file maildirsize; was %s", s.value)
		case strings.HasPrefix(s.name, "sieve"):
			p.note(where, "users' scripts are ~/.dovecot.sieve and those in ~/sieve, and run as they are; was %s", s.value)
		case strings.HasPrefix(s.name, "mail_log_") || strings.HasPrefix(s.name, "fts") || strings.HasPrefix(s.name, "quota_"):
			p.note(where, "is not needed")
		default:
			p.Todo(where, "look up what it did", "has no counterpart: %s", s.value)
		}
	}
}

// service looks for listeners that others use; the rest of a service is about
// Dovecot's own processes.
func (p *Plan) service(b *block, where string) {
	logins := map[string]string{"imap": "imap", "imaps": "imaps"}
	for _, l := range b.blocks {
		at := where + " " + l.name + " " + l.arg
		port, address := l.get("port"), l.get("address")
		switch key := logins[l.arg]; {
		case l.name == "inet_listener" && b.arg == "imap-login" && key != "" && port == "0":
			p.set("listen", key, `""`, at)
		case l.name == "inet_listener" && b.arg == "imap-login" && key != "":
			if port == "" {
				port = map[string]string{"imap": "143", "imaps": "993"}[key]
			}
			var addresses []string
			for _, a := range strings.Fields(strings.ReplaceAll(address, ",", " ")) {
				addresses = append(addresses, strings.ReplaceAll(a, "*", "")+":"+port)
			}
			if len(addresses) == 0 {
				addresses = []string{":" + port}
			}
			p.set("listen", key, "["+quoted(addresses)+"]", at)
		case l.name == "unix_listener" && b.arg == "lmtp":
			p.Todo(at, "let the sending program connect to /run/mailsrvd/lmtp.sock", "the socket has another name")
		case l.name == "inet_listener":
			p.Todo(at, "look who connects to it", "has no counterpart")
		case b.arg == "auth" && strings.Contains(l.arg, "chasquid"):
			p.note(at, "is not needed without chasquid")
		case b.arg == "auth" && strings.Contains(l.arg, "/"):
			p.Todo(at, "look which program asks Dovecot for passwords; it can log in by IMAP or SMTP instead", "there is no authentication socket for other programs")
		}
	}
	if len(b.settings) > 0 {
		p.note(where, "concerns Dovecot's own processes")
	}
}
