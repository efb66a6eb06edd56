package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/config"
)

// patience is how long tests wait for what must come. Only a failure takes so long,
// so that a busy machine is none.
const patience = 2 * time.Minute

// eventually reports whether ok comes true while one has patience.
func eventually(ok func() bool) bool {
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// process is mailsrvd serve as a process of its own.
type process struct {
	*exec.Cmd
	cfg *config.Config
	log *lockedBuffer
}

// startServe runs the real program on a site; env and files are passed on. It
// returns when the daemon answers.
func startServe(t *testing.T, site *dev.Site, program string, env []string, files ...*os.File) *process {
	t.Helper()
	cfg, err := config.Load(site.Config)
	if err != nil {
		t.Fatal(err)
	}
	// systemd sets LISTEN_PID to the pid, which only the process itself knows.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" serve --config "$1"`, program, site.Config)
	cmd.Env = append(append(os.Environ(), "MAILSRVD_TEST_MAIN=1"), env...)
	cmd.ExtraFiles = files
	p := &process{Cmd: cmd, cfg: cfg, log: &lockedBuffer{}}
	cmd.Stderr = p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("log of the server:\n%s", p.log)
		}
	})
	if err := awaitStatus(cfg, cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return p
}

// supervisor is the other end of sd_notify(3).
type supervisor struct {
	*net.UnixConn
	path string
}

func newSupervisor(t *testing.T) *supervisor {
	t.Helper()
	path := filepath.Join(devDir(t), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &supervisor{c, path}
}

// await reads messages until one has the line.
func (s *supervisor) await(t *testing.T, line string) {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	var seen []string
	for {
		n, err := s.Read(buf)
		if err != nil {
			t.Fatalf("no %s (%v); the daemon said %q", line, err, seen)
		}
		lines := strings.Split(string(buf[:n]), "\n")
		if seen = append(seen, lines...); slices.Contains(lines, line) {
			return
		}
	}
}

func TestServeReportsToSystemd(t *testing.T) {
	s := newSupervisor(t)
	site := devSite(t)
	p := startServe(t, site, os.Args[0], []string{"NOTIFY_SOCKET=" + s.path, "WATCHDOG_USEC=200000"})
	s.await(t, "READY=1")
	s.await(t, "WATCHDOG=1")
	p.Process.Signal(syscall.SIGHUP)
	s.await(t, "RELOADING=1")
	s.await(t, "READY=1")
	// A broken configuration is refused, and the server lives on.
	edit(t, site.Config, "[relay]", "[relai]")
	p.Process.Signal(syscall.SIGHUP)
	s.await(t, "RELOADING=1")
	s.await(t, "READY=1")
	p.Process.Signal(syscall.SIGTERM)
	s.await(t, "STOPPING=1")
	if err := p.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	if !strings.Contains(p.log.String(), "reload refused") {
		t.Error("the refusal is not logged")
	}
}

func TestServeTakesSocketsFromSystemd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	site := devSite(t)
	startServe(t, site, os.Args[0], []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=mx"}, f)
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 3)
	if _, err := conn.Read(b); err != nil || string(b) != "220" {
		t.Errorf("greeting %q, %v", b, err)
	}
}

// TestKilledServerKeepsTheQueue: kill -9 loses nothing that was acknowledged,
// and the next start is not kept out by what the last one left.
func TestKilledServerKeepsTheQueue(t *testing.T) {
	site := devSite(t)
	p := startServe(t, site, os.Args[0], nil)
	tr := &trial{Site: site, cfg: p.cfg}
	if err := tr.submit(t, "bob", "bob@"+dev.Domain, "friend@example.net", "alice@"+dev.Domain); err != nil {
		t.Fatal(err)
	}
	p.Process.Kill()
	p.Wait()
	startServe(t, site, os.Args[0], nil)
	if _, stdout, _ := tr.command(t, "", "queue", "list"); !strings.Contains(stdout, "friend@example.net") {
		t.Errorf("queue: %s", stdout)
	}
	if tr.with(t, "alice", "by submission") != 1 {
		t.Errorf("alice has %q", tr.mailbox(t, "alice"))
	}
}

// asNobody runs the program with the site's configuration as a user without a
// mailbox, in the given group.
func asNobody(t *testing.T, site *dev.Site, name, stdin string, gid uint32, args ...string) (code int, stderr string) {
	t.Helper()
	program := filepath.Join(site.Dir, name)
	if out, err := exec.Command("cp", os.Args[0], program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range []string{site.Dir, site.Dir + "/run", program, site.Config} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Env = []string{"MAILSRVD_TEST_MAIN=1", "MAILSRVD_CONFIG=" + site.Config}
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: gid}}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestOtherUsersReachTheDaemon: members of the group mail deliver through its
// socket, others may not, and everybody may submit under his own name.
func TestOtherUsersReachTheDaemon(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to run commands as other users")
	}
	const mail = 8
	tr := startDev(t, nil)
	if code, stderr := asNobody(t, tr.Site, "dovecot-lda", "Subject: handed over\n\nx\n", mail, "-d", "alice", "-f", "x@example.net"); code != 0 || tr.with(t, "alice", "handed over") != 1 {
		t.Errorf("as a member of mail: exit %d: %s", code, stderr)
	}
	if code, stderr := asNobody(t, tr.Site, "deliver", "Subject: handed over\n\nx\n", 65534, "-d", "alice"); code != 75 && code != 77 || tr.with(t, "alice", "handed over") != 1 {
		t.Errorf("as another: exit %d: %s", code, stderr)
	}
	if code, stderr := asNobody(t, tr.Site, "sendmail", "Subject: from nobody\n\nx\n", 65534, "bob"); code != 0 || tr.with(t, "bob", "Return-Path: <nobody@example.test>") != 1 {
		t.Errorf("sendmail: exit %d: %s", code, stderr)
	}
	if code, stderr := asNobody(t, tr.Site, "sendmail", "Subject: as alice\n\nx\n", 65534, "-f", "alice@example.test", "bob"); code != 77 && code != 67 {
		t.Errorf("sendmail as alice: exit %d: %s", code, stderr)
	}
	if code, stderr := asNobody(t, tr.Site, "mailq", "", 65534); code != 1 || !strings.Contains(stderr, "as root") {
		t.Errorf("mailq: exit %d: %s", code, stderr)
	}
}

// TestServeAsRootGoesOnAsItsUser runs the real program, since that gives its
// identity away.
func TestServeAsRootGoesOnAsItsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to become another user")
	}
	site := devSite(t)
	edit(t, site.Config, `user       = ""`, `user       = "nobody"`)
	edit(t, site.Config, `state_dir  = "state"`, `state_dir  = "state2"`)
	edit(t, site.Config, `run_dir    = "run"`, `run_dir    = "run2"`)
	// The test's own program lies where only root may go.
	program := filepath.Join(site.Dir, "mailsrvd")
	if out, err := exec.Command("cp", os.Args[0], program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("chown", "-R", "nobody", site.Dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := startServe(t, site, program, nil)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534\n", "CapEff:\t00000000000004c0\n", "CapBnd:\t00000000000004c0\n", "NoNewPrivs:\t1\n", "Groups:\t \n"} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
}

// awaitStatus asks until the daemon of this pid answers.
func awaitStatus(cfg *config.Config, pid int) error {
	var err error
	eventually(func() bool {
		var s admin.Status
		if s, err = admin.GetStatus(context.Background(), cfg.Socket("control")); err == nil {
			if s.PID != pid {
				err = fmt.Errorf("pid %d answers", s.PID)
			}
			return true
		}
		if _, e := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)); errors.Is(e, os.ErrNotExist) {
			err = errors.New("the server ended")
			return true
		}
		return false
	})
	return err
}
