package clienttest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/maildir"
)

// terminal is a program in a terminal of its own.
type terminal struct {
	t      *testing.T
	home   string
	tmux   string
	socket string // of a tmux of its own
}

// openTerminal starts a program with a home. What the test leaves is killed.
func openTerminal(t *testing.T, home, command string) *terminal {
	t.Helper()
	term := &terminal{t, home, need(t, "tmux", "tmux"), fmt.Sprintf("%s/tmux%d", home, time.Now().UnixNano())}
	term.run("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "30", command)
	t.Cleanup(func() { exec.Command(term.tmux, "-S", term.socket, "kill-server").Run() })
	return term
}

func (term *terminal) run(args ...string) string {
	term.t.Helper()
	return run(term.t, term.home, term.tmux, append([]string{"-S", term.socket}, args...)...)
}

// press types keys; words are tmux's names of keys, or text.
func (term *terminal) press(keys ...string) {
	term.t.Helper()
	term.run(append([]string{"send-keys"}, keys...)...)
}

// see waits until the screen shows a text.
func (term *terminal) see(text string) {
	term.t.Helper()
	screen := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if screen = term.run("capture-pane", "-p"); strings.Contains(screen, text) {
			return
		}
	}
	term.t.Fatalf("the screen does not show %q:\n%s", text, screen)
}

// ended waits until the program has ended, and tmux with it.
func (term *terminal) ended() {
	term.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := try(term.t, term.home, "", term.tmux, "-S", term.socket, "has-session"); err != nil {
			return
		}
	}
	term.t.Fatalf("the program goes on:\n%s", term.run("capture-pane", "-p"))
}

// TestNeomutt opens, reads, flags, saves and deletes messages, sees new mail
// arrive by IDLE, and finds everything again by QRESYNC from its cache.
func TestNeomutt(t *testing.T) {
	neomutt := need(t, "neomutt", "neomutt")
	s := newServer(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		s.append("INBOX", mail(id), maildir.Delivery{Date: time.Now().Add(-time.Hour)})
	}
	s.must(s.store().Create(t.Context(), "Wörk/Sub"))
	home := t.TempDir()
	write(t, home+"/rc", `
set folder="imaps://`+user+`@localhost:`+s.port+`/" spoolfile="=INBOX" postponed="" record=""
set imap_user="`+user+`" imap_pass="`+password+`"
set ssl_force_tls=yes certificate_file="`+s.cert+`" ssl_verify_host=yes
set header_cache="`+home+`/cache"
set imap_idle=yes imap_condstore=yes imap_qresync=yes mail_check=1 timeout=1
set delete=yes quit=yes move=no confirmappend=no confirmcreate=no mark_old=no sort=mailbox-order beep=no
set wait_key=no help=no index_format="%4C %Z %s" charset=utf-8 sleep_time=0 auto_tag=no resolve=no
`)
	s.must(os.Mkdir(home+"/cache", 0o700))
	term := openTerminal(t, home, neomutt+" -n -F "+home+"/rc")
	term.see("number d")
	term.press("1", "Enter", "Enter")
	term.see("A line of message a.")
	term.press("i")
	term.see("number d")
	term.press("F") // flag the first
	term.press("2", "Enter", "s", "C-a", "C-k", "=Wörk/Sub", "Enter")
	term.see("2 ND")
	term.press("3", "Enter", "d")
	term.press("$")
	term.see("2 kept, 2 deleted")
	c := s.dial()
	c.ok("APPEND INBOX " + literal(mail("late")))
	term.see("number late")
	term.press("q")
	term.ended()

	inbox, saved := s.letters("INBOX"), s.letters("Wörk/Sub")
	if len(inbox) != 3 || inbox[0].id() != "<a@test>" || inbox[0].flags != `\Flagged \Seen` || inbox[1].id() != "<d@test>" {
		t.Errorf("INBOX: %+v", inbox)
	}
	if len(saved) != 1 || saved[0].text != mail("b") {
		t.Errorf("the folder: %+v", saved)
	}
	c.ok("SELECT INBOX")
	c.ok(`STORE 1 FLAGS (\Seen \Answered)`)
	c.ok(`STORE 2 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")
	if cached, err := os.ReadDir(home + "/cache"); err != nil || len(cached) == 0 {
		t.Errorf("there is no cache to begin with: %v", err)
	}
	again := openTerminal(t, home, neomutt+" -n -F "+home+"/rc")
	again.see("1 r   number a")
	again.see("2 N   number late")
	again.press("q")
	again.ended()
}
