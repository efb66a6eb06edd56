package managesieve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/peertest"
)

// pigeonhole is Dovecot's process for ManageSieve; started with USER and HOME set it
// speaks on its standard input and output, logged in already.
const pigeonhole = "/usr/lib/dovecot/managesieve"

// newPigeonhole starts one for the account.
func newPigeonhole(t *testing.T, account auth.Account) *client {
	t.Helper()
	if _, err := os.Stat(pigeonhole); err != nil {
		t.Skipf("missing: %s (Debian package dovecot-managesieved)", pigeonhole)
	}
	dir := peertest.SharedDir(t)
	conf := fmt.Sprintf("base_dir = %[1]s/run\nstate_dir = %[1]s/run\nlog_path = %[1]s/log\nmail_location = maildir:~/Maildir\nprotocols =\n"+
		"stats_writer_socket_path =\nssl = no\nplugin {\n  sieve = file:~/sieve;active=~/.dovecot.sieve\n}\n", dir)
	if err := errors.Join(os.Mkdir(dir+"/run", 0o755), os.WriteFile(dir+"/dovecot.conf", []byte(conf), 0o644), os.Chmod(dir+"/dovecot.conf", 0o644),
		os.WriteFile(dir+"/log", nil, 0o666), os.Chmod(dir+"/log", 0o666)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(pigeonhole, "-c", dir+"/dovecot.conf")
	cmd.Dir = account.Owner.Home
	cmd.Env = []string{"HOME=" + account.Owner.Home, "USER=" + account.Name, "PATH=" + os.Getenv("PATH")}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(account.Owner.UID), Gid: uint32(account.Owner.GID)}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		defer time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() }).Stop()
		cmd.Wait()
		if log, _ := os.ReadFile(dir + "/log"); t.Failed() {
			t.Logf("Pigeonhole's log:\n%s", log)
		}
	})
	return &client{Conn: pipes{w: in}, t: t, r: bufio.NewReader(out)}
}

// pipes are those of a process, in the place of a connection.
type pipes struct {
	net.Conn
	w io.Writer
}

func (p pipes) Write(b []byte) (int, error)     { return p.w.Write(b) }
func (p pipes) SetReadDeadline(time.Time) error { return nil }

var statusAndCode = regexp.MustCompile(`^(OK|NO|BYE)( \([A-Z/]+\))?`)

// outcome is an answer in the form in which two servers can agree: what it tells,
// then status and code, without the text for people.
func outcome(lines []string) string {
	last := len(lines) - 1
	told := slices.Clone(lines[:last])
	slices.Sort(told)
	return strings.Join(append(told, statusAndCode.FindString(lines[last])), "|")
}

// TestPigeonholeAnswersTheSame: one conversation with both, then the same files. The
// rows with a third word differ, for the reason there.
func TestPigeonholeAnswersTheSame(t *testing.T) {
	h := newHarness(t, nil)
	theirs := newAccount(t, "carol", 20003)
	for _, account := range []auth.Account{h.alice, theirs} {
		writeAs(t, account, ".dovecot.sieve", "# a file of its own\nkeep;\n")
	}
	ours, peer := h.login("alice"), newPigeonhole(t, theirs)
	for _, row := range []struct{ command, differs, why string }{
		{`LISTSCRIPTS`, "", ""},
		{`GETSCRIPT "main"`, "", ""},
		{`SETACTIVE "main"`, "", ""},
		{`DELETESCRIPT "main"`, "", ""},
		{`RENAMESCRIPT "main" "other"`, "", ""},
		{`PUTSCRIPT "main" ` + literal("keep;\r\n"), "", ""},
		{`PUTSCRIPT "other" "stop;"`, "", ""},
		{`PUTSCRIPT ` + literal("with \"quotes\" & Füße") + ` ` + literal("keep;"), "", ""},
		{`LISTSCRIPTS`, "", ""},
		{`SETACTIVE "main"`, "", ""},
		{`LISTSCRIPTS`, "", ""},
		{`SETACTIVE "main"`, "", ""},
		{`GETSCRIPT "dovecot.orig"`, "", ""},
		{`DELETESCRIPT "main"`, "", ""},
		{`RENAMESCRIPT "main" "other"`, "", ""},
		{`RENAMESCRIPT "main" "main"`, "", ""},
		{`RENAMESCRIPT "main" "renamed"`, "", ""},
		{`LISTSCRIPTS`, "", ""},
		{`GETSCRIPT "renamed"`, "", ""},
		{`PUTSCRIPT "renamed" ` + literal("nonsense;"), "", ""},
		{`GETSCRIPT "renamed"`, "", ""},
		{`PUTSCRIPT "renamed" ` + literal("discard;"), "", ""},
		{`GETSCRIPT "renamed"`, "", ""},
		{`CHECKSCRIPT ` + literal("keep"), "", ""},
		{`CHECKSCRIPT ` + literal("require \"fileinto\"; fileinto \"x\";"), "", ""},
		{`CHECKSCRIPT ` + literal("require \"no-such-extension\";"), "", ""},
		{`CHECKSCRIPT "keep;"`, "", ""},
		{`CHECKSCRIPT ` + literal(""), "", ""},
		{`PUTSCRIPT "includes" ` + literal("require \"include\"; include \"part\";"), "", ""},
		{`SETACTIVE "includes"`, "", ""},
		{`PUTSCRIPT "part" ` + literal("keep;"), "", ""},
		{`SETACTIVE "includes"`, "", ""},
		{`SETACTIVE ""`, "", ""},
		{`SETACTIVE ""`, "", ""},
		{`LISTSCRIPTS`, "", ""},
		{`DELETESCRIPT "renamed"`, "", ""},
		{`HAVESPACE "x" 100`, "", ""},
		{`HAVESPACE "x" 100000000`, "", ""},
		{`HAVESPACE "x" "100"`, "", ""},
		{`PUTSCRIPT "big" ` + literal(strings.Repeat("#", 1<<20+1)), "", ""},
		{`PUTSCRIPT "a/b" "keep;"`, "", ""},
		{`PUTSCRIPT "" "keep;"`, "", ""},
		{`PUTSCRIPT ` + literal("a\tb") + ` "keep;"`, "", ""},
		{`PUTSCRIPT ` + literal("a\u0085b") + ` "keep;"`, "", ""},
		{`GETSCRIPT "../.dovecot"`, "", ""},
		{`DELETESCRIPT "../.dovecot"`, "", ""},
		{`RENAMESCRIPT "part" "../x"`, "", ""},
		{`SETACTIVE "../x"`, "", ""},
		{`PUTSCRIPT "empty" ""`, "NO", "RFC 5804 section 2.6 does not want empty scripts"},
		{`DELETESCRIPT "empty"`, "NO (NONEXISTENT)", "the same"},
		{`NOOP`, "", ""},
		{`NOOP "tag"`, "", ""},
		{`FROBNICATE`, "", ""},
		{`LISTSCRIPTS "x"`, "", ""},
		{`GETSCRIPT`, "", ""},
		{`GETSCRIPT x`, "", ""},
		{`GETSCRIPT "x" "y"`, "", ""},
		{`PUTSCRIPT "x"`, "", ""},
		{`STARTTLS`, "", ""},
		{`AUTHENTICATE "PLAIN"`, "", ""},
		{`LOGOUT`, "", ""},
	} {
		ours.send(row.command + "\r\n")
		peer.send(row.command + "\r\n")
		got, theirs := ours.answer(), peer.answer()
		switch a, b := outcome(got), outcome(theirs); {
		case row.differs != "" && (a == b || a != row.differs):
			t.Errorf("%.80q: %q, and Pigeonhole %q: not as expected (%s)", row.command, got, theirs, row.why)
		case row.differs == "" && a != b:
			t.Errorf("%.80q\nours       %.300q\nPigeonhole %.300q", row.command, got, theirs)
		}
	}
	without := func(list []string) []string { // Pigeonhole's directory for what is being uploaded
		return slices.DeleteFunc(list, func(f string) bool { return f == "sieve/tmp" || f == "Maildir" || strings.HasPrefix(f, "Maildir/") })
	}
	if a, b := without(files(t, h.alice)), without(files(t, theirs)); !slices.Equal(a, b) {
		t.Errorf("ours       %.1000q\nPigeonhole %.1000q", a, b)
	}
}

// TestPigeonholeAndWeFollowEachOther: scripts that one has put and activated are
// the other's, in turn.
func TestPigeonholeAndWeFollowEachOther(t *testing.T) {
	h := newHarness(t, nil)
	ours, peer := h.login("alice"), newPigeonhole(t, h.alice)
	for i := range 6 {
		one, other := ours, peer
		if i%2 == 1 {
			one, other = peer, ours
		}
		name := fmt.Sprintf("script %d", i)
		one.put(name, "keep;")
		if got := other.ask("LISTSCRIPTS"); !strings.Contains(got, `"`+name+`" ACTIVE`) {
			t.Errorf("%s: the other lists %s", name, got)
		}
		if got := other.ask(`RENAMESCRIPT "` + name + `" "renamed ` + name + `"`); !strings.HasPrefix(got, "OK") {
			t.Error(got)
		}
		if got := one.ask("LISTSCRIPTS"); !strings.Contains(got, `"renamed `+name+`" ACTIVE`) {
			t.Errorf("%s: then %s", name, got)
		}
	}
	if to, err := os.Readlink(filepath.Join(h.alice.Owner.Home, ".dovecot.sieve")); err != nil || to != "sieve/renamed script 5.sieve" {
		t.Error(to, err)
	}
}
