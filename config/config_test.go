package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// minimal is the smallest configuration that is right.
const minimal = `hostname = "mail.example.org"
domains = ["example.org"]
[tls]
certificate = "cert.pem"
key = "key.pem"
`

func TestMinimalConfigurationHasDocumentedDefaults(t *testing.T) {
	c, problems := Parse("/etc/mailsrvd/mailsrvd.toml", minimal)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"hostname", c.Hostname, "mail.example.org"},
		{"relative path", c.TLS.Key, "/etc/mailsrvd/key.pem"},
		{"state_dir", c.StateDir, "/var/lib/mailsrvd"},
		{"queue", c.QueueDir(), "/var/lib/mailsrvd/queue"},
		{"socket", c.Socket("control"), "/run/mailsrvd/control.sock"},
		{"size", c.Mail.MessageSizeLimit, int64(50 << 20)},
		{"max_age", c.Queue.MaxAge, 120 * time.Hour},
		{"mx", fmt.Sprint(c.Listen.MX), "[:25]"},
		{"lmtp is off", len(c.Listen.LMTP), 0},
		{"managesieve is off", len(c.Listen.ManageSieve), 0},
		{"metrics is off", len(c.Listen.Metrics), 0},
		{"backend", c.Auth.Backend, "pam"},
		{"min_uid", c.Mail.MinUID, 1000},
		{"check_sender", c.Submission.CheckSender, true},
		{"hold", c.Relay.Hold, false},
		{"trusted", fmt.Sprint(c.Limits.Trusted), "[127.0.0.0/8 ::1/128]"},
		{"where", c.Where("tls.key"), "/etc/mailsrvd/mailsrvd.toml:5"},
		{"where of a default", c.Where("queue.max_age"), "/etc/mailsrvd/mailsrvd.toml"},
		{"where of a key below a heading", c.Where("tls.min_version"), "/etc/mailsrvd/mailsrvd.toml:3"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s = %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestExampleIsValid(t *testing.T) {
	c, problems := Parse("/etc/mailsrvd/mailsrvd.toml", Example())
	if len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, Example())
	}
	if c.TLS.Certificate != "/etc/ssl/svc.plus.pem" || len(c.DKIM) != 1 || c.DKIM[0].Selector != "default" {
		t.Errorf("%+v", c)
	}
}

// TestExampleWithEveryKeySet takes away the comment signs of the example, so
// that every documented key and default is read.
func TestExampleWithEveryKeySet(t *testing.T) {
	text := ""
	for line := range strings.Lines(Example()) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		text += line
	}
	c, problems := Parse("/etc/mailsrvd/mailsrvd.toml", text)
	if len(problems) > 0 {
		t.Fatalf("%v\n%s", problems, text)
	}
	if len(c.TLS.Extra) != 1 || len(c.Aliases.Domain) != 1 {
		t.Errorf("%+v", c)
	}
	for _, s := range allSections() {
		name := s.name
		if s.each != nil {
			name += "[0]"
		}
		for _, k := range s.keys {
			if !c.Given(join(name, k.name)) {
				t.Errorf("%s is not in the example", join(name, k.name))
			}
		}
	}
}

func TestProblemsNameLineAndMend(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		line       int
		key        string
		want, mend string // parts of the texts
	}{
		{"unknown key", minimal + "certifcate = \"x\"\n", 6, "tls.certifcate", "unknown key", `did you mean "tls.certificate"?`},
		{"unknown section", minimal + "[lissten]\nmx = \"\"\n", 6, "lissten", "unknown key", "listen"},
		{"key below the wrong heading", minimal + "max_age = \"5d\"\n", 6, "tls.max_age", "unknown key", `did you mean "queue.max_age"?`},
		{"key that nobody could mean", minimal + "zzzzzzzzzzzz = 1\n", 6, "tls.zzzzzzzzzzzz", "unknown key", "mailsrvd.toml(5)"},
		{"unknown key in a list", minimal + "[[dkim]]\ndomain = \"example.org\"\nkey = \"k\"\n[[dkim]]\ndomain = \"example.net\"\nselektor = \"s\"\nkey = \"k\"\n", 11, "dkim[1].selektor", "unknown key", `"dkim.selector"`},
		{"number for text", "hostname = 1\n" + strings.SplitN(minimal, "\n", 2)[1], 1, "hostname", "is a number, but must be a text", `"text"`},
		{"number for size", minimal + "[mail]\nmessage_size_limit = 50\n", 7, "mail.message_size_limit", "is a number", `"50MiB"`},
		{"size without unit", minimal + "[mail]\nmessage_size_limit = \"50\"\n", 7, "mail.message_size_limit", "unit", `"50MiB"`},
		{"small size", minimal + "[mail]\nmessage_size_limit = \"1B\"\n", 7, "mail.message_size_limit", "too small", "64KiB"},
		{"time without unit", minimal + "[queue]\nmax_age = \"5\"\n", 7, "queue.max_age", "units", `"5d"`},
		{"time as number", minimal + "[queue]\nmax_age = 5\n", 7, "queue.max_age", "is a number", "5m"},
		{"time out of range", minimal + "[imap]\nidle_timeout = \"1m\"\n", 7, "imap.idle_timeout", "out of range", "from 30m"},
		{"number out of range", minimal + "[mail]\nmin_uid = 0\n", 7, "mail.min_uid", "out of range", "from 1 "},
		{"text for number", minimal + "[mail]\nmin_uid = \"1000\"\n", 7, "mail.min_uid", "is a text, but must be a whole number", "10"},
		{"text for boolean", minimal + "[relay]\nhold = \"yes\"\n", 7, "relay.hold", "must be true or false", "true"},
		{"unknown choice", minimal + "[auth]\nbackend = \"pan\"\n", 7, "auth.backend", `"pan" is not known`, `did you mean "pam"?`},
		{"address without port", minimal + "[listen]\nmx = \"25\"\n", 7, "listen.mx", "not an address with a port", "2525"},
		{"address with a wrong port", minimal + "[listen]\nmx = \":70000\"\n", 7, "listen.mx", "port", "2525"},
		{"address taken twice", minimal + "[listen]\nimap = [\":143\", \":993\"]\n", 6, "listen.imaps", "already taken by listen.imap", "another port"},
		{"value of a section", "auth = \"pam\"\n" + minimal, 1, "auth", "is the name of a section", "[auth]"},
		{"single brackets for a list", minimal + "[dkim]\ndomain = \"x.org\"\n", 6, "dkim", "list of sections", "[[dkim]]"},
		{"host name without domain", "hostname = \"mail\"\n" + strings.SplitN(minimal, "\n", 2)[1], 1, "hostname", "no domain", "full name"},
		{"empty domains", "hostname = \"a.example\"\ndomains = []\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n", 2, "domains", "is empty", "at least one"},
		{"bad domain", "hostname = \"a.example\"\ndomains = [\"ex ample\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n", 2, "domains", "not a domain", "example.org"},
		{"domain twice", "hostname = \"a.example\"\ndomains = [\"a.example\", \"a.example\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n", 2, "domains", "twice", "remove"},
		{"missing key", "domains = [\"example.org\"]\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n", 0, "hostname", "is missing", "add hostname"},
		{"missing certificate", "hostname = \"a.example\"\ndomains = [\"a.example\"]\n", 0, "tls.certificate", "without TLS", "[tls]"},
		{"certificate without key", "hostname = \"a.example\"\ndomains = [\"a.example\"]\n[tls]\ncertificate = \"c\"\n", 3, "tls.key", "is missing", "private key"},
		{"two keys of one name", minimal + strings.Repeat("[[dkim]]\ndomain = \"example.org\"\nkey = \"k\"\n", 2), 9, "dkim[1].selector", "two keys", "own selector"},
		{"aliases of a foreign domain", minimal + "[[aliases.domain]]\ndomain = \"example.net\"\nfile = \"f\"\n", 7, "aliases.domain[0].domain", "not one of domains", "domains"},
		{"a program without its path", minimal + "[aliases]\npipe_programs = [\"ticket\"]\n", 7, "aliases.pipe_programs", "not the whole path", "/usr/local/bin/ticket"},
		{"programs as root", minimal + "[aliases]\npipe_programs = \"/bin/x\"\npipe_user = \"root\"\n", 8, "aliases.pipe_user", "must not run as \"root\"", "nobody"},
		{"programs as ourselves", minimal + "[aliases]\npipe_programs = \"/bin/x\"\npipe_user = \"mailsrvd\"\n", 8, "aliases.pipe_user", "must not run as \"mailsrvd\"", "nobody"},
		{"retry times crossed", minimal + "[queue]\nretry_min = \"3h\"\n", 6, "queue.retry_max", "shorter than retry_min", "raise"},
		{"login without smarthost", minimal + "[relay]\nuser = \"u\"\n", 7, "relay.user", "no smarthost", "smarthost"},
		{"login in clear", minimal + "[relay]\nsmarthost = \"a.example:25\"\nuser = \"u\"\npassword_file = \"p\"\ntls = \"none\"\n", 10, "relay.tls", "never sent in clear", "required"},
		{"no TLS for everybody", minimal + "[relay]\ntls = \"none\"\n", 7, "relay.tls", "no smarthost", "opportunistic"},
		{"DMARC without SPF", minimal + "[inbound]\nspf = \"off\"\ndmarc = \"reject\"\n", 8, "inbound.dmarc", "SPF or DKIM is off", "tag"},
		{"DMARC without DKIM", minimal + "[inbound]\ndmarc = \"quarantine\"\ndkim = \"off\"\n", 7, "inbound.dmarc", "SPF or DKIM is off", "tag"},
		{"smarthost without port", minimal + "[relay]\nsmarthost = \"a.example\"\n", 7, "relay.smarthost", "port", ":"},
		{"one Maildir for all", minimal + "[mail]\nlocation = \"/var/mail\"\n", 7, "mail.location", "for all users", "~/Maildir"},
		{"long delimiter", minimal + "[mail]\nrecipient_delimiter = \"++\"\n", 7, "mail.recipient_delimiter", "single", "+"},
		{"bad network", minimal + "[limits]\ntrusted = [\"10.0.0.0/99\"]\n", 7, "limits.trusted", "not an address or network", "192.0.2.0/24"},
		{"syntax", "hostname = \n", 1, "", "expected value", "TOML"},
		{"duplicate key", "hostname = \"a\"\nhostname = \"b\"\n", 2, "", "already been defined", "TOML"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := Parse("/etc/mailsrvd/mailsrvd.toml", tt.text)
			i := slices.IndexFunc(problems, func(p Problem) bool { return p.Key == tt.key })
			if i < 0 {
				t.Fatalf("no problem of %q in:\n%v", tt.key, problems)
			}
			p := problems[i]
			if p.Line != tt.line || !strings.Contains(p.Text, tt.want) || !strings.Contains(p.Mend, tt.mend) || p.Mend == "" {
				t.Errorf("got line %d, %q, mend %q", p.Line, p.Text, p.Mend)
			}
			if len(problems) > 1 {
				t.Errorf("further problems:\n%v", problems)
			}
		})
	}
}

func TestAllProblemsComeAtOnceInOrder(t *testing.T) {
	_, problems := Parse("m.toml", "hostnam = \"a\"\nstate_dir = 4\n[listen]\nmx = 25\n[queue]\nmax_age = \"x\"\nage = 1\n")
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%d %s", p.Line, p.Key))
	}
	want := []string{"0 domains", "0 hostname", "0 tls.certificate", "1 hostnam", "2 state_dir", "4 listen.mx", "6 queue.max_age", "7 queue.age"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLoadReturnsProblemsOrTheFileError(t *testing.T) {
	name := filepath.Join(t.TempDir(), "mailsrvd.toml")
	if _, err := Load(name); !os.IsNotExist(unwrapAll(err)) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(name, []byte("x = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(name)
	if ps, ok := err.(Problems); !ok || !strings.Contains(err.Error(), name+":1: error: x: unknown key") {
		t.Errorf("%T %v", ps, err)
	}
	if err := os.WriteFile(name, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(name); err != nil || c.File != name {
		t.Errorf("%v %v", c, err)
	}
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

func TestWarningsDoNotStopLoad(t *testing.T) {
	_, problems := Parse("m.toml", minimal+"[limits]\nconnections = 10\n")
	if len(problems) != 1 || problems.HasErrors() || !strings.Contains(problems.Error(), "m.toml:6: warning:") {
		t.Error(problems)
	}
}

// TestServerWithoutListenersMaySendItsQueue: the way back to another server.
func TestServerWithoutListenersMaySendItsQueue(t *testing.T) {
	_, problems := Parse("m.toml", "hostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n[listen]\nmx = \"\"\nsubmission = \"\"\nsubmissions = \"\"\nimap = \"\"\nimaps = \"\"\n")
	if len(problems) != 1 || problems.HasErrors() || problems[0].Line != 3 {
		t.Error(problems)
	}
}

func TestPasswordIsTheFirstLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pw")
	for text, want := range map[string]string{"secret\n": "secret", "secret": "secret", "se cret\r\nmore": "se cret", "": ""} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := Relay{PasswordFile: name}
		if got, err := r.Password(); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if got, err := new(Relay).Password(); got != "" || err != nil {
		t.Errorf("no file: %q, %v", got, err)
	}
	if _, err := (&Relay{PasswordFile: name + "x"}).Password(); err == nil {
		t.Error("no error for a missing file")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(minimal)
	f.Add(Example())
	f.Add("a.b.c = 1\n[[dkim]]\n[dkim.x]\n[[dkim]]\n")
	f.Add("tls = {certificate = \"a\", extra = [{key = 'x'}, {}]}\n")
	f.Add("dkim = [1, \"x\"]\naliases = []\n[listen]\nmx = [[\"\"]]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := Parse("m.toml", text)
		for _, p := range problems {
			if p.Text == "" || p.Mend == "" || strings.Contains(p.Text, "%!") {
				t.Errorf("poor problem %+v", p)
			}
		}
		if !problems.HasErrors() && (c.Hostname == "" || len(c.Domains) == 0) {
			t.Error("an incomplete configuration passed")
		}
	})
}
