package migrate

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	case "sieve_script": // of 2.4
		p.sieveScript(b, where)
	case "quota": // of 2.4
		p.quotaRoot(b, where)
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
	"base_dir state_dir dovecot_config_version dovecot_storage_version listen instance_name import_environment":                                                                         "concerns Dovecot's own processes",
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
	"mail_location", "mail_driver", "mail_path", "mail_home", "mail_inbox_path", "mail_index_path", "mail_control_path", "mailbox_list_layout", "mailbox_list_utf8",
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
	case "login_trusted_networks":
		p.Todo(where, "add them to [limits] trusted, if they are monitoring or a webmail of yours; TLS is needed from there, too", "has no counterpart of quite the same meaning: %s", s.value)
	case "mailbox_list_storage_escape_char":
		p.escapeChar(where, s.value)
	case "last_valid_uid", "first_valid_gid", "last_valid_gid":
		p.note(where, "has no counterpart: PAM and min_uid say who may log in")
	default:
		switch {
		case isSieve(s.name):
			p.sieve(s.name, s.value, where)
		case strings.HasPrefix(s.name, "quota_"):
			p.quota(s.name, s.value, where)
		default:
			p.Todo(where, "look up what it did", "has no counterpart: %s", s.value)
		}
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

// logins are the listeners of mail programs, by service and name.
var logins = map[string]struct{ name, port string }{
	"imap-login imap": {"imap", "143"}, "imap-login imaps": {"imaps", "993"}, "managesieve-login sieve": {"managesieve", "4190"},
}

// listenerAddresses is what [listen] calls an inet_listener.
func listenerAddresses(l *block, port string) string {
	if own := l.get("port"); own == "0" {
		return `""`
	} else if own != "" {
		port = own
	}
	var addresses []string
	for _, a := range strings.Fields(strings.ReplaceAll(l.get("address"), ",", " ")) {
		addresses = append(addresses, strings.ReplaceAll(a, "*", "")+":"+port)
	}
	if len(addresses) == 0 {
		addresses = []string{":" + port}
	}
	return "[" + quoted(addresses) + "]"
}

// service looks for listeners that others use; the rest of a service is about
// Dovecot's own processes.
func (p *Plan) service(b *block, where string) {
	for _, l := range b.blocks {
		at := where + " " + l.name + " " + l.arg
		switch key := logins[b.arg+" "+l.arg]; {
		case l.name == "inet_listener" && key.name != "":
			p.override("listen", key.name, listenerAddresses(l, key.port), at)
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
