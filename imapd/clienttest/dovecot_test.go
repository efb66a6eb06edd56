package clienttest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/asuser"
)

const dovecotIMAP = "/usr/lib/dovecot/imap"

// dovecotOwner is who owns mail that Dovecot handles: the user of the test, or one
// that is nobody else where that is root, whose mail it refuses.
func dovecotOwner(home string) asuser.Owner {
	owner := asuser.Self(user, home)
	if owner.UID == 0 {
		owner.UID, owner.GID = 20031, 20031
	}
	return owner
}

// dovecot is Dovecot's programs over one home, run for its user without a server.
type dovecot struct {
	t     testing.TB
	dir   string
	conf  string
	owner asuser.Owner
}

// newDovecot sets Dovecot up for the owner's home, with more settings; dir keeps
// its configuration and log.
func newDovecot(t testing.TB, dir string, owner asuser.Owner, more string) *dovecot {
	t.Helper()
	if _, err := os.Stat(dovecotIMAP); err != nil {
		t.Skip("missing: dovecot-imapd")
	}
	d := &dovecot{t: t, dir: dir, conf: dir + "/dovecot.conf", owner: owner}
	text := fmt.Sprintf(`protocols =
base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = %[1]s/log
mail_home = %[2]s
mail_location = maildir:~/Maildir
mail_fsync = never
mailbox_list_index = no
ssl = no
stats_writer_socket_path =
namespace inbox {
  inbox = yes
  separator = /
}
%[3]s`, dir, owner.Home, more)
	err := errors.Join(os.MkdirAll(dir+"/run", 0o755), os.Chmod(dir, 0o711),
		os.WriteFile(d.conf, []byte(text), 0o644), os.WriteFile(dir+"/log", nil, 0o666), os.Chmod(dir+"/log", 0o666))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// command is one of Dovecot's programs, to be run as the user.
func (d *dovecot) command(program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(d.t.Context(), program, append([]string{"-c", d.conf}, args...)...)
	cmd.Env = environment(d.owner.Home)
	cmd.Dir = d.owner.Home
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(d.owner.UID), Gid: uint32(d.owner.GID)}}
	}
	return cmd
}

// adm runs doveadm, which must succeed within two minutes.
func (d *dovecot) adm(args ...string) string {
	d.t.Helper()
	cmd := d.command("/usr/bin/doveadm", args...)
	defer time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() }).Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("doveadm %q: %v\n%s\n%s", args, err, out, d.log())
	}
	return string(out)
}

func (d *dovecot) log() string {
	text, err := os.ReadFile(d.dir + "/log")
	if err != nil {
		d.t.Error(err)
	}
	return string(text)
}

// imap starts a session that is logged in.
func (d *dovecot) imap() *conn {
	d.t.Helper()
	cmd := d.command(dovecotIMAP)
	in, err := cmd.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	c := &conn{t: d.t, r: bufio.NewReader(out), w: in}
	c.close = func() {
		in.Close()
		io.Copy(io.Discard, out)
		cmd.Wait()
	}
	d.t.Cleanup(func() { c.close() })
	if line, err := c.line(); err != nil || !strings.HasPrefix(line, "* PREAUTH") {
		d.t.Fatalf("Dovecot's greeting: %q, %v\n%s", line, err, d.log())
	}
	return c
}
