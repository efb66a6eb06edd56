package config

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestEveryKeyReachesItsField sets each key to a value that is not its default
// and looks at the field: a key bound to the wrong one would go unseen.
func TestEveryKeyReachesItsField(t *testing.T) {
	const text = `
hostname = "MAIL.Example.org"
domains = ["Example.org", "second.example"]
postmaster = "Carol"
state_dir = "/s"
run_dir = "r"
user = "u"
[listen]
mx = ["127.0.0.1:1", ":2"]
submission = "127.0.0.1:3"
submissions = "127.0.0.1:4"
imap = "[::1]:5"
imaps = "127.0.0.1:6"
lmtp = "./l.sock"
managesieve = "127.0.0.1:11"
https = "127.0.0.1:8"
http = "127.0.0.1:9"
metrics = "127.0.0.1:7"
status = "127.0.0.1:10"
[tls]
certificate = "c"
key = "k"
min_version = "1.3"
[[tls.extra]]
certificate = "c2"
key = "k2"
[acme]
directory = "letsencrypt-staging"
email = "a@example.org"
names = ["MX.example.org"]
ca_file = "ca"
[auth]
backend = "passwd-file"
[auth.pam]
service = "svc"
[auth.passwd_file]
path = "pw"
[mail]
location = "/var/mail/%u"
group = "g"
message_size_limit = "1MiB"
min_uid = 500
recipient_delimiter = "-"
[lda]
detail_folder = true
forward = true
mailbox_autocreate = true
mailbox_autosubscribe = true
quota_full_tempfail = true
forward_pipes = true
[quota]
storage = "2GiB"
messages = 5000
warning = 80
[sieve]
enabled = false
before = ["b.sieve"]
after = "a.sieve"
default = "d.sieve"
global_dir = "g"
redirects = 7
[index]
enabled = false
full_text = false
max_bytes = "2GiB"
idle_time = "7m"
idle_memory = "12MB"
[submission]
check_sender = false
senders_file = "sf"
messages_per_hour = 21
messages_per_day = 22
recipients_per_hour = 23
recipients_per_day = 24
unlimited_users = ["notify"]
[imap]
separator = "/"
idle_timeout = "45m"
disable = "COMPRESS=DEFLATE"
login_timeout = "1m"
stall_timeout = "50s"
command_limit = "16KiB"
literal_limit = "32KiB"
prelogin_limit = "2KiB"
nesting_limit = 50
search_keys = 60
bad_commands = 9
notify_mailboxes = 11
[[imap.user]]
name = "alice"
disable = ["MOVE"]
[[dkim]]
domain = "Example.org"
selector = "sel"
key = "dk"
[queue]
max_age = "3d"
retry_min = "2m"
retry_max = "3h"
delay_warning = "0"
[relay]
smarthost = "smart.example:587"
user = "ru"
password_file = "rp"
tls = "required"
hold = true
mta_sts = false
dane = false
arc_seal = false
srs = false
source = ["192.0.2.1", "2001:db8::1"]
rate = "100/minute"
[[relay.route]]
domains = ["Far.example", ".far.example"]
host = "gate.example:2525"
user = "gu"
password_file = "gp"
tls = "required"
rate = "5 / 10m"
[mta_sts]
mode = "enforce"
max_age = "30d"
mx = ["MX.example.org", "*.example.net"]
[tls_reports]
send = true
organization = "Example Ltd"
contact = "TLS@Example.org"
[dmarc_reports]
send = true
organization = "Example Ltd"
contact = "DMARC@Example.org"
[dns]
resolver = "127.0.0.1:53"
[aliases]
file = "al"
allow_include = true
pipe_programs = ["/bin/x", "/bin/y"]
pipe_user = "piper"
pipe_timeout = "30s"
[[aliases.domain]]
domain = "second.example"
file = "al2"
[inbound]
spf = "off"
dkim = "off"
dmarc = "off"
arc = "off"
arc_trusted = ["Lists.example"]
authserv_id = "Auth.example"
[inbound.client]
iprev = "reject"
helo = "reject"
greet_delay = "4s"
dnsbl_junk = 3
dnsbl_reject = 6
[[inbound.dnsbl]]
zone = "BL.example"
score = 2
codes = ["127.0.0.2=5"]
[inbound.greylist]
enabled = true
delay = "7m"
pass = ["192.0.2.0/24", "Friend.example"]
[[inbound.filter]]
name = "av"
protocol = "rspamd"
address = "/run/f.sock"
timeout = "9s"
max_size = "2MiB"
on_failure = "accept"
submission = true
lmtp = true
[limits]
connections = 10
connections_per_ip = 5
connections_per_network = 8
connection_rate_per_ip = 11
connection_rate_per_network = 12
ban_after = 13
ban_network_after = 14
ban_time = "2h"
unknown_recipient_delay = "3s"
connections_per_user = 6
handshake_timeout = "40s"
auth_failures = 7
recipients = 200
trusted = ["10.1.2.3/8", "2001:db8::1"]
[log]
level = "debug"
format = "json"
`
	c, problems := Parse("/e/m.toml", text)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, tt := range []struct{ got, want any }{
		{c.Hostname, "mail.example.org"},
		{fmt.Sprint(c.Domains), "[example.org second.example]"},
		{c.Domain(), "example.org"},
		{c.Postmaster, "carol"},
		{c.StateDir, "/s"}, {c.QueueDir(), "/s/queue"}, {c.CacheDir(), "/s/cache"},
		{c.RunDir, "/e/r"}, {c.Socket("lda"), "/e/r/lda.sock"},
		{c.User, "u"},
		{fmt.Sprint(c.Listen), "{[127.0.0.1:1 :2] [127.0.0.1:3] [127.0.0.1:4] [[::1]:5] [127.0.0.1:6] [/e/l.sock] [127.0.0.1:11] [127.0.0.1:8] [127.0.0.1:9] [127.0.0.1:7] [127.0.0.1:10]}"},
		{c.TLS.KeyPair, KeyPair{"/e/c", "/e/k"}},
		{fmt.Sprint(c.TLS.Extra), "[{/e/c2 /e/k2}]"},
		{c.TLS.MinVersion(), uint16(tls.VersionTLS13)},
		{c.ACME.Directory(), "https://acme-staging-v02.api.letsencrypt.org/directory"},
		{fmt.Sprintf("%v %s %s", c.ACMENames(), c.ACME.Email, c.ACME.CAFile), "[mx.example.org] a@example.org /e/ca"}, {c.ACMEDir(), "/s/acme"},
		{c.Auth, Auth{Backend: "passwd-file", PAM: PAM{"svc"}, PasswdFile: PasswdFile{"/e/pw"}}},
		{c.Mail, Mail{"/var/mail/%u", "g", 1 << 20, 500, "-"}},
		{c.LDA, LDA{true, true, true, true, true, true}},
		{c.Quota, Quota{2 << 30, 5000, 80}},
		{fmt.Sprint(c.Sieve), "{false [/e/b.sieve] [/e/a.sieve] /e/d.sieve /e/g 7}"},
		{c.Index, Index{false, false, 2 << 30, 7 * time.Minute, 12_000_000}}, {c.Index.IdleMessages(), 100_000},
		{fmt.Sprint(c.Submission), "{false /e/sf 21 22 23 24 [notify]}"},
		{fmt.Sprint(c.IMAP), "{/ 45m0s [COMPRESS=DEFLATE] 1m0s 50s 16384 32768 2048 50 60 9 11 [{alice [MOVE]}]}"},
		{fmt.Sprint(c.IMAP.DisableFor()), "map[alice:[MOVE]]"},
		{fmt.Sprint(c.DKIM), "[{example.org sel /e/dk}]"},
		{c.Queue, Queue{72 * time.Hour, 2 * time.Minute, 3 * time.Hour, 0}},
		{fmt.Sprint(c.Relay), "{smart.example:587 ru /e/rp required true false false false false [192.0.2.1 2001:db8::1] {100 1m0s} [{[far.example .far.example] gate.example:2525 gu /e/gp required {5 10m0s}}]}"},
		{fmt.Sprint(c.MTASTS, c.STSHosts()), "{enforce 720h0m0s [mx.example.org *.example.net]} [mx.example.org *.example.net]"},
		{c.TLSReports, TLSReports{true, "Example Ltd", "tls@example.org"}},
		{c.DMARC, DMARCReports{true, "Example Ltd", "dmarc@example.org"}}, {c.DMARCOrganization() + " " + c.DMARCContact(), "Example Ltd dmarc@example.org"},
		{c.DNS.Resolver, "127.0.0.1:53"},
		{fmt.Sprint(c.Aliases), "{/e/al true [/bin/x /bin/y] piper 30s [{second.example /e/al2}]}"},
		{fmt.Sprint(c.Inbound), "{off off off off [lists.example] auth.example [{av rspamd /run/f.sock 9s 2097152 accept true true}]}"},
		{fmt.Sprint(c.Client), "{reject reject 4s 3 6 [{bl.example 2 map[127.0.0.2:5]}] {true 7m0s [192.0.2.0/24] [friend.example]}}"},
		{fmt.Sprint(c.Limits), "{10 5 6 8 11 12 40s 7 13 14 2h0m0s 3s 200 [10.0.0.0/8 2001:db8::1/128]}"},
		{c.Log.Level(), slog.LevelDebug}, {c.Log.Format, "json"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %v, want %v", tt.got, tt.want)
		}
	}
	names, pairs := c.TLS.Pairs()
	if fmt.Sprint(names) != "[tls tls.extra[0]]" || pairs[1].Key != "/e/k2" {
		t.Errorf("%q %v", names, pairs)
	}
	for _, s := range allSections() { // the text above must grow with the keys
		name := s.name
		if s.each != nil {
			name += "[0]"
		}
		for _, k := range s.keys {
			if !c.Given(join(name, k.name)) {
				t.Errorf("%s is not in this test", join(name, k.name))
			}
		}
	}
}

// TestWrongTypesAreNamed gives every key a value of a type that it cannot have.
func TestWrongTypesAreNamed(t *testing.T) {
	for _, s := range allSections() {
		for _, k := range s.keys {
			for _, wrong := range []string{"1.5", "2026-01-01", "{a = 1}", "[[1]]"} {
				heading := ""
				if s.name != "" {
					heading = s.heading() + "\n"
				}
				_, problems := Parse("m.toml", heading+k.name+" = "+wrong+"\n")
				found := false
				for _, p := range problems {
					if lastPart(p.Key) == k.name && strings.Contains(p.Text, "must be") && p.Mend != "" && p.Line > 0 {
						found = true
					}
				}
				if !found {
					t.Errorf("%s = %s:\n%v", join(s.name, k.name), wrong, problems)
				}
			}
		}
	}
}

func TestInlineTablesAreSections(t *testing.T) {
	c, problems := Parse("/e/m.toml", `hostname = "a.example"
domains = "a.example"
tls = {certificate = "c", key = "k", extra = [{certificate = "c2", key = "k2"}]}
dkim = [{domain = "a.example", key = "k"}, {domain = "a.example", selector = "s2", kei = "k"}]
queue.max_age = "1d"
`)
	if c.TLS.Key != "/e/k" || len(c.TLS.Extra) != 1 || len(c.DKIM) != 2 || c.Queue.MaxAge != 24*time.Hour {
		t.Errorf("%+v", c)
	}
	if len(problems) != 2 || problems[0].Key != "dkim[1].kei" || problems[0].Line != 4 || problems[1].Key != "dkim[1].key" {
		t.Error(problems)
	}
}

func TestValuesThatArePutRight(t *testing.T) {
	for _, tt := range []struct {
		text string
		get  func(*Config) any
		want any
	}{
		{`[listen]` + "\nmx = \"\"", func(c *Config) any { return len(c.Listen.MX) }, 0},
		{`[listen]` + "\nmx = [\":25\", \"[::1]:2525\"]", func(c *Config) any { return len(c.Listen.MX) }, 2},
		{`[mail]` + "\nrecipient_delimiter = \"\"", func(c *Config) any { return c.Mail.RecipientDelimiter }, ""},
		{`[quota]` + "\nstorage = \"\"", func(c *Config) any { return c.Quota.Storage }, int64(0)},
		{`[aliases]` + "\nfile = \"\"", func(c *Config) any { return c.Aliases.File }, ""},
		{`[limits]` + "\ntrusted = []", func(c *Config) any { return len(c.Limits.Trusted) }, 0},
		{`[relay]` + "\nsmarthost = \"[2001:db8::1]:25\"", func(c *Config) any { return c.Relay.Smarthost }, "[2001:db8::1]:25"},
	} {
		c, problems := Parse("m.toml", minimal+tt.text+"\n")
		if len(problems) > 0 || tt.get(c) != tt.want {
			t.Errorf("%s: %v, %v", tt.text, tt.get(c), problems)
		}
	}
}

func TestReferencesNameEveryKey(t *testing.T) {
	markdown, man := Markdown(), Man()
	for _, s := range allSections() {
		for _, k := range s.keys {
			if !strings.Contains(markdown, "| `"+k.name+"` |") {
				t.Errorf("%s is not in the Markdown reference", join(s.name, k.name))
			}
			if !strings.Contains(man, roff(k.name)) {
				t.Errorf("%s is not in the manual page", join(s.name, k.name))
			}
			if k.doc == "" || !strings.HasSuffix(strings.TrimRight(k.doc, `)"`), ".") && !strings.HasSuffix(k.doc, ".") {
				t.Errorf("%s has no whole sentence for a documentation: %q", join(s.name, k.name), k.doc)
			}
		}
	}
	for line := range strings.Lines(man) {
		if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !strings.HasPrefix(line, ".SH") && !strings.HasPrefix(line, ".TP") &&
			!strings.HasPrefix(line, ".B") && !strings.HasPrefix(line, ".I") && !strings.HasPrefix(line, ".TH") && !strings.HasPrefix(line, ".PP") && !strings.HasPrefix(line, `.\"`) {
			t.Errorf("troff takes this line for a request: %q", line)
		}
	}
}
