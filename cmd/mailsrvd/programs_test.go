package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/sys/unix"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/smtpd/queue"
)

// ticketSite is a site on which tickets@ leads to alice and into a script, which may
// write to out, and slow@ into one that does not end.
func ticketSite(t *testing.T, s *dev.Site) (out string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing: root, to run programs as another user")
	}
	out = filepath.Join(s.Dir, "out")
	script := filepath.Join(s.Dir, "ticket")
	text := "#!/bin/sh\ncd " + out + ` || exit 71
case $1 in
slow) echo $$ >pid; exec sleep 1000 ;;
esac
echo run >>runs
[ -e ready ] || { echo "not yet"; exit 75; }
cat >mail
`
	if err := errors.Join(os.WriteFile(script, []byte(text), 0o755), os.Chmod(script, 0o755), os.Chmod(s.Dir, 0o711), os.Mkdir(out, 0o777), os.Chmod(out, 0o777)); err != nil {
		t.Fatal(err)
	}
	edit(t, s.Config, "[aliases]", fmt.Sprintf("[aliases]\npipe_programs = %q", script))
	edit(t, s.Dir+"/aliases", "hostmaster: alice", fmt.Sprintf("hostmaster: alice\ntickets: \"|%[1]s new\", alice\nonly: |%[1]s new\nslow: |%[1]s slow", script))
	return out
}

// TestProgramOfAnAliasThroughTheDaemon: a program that puts off what alice has
// already runs again for itself alone, with its own address; one that stands alone
// makes the client try again, and nothing is queued.
func TestProgramOfAnAliasThroughTheDaemon(t *testing.T) {
	out := ""
	tr := startDev(t, func(s *dev.Site) { out = ticketSite(t, s) })
	send := func(to string) error {
		c, err := smtp.Dial(tr.cfg.Listen.MX[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.SendMail("eve@far.example", []string{to + "@" + dev.Domain}, strings.NewReader("Subject: it broke\r\nFrom: eve@far.example\r\n\r\nhello\r\n"))
	}
	if err := send("only"); err == nil || !strings.Contains(err.Error(), "temporary failure: not yet") {
		t.Errorf("only: %v", err)
	}
	if err := send("tickets+x"); err != nil {
		t.Fatal(err)
	}
	var items []queue.Item
	_, stdout, _ := tr.command(t, "", "queue", "list", "--json")
	if err := json.Unmarshal([]byte(stdout), &items); err != nil || len(items) != 1 || len(items[0].Recipients) != 1 || items[0].Recipients[0].Local == nil || items[0].Recipients[0].Local.Program == "" {
		t.Fatalf("%v: %s", err, stdout)
	}
	if n := tr.with(t, "alice", "Subject: it broke"); n != 1 {
		t.Errorf("alice has %d", n)
	}
	if err := os.WriteFile(filepath.Join(out, "ready"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tr.command(t, "", "queue", "retry", "--all")
	mail := []byte(nil)
	for range 200 {
		if mail, _ = os.ReadFile(filepath.Join(out, "mail")); strings.HasSuffix(string(mail), "hello\n") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if text := string(mail); !strings.HasPrefix(text, "Return-Path: <eve@far.example>\nDelivered-To: tickets+x@"+dev.Domain+"\n") || !strings.HasSuffix(text, "\n\nhello\n") {
		t.Errorf("the program got %q", text)
	}
	if runs, err := os.ReadFile(filepath.Join(out, "runs")); err != nil || strings.Count(string(runs), "run") != 3 {
		t.Errorf("runs: %q, %v", runs, err)
	}
	if n := tr.with(t, "alice", "Subject: it broke"); n != 1 {
		t.Errorf("alice has %d after the retry", n)
	}
	for _, address := range []string{"tickets", "nobody-here"} {
		code, stdout, stderr := tr.command(t, "", "route", address+"@"+dev.Domain)
		if address == "tickets" && (code != 0 || !strings.Contains(stdout, "/ticket new  as nobody") || !strings.Contains(stdout, "user     alice")) ||
			address != "tickets" && (code != 1 || !strings.Contains(stderr, "550 5.1.1")) {
			t.Errorf("route %s: exit %d: %s%s", address, code, stdout, stderr)
		}
	}
}

// TestProgramsEndWithTheDaemon: kill -9 leaves none behind.
func TestProgramsEndWithTheDaemon(t *testing.T) {
	site := devSite(t)
	out := ticketSite(t, site)
	p := startServe(t, site, os.Args[0], nil)
	c, err := smtp.Dial(p.cfg.Listen.MX[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error, 1)
	go func() {
		done <- c.SendMail("eve@far.example", []string{"slow@" + dev.Domain}, strings.NewReader("Subject: x\r\n\r\nx\r\n"))
	}()
	pid := 0
	for range 200 {
		b, _ := os.ReadFile(filepath.Join(out, "pid"))
		if pid, _ = strconv.Atoi(strings.TrimSpace(string(b))); pid > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if pid == 0 {
		t.Fatal("the program did not start")
	}
	p.Process.Kill()
	p.Wait()
	if err := <-done; err == nil {
		t.Error("the message was acknowledged")
	}
	for range 200 {
		if err = unix.Kill(pid, 0); err == unix.ESRCH || ended(pid) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("the program %d lives on: %v", pid, err)
}

// ended reports whether a process is one that only its parent has not asked for yet.
func ended(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(b), ") Z ")
}
