package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/smtpd/queue"
)

// userLDA runs `mailsrvd lda` as the system's user daemon, who has a home and an
// account here, under a name that he may claim falsely.
type userLDA struct {
	t       *testing.T
	site    *dev.Site
	home    string
	program string
}

const daemonUID = 1

// newUserLDA adds the account to a site that is not running yet.
func newUserLDA(t *testing.T, s *dev.Site) *userLDA {
	t.Helper()
	u := &userLDA{t: t, site: s, home: filepath.Join(s.Dir, "daemon"), program: filepath.Join(s.Dir, "mailsrvd")}
	edit(t, s.Config, "[relay]", "[mail]\nmin_uid = 1\n[relay]")
	f, err := os.OpenFile(filepath.Join(s.Dir, "passwd"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "daemon:{PLAIN}x:%d:%d::%s::\n", daemonUID, daemonUID, u.home)
	if out, err := exec.Command("cp", os.Args[0], u.program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := errors.Join(os.Mkdir(u.home, 0o700), os.Chown(u.home, daemonUID, daemonUID), os.Chmod(s.Dir, 0o755), os.Chmod(s.Dir+"/run", 0o755),
		os.Chmod(u.program, 0o755), os.Chmod(s.Config, 0o644)); err != nil {
		t.Fatal(err)
	}
	return u
}

// script makes a filter the user's.
func (u *userLDA) script(text string) {
	u.t.Helper()
	path := filepath.Join(u.home, ".dovecot.sieve")
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chown(path, daemonUID, daemonUID)); err != nil {
		u.t.Fatal(err)
	}
}

func (u *userLDA) run(name, text string, args ...string) (code int, out string) {
	u.t.Helper()
	cmd := exec.Command(u.program, append([]string{"lda"}, args...)...)
	cmd.Env = []string{"MAILSRVD_TEST_MAIN=1", "MAILSRVD_CONFIG=" + u.site.Config, "USER=" + name, "HOME=" + u.home}
	cmd.Stdin, cmd.Dir = strings.NewReader(text), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: daemonUID, Gid: daemonUID}}
	b, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		u.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// stored counts the messages in the user's INBOX.
func (u *userLDA) stored() int {
	files, _ := filepath.Glob(u.home + "/Maildir/new/*")
	return len(files)
}

// TestUsersOwnLDAHasAWayOut: what a filter sends on leaves through the daemon when
// the user runs the command himself; without a daemon nothing is done at all.
func TestUsersOwnLDAHasAWayOut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to run commands as another user")
	}
	var u *userLDA
	tr := startDev(t, func(s *dev.Site) { u = newUserLDA(t, s) })
	waiting := func() (list []queue.Item) {
		_, stdout, _ := tr.command(t, "", "queue", "list", "--json")
		if err := json.Unmarshal([]byte(stdout), &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	const text = "Received: from x\nFrom: boss@far.example\nTo: daemon@example.test\nSubject: sent on\nMessage-ID: <1@far.example>\n\nhello\n"

	u.script(`require "copy"; redirect :copy "friend@example.net";`)
	if code, out := u.run("daemon", text, "-f", "boss@far.example"); code != 0 {
		t.Fatalf("exit %d: %s", code, out)
	}
	items := waiting()
	if len(items) != 1 || u.stored() != 1 || items[0].Recipients[0].Address != "friend@example.net" || items[0].Envelope.Trusted ||
		!strings.HasPrefix(items[0].Envelope.ReversePath, "SRS0=") || !strings.HasSuffix(items[0].Envelope.ReversePath, "=far.example=boss@"+dev.Domain) {
		t.Fatalf("%d stored, queue %+v", u.stored(), items)
	}
	_, shown, _ := tr.command(t, "", "queue", "show", "--message", items[0].ID)
	for _, want := range []string{"X-Sieve-Redirected-From: daemon@example.test", "Subject: sent on"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in %s", want, shown)
		}
	}
	if strings.Contains(shown, "ARC-Seal") {
		t.Error("we vouch for a user's word")
	}

	u.script(`require "vacation"; vacation "away";`)
	if code, out := u.run("daemon", text, "-f", "boss@far.example"); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	if items = waiting(); len(items) != 2 || items[1].Recipients[0].Address != "boss@far.example" || items[1].Envelope.ReversePath != "" {
		t.Errorf("the answer: %+v", items)
	}

	// In the name of somebody else.
	u.script(`redirect "friend@example.net";`)
	before := u.stored()
	if code, out := u.run("alice", text); code != 75 || !strings.Contains(out, "may not send mail on for alice") {
		t.Errorf("as alice: exit %d: %s", code, out)
	}
	// Back where it came from.
	if code, out := u.run("daemon", "X-Sieve-Redirected-From: daemon@example.test\n"+text); code != 0 || u.stored() != before+1 {
		t.Errorf("a loop: exit %d: %s", code, out)
	}
	if items = waiting(); len(items) != 2 {
		t.Errorf("the queue: %+v", items)
	}

	if err := tr.stop(); err != nil {
		t.Fatal(err)
	}
	u.script(`require "copy"; redirect :copy "friend@example.net";`)
	before = u.stored()
	if code, out := u.run("daemon", text); code != 75 || u.stored() != before || !strings.Contains(out, "no daemon is listening") {
		t.Errorf("without a daemon: exit %d, %d stored: %s", code, u.stored()-before, out)
	}
}
