package lda

import (
	"fmt"
	"net"
	"net/smtp"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/peertest"
	"svc.plus/mailsrvd/internal/status"
)

// syncLog is a log that another process writes while the test reads.
type syncLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestProgramsEndAsInPostfix gives the same program to Postfix's local(8) and to
// us: each exit code, and status codes in the output, end in the same enhanced
// status.
func TestProgramsEndAsInPostfix(t *testing.T) {
	postfix := peertest.NewPostfix(t)
	script, _ := workshop(t)
	commands := map[string]string{
		"silent": script + " fail 70", "own5": script + " fail 1 '5.7.1 members only'", "own4": script + " fail 69 '4.2.2 full for now'",
		"over": script + " fail 75 '5.1.6 has moved'", "ok": script + " fail 0 '5.1.1 not meant'",
	}
	for _, code := range []int{1, 2, 63, 79, 100, 126, 127, 255} {
		commands[fmt.Sprint("c", code)] = fmt.Sprint(script, " fail ", code, " said")
	}
	for code := range sysexits {
		commands[fmt.Sprint("c", code)] = fmt.Sprint(script, " fail ", code, " said")
	}
	var theirs, ours strings.Builder
	for name, c := range commands {
		fmt.Fprintf(&theirs, "%s \"|%s\"\n", name, c)
		fmt.Fprintf(&ours, "%s: \"|%s\"\n", name, c)
	}
	rewrite(t, filepath.Join(postfix.Dir, "aliases"), theirs.String())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	log := &syncLog{}
	postfix.Log = log
	postfix.Start("myhostname = mx.example.org\nmydestination = example.org\nmynetworks = 127.0.0.0/8\nlocal_recipient_maps =\ndefault_privs = nobody\n"+
		"alias_maps = texthash:"+filepath.Join(postfix.Dir, "aliases")+"\nalias_database =\n", addr)
	submit(t, addr, commands)

	a, _ := piping(t, script, ours.String())
	line := regexp.MustCompile(`to=<([a-z0-9]+)@example\.org>.* dsn=([0-9.]+), status=(\w+) \((.*)\)`)
	seen := map[string]bool{}
	for range 600 {
		if len(seen) == len(commands) {
			break
		}
		time.Sleep(50 * time.Millisecond)
		for _, m := range line.FindAllStringSubmatch(log.String(), -1) {
			if name := m[1]; !seen[name] {
				seen[name] = true
				compare(t, a, name, commands[name], m[2], m[3])
			}
		}
	}
	if len(seen) != len(commands) {
		t.Errorf("Postfix tells of %d of %d", len(seen), len(commands))
	}
}

// submit sends one message to all names, with a null sender: nobody is told of its
// failures.
func submit(t *testing.T, addr string, names map[string]string) {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail(""); err != nil {
		t.Fatal(err)
	}
	for name := range names {
		if err := c.Rcpt(name + "@example.org"); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(testMail)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// compare holds our status to what Postfix has logged.
func compare(t *testing.T, a *Agent, name, command, dsn, fate string) {
	t.Helper()
	got, ourFate := "2.0.0", "sent"
	if s := status.From(through(t, a, name+"@example.org")[0]); s != nil {
		got, ourFate = s.Enhanced.String(), "bounced"
		if s.Temporary() {
			ourFate = "deferred"
		}
		if strings.Contains(command, " said") && !strings.Contains(s.Text, "said") {
			t.Errorf("%s: our answer does not tell what the program said: %s", command, s.Text)
		}
	}
	if got != dsn || ourFate != fate {
		t.Errorf("%s: %s (%s), in Postfix %s (%s)", command, got, ourFate, dsn, fate)
	}
}
