package peertest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Postfix is a Postfix of its own configuration and spool, which delivers below
// Dir/mail.
type Postfix struct {
	Dir      string
	UID, GID int // as which mail is stored
	// Log gets what Postfix logs beside the test's own log; nil is nobody.
	Log io.Writer

	t       testing.TB
	program string
}

// NewPostfix makes the directories. It needs root, which starts a Postfix.
func NewPostfix(t testing.TB) *Postfix {
	t.Helper()
	p := &Postfix{t: t, program: NeedProgram(t, "postfix", "postfix")}
	if os.Geteuid() != 0 {
		t.Skip("missing: root, which starts Postfix")
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Skip("missing: user postfix")
	}
	p.UID, _ = strconv.Atoi(owner.Uid)
	p.GID, _ = strconv.Atoi(owner.Gid)
	p.Dir = SharedDir(t)
	for _, d := range []string{"conf", "spool", "data", "mail"} {
		dir := filepath.Join(p.Dir, d)
		makeDir(t, dir)
		if d != "data" && d != "mail" {
			continue
		}
		if err := os.Chown(dir, p.UID, p.GID); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// Start runs Postfix until the test ends. main is added to main.cf; each
// listener is the beginning of a line of master.cf for smtpd with its options,
// such as "127.0.0.1:2525" or "192.0.2.1:25 -o smtpd_tls_security_level=none".
// Mail is stored by virtual(8), or by local(8) for domains that main puts into
// mydestination.
func (p *Postfix) Start(main string, listeners ...string) {
	p.t.Helper()
	main = fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = /dev/stdout
mydestination =
inet_protocols = ipv4
inet_interfaces = all
mynetworks = 192.0.2.0/32
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_base = %[1]s/mail
virtual_uid_maps = static:%[2]d
virtual_gid_maps = static:%[3]d
virtual_minimum_uid = 1
message_size_limit = 20000000
virtual_mailbox_limit = 0
`, p.Dir, p.UID, p.GID) + main
	var master strings.Builder
	for _, l := range listeners {
		addr, options, _ := strings.Cut(l, " ")
		fmt.Fprintf(&master, "%s inet n - n - - smtpd %s\n", addr, options)
	}
	for _, s := range []string{"pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr",
		"tlsmgr unix - - n 1000? 1 tlsmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
		"defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush",
		"proxymap unix - - n - - proxymap", "virtual unix - n n - - virtual", "local unix - n n - - local", "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache",
		"error unix - - n - - error", "retry unix - - n - - error", "showq unix n - n - - showq", "smtp unix - - n - - smtp",
		"postlog unix-dgram n - n - 1 postlogd"} {
		master.WriteString(s + "\n")
	}
	conf := filepath.Join(p.Dir, "conf")
	for name, text := range map[string]string{"main.cf": main, "master.cf": master.String()} {
		writeFile(p.t, filepath.Join(conf, name), []byte(text))
	}
	cmd := exec.Command(p.program, "-c", conf, "start-fg")
	var log io.Writer = logWriter{p.t}
	if p.Log != nil {
		log = io.MultiWriter(log, p.Log)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		exec.Command(p.program, "-c", conf, "stop").Run()
		cmd.Wait()
	})
	for _, l := range listeners {
		addr, _, _ := strings.Cut(l, " ")
		AwaitListener(p.t, addr)
	}
}
