package main

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"svc.plus/mailsrvd/auth/passwdfile"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/asuser"
)

// devDir is a directory with a short name, for sockets.
func devDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ms")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// freePortBase finds a base for dev of which all ports are free now. It is drawn
// by lot, below the range that outgoing connections use: other runs of these
// tests on the same machine look for one, too.
func freePortBase(t *testing.T) int {
	t.Helper()
	for range 1000 {
		base := 10000 + rand.IntN(20000)
		free := true
		for _, n := range []int{525, 587, 465, 143, 993, 419, 443, 925, 980} {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(base+n))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

// devSite makes the files of a trial server.
func devSite(t *testing.T) *dev.Site {
	t.Helper()
	s, err := dev.Make(dev.Options{
		Dir: devDir(t), PortBase: freePortBase(t), HashPassword: passwdfile.HashFast,
		NewDKIMKey: func() ([]byte, error) {
			k, err := dkim.GenerateKey(dkim.Ed25519)
			if err != nil {
				return nil, err
			}
			return k.MarshalPEM()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// edit replaces text in a file of the site.
func edit(t *testing.T, path, old, with string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("no %q in %s", old, path)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), old, with, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckOfAGoodSiteIsFine(t *testing.T) {
	s := devSite(t)
	problems, err := checkOptions{}.run(context.Background(), s.Config)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if code, stdout, _ := runCommand(t, "", "check-config", "-c", s.Config, "--strict"); code != 0 || !strings.HasSuffix(stdout, ": fine\n") {
		t.Errorf("exit %d, %s", code, stdout)
	}
}

func TestCheckFindsWhatTheConfigurationNames(t *testing.T) {
	for _, tt := range []struct {
		name    string
		spoil   func(t *testing.T, s *dev.Site)
		key     string
		text    string
		mend    string
		warning bool
	}{
		{"no certificate file", func(t *testing.T, s *dev.Site) { os.Remove(s.Dir + "/cert.pem") }, "tls.certificate", "no such file", "path of the PEM", false},
		{"no key file", func(t *testing.T, s *dev.Site) { os.Remove(s.Dir + "/key.pem") }, "tls.key", "no such file", "path of the PEM", false},
		{"key of another certificate", func(t *testing.T, s *dev.Site) {
			b, err := os.ReadFile(devSite(t).Dir + "/key.pem")
			if err != nil {
				t.Fatal(err)
			}
			os.WriteFile(s.Dir+"/key.pem", b, 0o600)
		}, "tls.certificate", "private key", "belong together", false},
		{"certificate of another name", func(t *testing.T, s *dev.Site) { edit(t, s.Config, `"mail.example.test"`, `"other.example.test"`) },
			"tls.certificate", "no certificate is for other.example.test", "hostname", false},
		{"no DKIM key", func(t *testing.T, s *dev.Site) { os.RemoveAll(s.Dir + "/dkim") }, "dkim[0].key", "no such file", "mailsrvd dkim genkey example.test --selector dev", false},
		{"domain without DKIM key", func(t *testing.T, s *dev.Site) { edit(t, s.Config, `["example.test"]`, `["example.test", "b.test"]`) },
			"domains", "no [[dkim]] key signs the mail of b.test", "genkey b.test", true},
		{"no passwd-file", func(t *testing.T, s *dev.Site) { os.Remove(s.Dir + "/passwd") }, "auth.passwd_file.path", "no such file", "make the file", false},
		{"bad line in the passwd-file", func(t *testing.T, s *dev.Site) { os.WriteFile(s.Dir+"/passwd", []byte("a:{ROT13}x::::/h::\n"), 0o600) },
			"auth.passwd_file.path", "passwd:1", "", false},
		{"alias of nobody", func(t *testing.T, s *dev.Site) { edit(t, s.Dir+"/aliases", "both: alice", "both: nobody-here") }, "", "nobody-here", "line", false},
		{"postmaster is nobody", func(t *testing.T, s *dev.Site) { edit(t, s.Config, `"alice"`, `"nobody-here"`) }, "postmaster", "nobody-here", "user of this server", false},
		{"a program that is not allowed", func(t *testing.T, s *dev.Site) {
			edit(t, s.Dir+"/aliases", "hostmaster: alice", "hostmaster: alice, \"|/usr/local/bin/ticket --new\"")
		}, "", "the program /usr/local/bin/ticket is not run, since pipe_programs of [aliases] does not name it", "correct this line", false},
		{"a program that is not there", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[aliases]", "[aliases]\npipe_programs = \"/nowhere/ticket\"")
		}, "aliases.pipe_programs", "/nowhere/ticket: no such file", "correct the path", false},
		{"programs of nobody known", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[aliases]", "[aliases]\npipe_programs = \"/bin/true\"\npipe_user = \"no-such-user-here\"")
		}, "aliases.pipe_programs", "no-such-user-here", "pipe_user", false},
		{"no PAM service", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, `"alice"`, `"x@example.net"`) // neither user is known to PAM
			edit(t, s.Dir+"/aliases", "hostmaster: alice\nboth: alice, bob\n", "")
			edit(t, s.Config, "backend = \"passwd-file\"\n[auth.passwd_file]\npath = \"passwd\"", "backend = \"pam\"\n[auth.pam]\nservice = \"no-such-service\"")
		}, "auth.pam.service", "no-such-service", "/etc/pam.d/no-such-service", false},
		{"port taken", func(t *testing.T, s *dev.Site) {
			c, err := config.Load(s.Config)
			if err != nil {
				t.Fatal(err)
			}
			l, err := net.Listen("tcp", c.Listen.IMAPS[0])
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "listen.imaps", "in use by another program", "ss -ltnp", true},
		{"foreign address", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, `mx          = "127.0.0.1`, `mx          = "192.0.2.77`)
		},
			"listen.mx", "not an address of this machine", "for all", false},
		{"state_dir is a file", func(t *testing.T, s *dev.Site) { edit(t, s.Config, `"state"`, `"passwd"`) }, "state_dir", "is not a directory", "path", false},
		{"no password file", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "hold = true", "smarthost = \"r.example:587\"\nuser = \"u\"\npassword_file = \"none\"")
		}, "relay.password_file", "no such file", "readable", false},
		{"DANE without a resolver here", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "hold = true", "dane = true\n[dns]\nresolver = \"192.0.2.1:53\"")
		}, "relay.dane", "192.0.2.1:53 is not on this host", "127.0.0.1:53", true},
		{"MTA-STS policy that nobody serves", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[relay]", "[mta_sts]\nmode = \"testing\"\n[relay]")
			edit(t, s.Config, "\nhttps ", "\n# ")
		}, "mta_sts.mode", "nothing here serves the policy", "https = \":443\"", true},
		{"MTA-STS policy without a certificate", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[relay]", "[mta_sts]\nmode = \"testing\"\n[relay]")
		}, "mta_sts.mode", "no certificate is for mta-sts.example.test", "acme.names", true},
		{"MTA-STS policy without this host", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[relay]", "[mta_sts]\nmode = \"none\"\nmx = \"mx.example.test\"\n[acme]\ndirectory = \"https://acme.test/\"\nnames = \"mta-sts.example.test\"\n[relay]")
			edit(t, s.Config, "\"none\"", "\"enforce\"")
		}, "mta_sts.mx", "does not list hostname, mail.example.test", "add it", false},
		{"TLS reports that nobody signs", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[relay]", "[tls_reports]\nsend = true\ncontact = \"tls@other.test\"\n[relay]")
		}, "tls_reports.contact", "no [[dkim]] key signs for other.test", "genkey other.test", true},
		{"DMARC reports that nobody signs", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[relay]", "[dmarc_reports]\nsend = true\ncontact = \"d@other.test\"\n[relay]")
		}, "dmarc_reports.contact", "no [[dkim]] key signs for other.test", "genkey other.test", true},
		{"a filter that is not there", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[relay]", "[[inbound.filter]]\nname = \"x\"\naddress = \"/nowhere/sock\"\n[relay]")
		}, "inbound.filter[0].address", "the filter x does not answer", "start it", true},
		{"a filter without an address", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[relay]", "[[inbound.filter]]\nname = \"x\"\naddress = \"nowhere\"\n[relay]")
		}, "inbound.filter", "neither host:port nor the path of a socket", "", false},
		{"bad senders", func(t *testing.T, s *dev.Site) {
			edit(t, s.Config, "[relay]", "[submission]\nsenders_file = \"senders\"\n[relay]")
			os.WriteFile(s.Dir+"/senders", []byte("alice: x@\n"), 0o600)
		}, "submission.senders_file", "senders:1", "line", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := devSite(t)
			tt.spoil(t, s)
			problems, err := checkOptions{}.run(context.Background(), s.Config)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(problems, func(p config.Problem) bool {
				return p.Key == tt.key && strings.Contains(p.Text, tt.text) && strings.Contains(p.Mend, tt.mend) && p.Warning == tt.warning
			})
			if i < 0 || len(problems) > 1 {
				t.Fatalf("problems:\n%v", problems)
			}
			if problems[i].Line == 0 {
				t.Errorf("no line: %v", problems[i])
			}
		})
	}
}

func TestCheckKnowsWhoTheDaemonWillBe(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, since the rights of another user count only then")
	}
	s := devSite(t)
	edit(t, s.Config, `user       = ""`, `user       = "daemon"`)
	problems, err := checkOptions{}.run(context.Background(), s.Config)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, p := range problems {
		keys = append(keys, p.Key)
		if !strings.Contains(p.Text, "daemon") {
			t.Error(p)
		}
	}
	// Everything of the site is root's alone, in a directory closed to others.
	want := []string{"auth.passwd_file.path", "dkim[0].key", "run_dir", "state_dir", "tls.key"}
	slices.Sort(keys)
	if !slices.Equal(keys, want) {
		t.Errorf("problems of %q, want %q:\n%v", keys, want, problems)
	}
	edit(t, s.Config, `user       = "daemon"`, `user       = "no-such-user-here"`)
	problems, _ = checkOptions{}.run(context.Background(), s.Config)
	if len(problems) != 1 || problems[0].Key != "user" || !strings.Contains(problems[0].Mend, "sysusers") {
		t.Error(problems)
	}
}

func TestAllowedEvaluatesModeBits(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		t    asuser.Target
		need uint32
		want bool
	}{
		{asuser.Target{UID: uid, GID: -1}, mayRead | mayWrite, true},
		{asuser.Target{UID: uid + 1, GID: gid}, mayRead, true},
		{asuser.Target{UID: uid + 1, GID: gid}, mayWrite, false},
		{asuser.Target{UID: uid + 1, GID: gid + 1, Groups: []int{gid}}, mayRead, true},
		{asuser.Target{UID: uid + 1, GID: gid + 1}, mayRead, false},
	} {
		if got := allowed(fi, tt.t, tt.need); got != tt.want {
			t.Errorf("%+v, need %o: %v", tt.t, tt.need, got)
		}
	}
}

func TestSystemUsersArePeople(t *testing.T) {
	name := filepath.Join(t.TempDir(), "passwd")
	text := "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000:A:/home/alice:/bin/sh\nnobody:x:65534:65534::/nonexistent:/x\nbad\nrel:x:1001:1001::home:/x\ncarol:x:1002:100::/home/carol:/x\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := systemUsers(name, 1000)
	if err != nil || len(users) != 2 || users[0].Name != "alice" || users[1].GID != 100 {
		t.Errorf("%+v, %v", users, err)
	}
}

func TestMaildirOfAnotherIsFound(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to make files of other users")
	}
	base := devDir(t)
	if err := os.Chmod(base, 0o711); err != nil {
		t.Fatal(err)
	}
	u := asuser.Owner{Name: "u", UID: 20001, GID: 20001, Home: base}
	dir := filepath.Join(base, "Maildir")
	for _, d := range []string{"", "new", "cur", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, d), u.UID, u.GID); err != nil {
			t.Fatal(err)
		}
	}
	check := func() error {
		return asuser.Do(context.Background(), u, func() error { return foreignEntry(dir, u) })
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new", "1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(); err == nil || !strings.Contains(err.Error(), "new/1 belongs to uid 0") {
		t.Error(err)
	}
}

// TestPostmasterIsToldOnce, and not for each alias that leads there.
func TestPostmasterIsToldOnce(t *testing.T) {
	s := devSite(t)
	edit(t, s.Config, `"alice"`, `"nobody-here"`)
	edit(t, filepath.Join(s.Dir, "aliases"), "hostmaster: alice", "hostmaster: root\nroot: postmaster")
	code, stdout, _ := runCommand(t, "", "check-config", "-c", s.Config)
	if code != 2 || strings.Count(stdout, "error:") != 1 || !strings.Contains(stdout, "error: postmaster:") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}
