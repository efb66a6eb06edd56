package imapd

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// dovecotIMAP is Dovecot's IMAP process; started with USER and HOME set it
// speaks on its standard input and output, logged in already.
const dovecotIMAP = "/usr/lib/dovecot/imap"

// newDovecot starts a Dovecot over a Maildir with the given messages, in cur/
// with these flags.
func newDovecot(t *testing.T, messages []string) *testConn {
	t.Helper()
	if _, err := os.Stat(dovecotIMAP); err != nil {
		t.Skipf("missing: %s (Debian package dovecot-imapd)", dovecotIMAP)
	}
	dir, err := os.MkdirTemp("", "imapd-dovecot") // others must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	fillMaildir(t, dir+"/Maildir", messages)
	conf := fmt.Sprintf("base_dir = %[1]s/run\nstate_dir = %[1]s/run\nlog_path = %[1]s/log\n"+
		"mail_location = maildir:~/Maildir\nnamespace inbox {\n inbox = yes\n separator = /\n}\n"+
		"protocols =\nstats_writer_socket_path =\nssl = no\nmail_fsync = never\n", dir)
	if err := os.MkdirAll(dir+"/run", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/dovecot.conf", []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dovecotIMAP, "-c", dir+"/dovecot.conf")
	cmd.Env = []string{"HOME=" + dir, "USER=" + runAsNobody(t, cmd, dir), "PATH=" + os.Getenv("PATH")}
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
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	c := &testConn{Conn: pipeConn{scriptConn: &scriptConn{}, w: in}, r: bufio.NewReader(out)}
	if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* PREAUTH") {
		log, _ := os.ReadFile(dir + "/log")
		t.Skipf("missing: a Dovecot that starts: %q %v %s", line, err, log)
	}
	return c
}

// pipeConn writes to a process.
type pipeConn struct {
	*scriptConn
	w io.Writer
}

func (c pipeConn) Write(p []byte) (int, error) { return c.w.Write(p) }

func fillMaildir(t *testing.T, dir string, messages []string) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i, text := range messages {
		name := fmt.Sprintf("cur/%d.M%dP1.h:2,", 1700000000+i, i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// runAsNobody lets cmd run as nobody, and gives dir to nobody, where we are
// root: Dovecot serves no mail as root. It returns the user's name.
func runAsNobody(t *testing.T, cmd *exec.Cmd, dir string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		u, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		return u.Username
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("missing: user nobody: %v", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	filepath.Walk(dir, func(path string, _ os.FileInfo, _ error) error { return os.Chown(path, uid, gid) })
	return "nobody"
}

// answer runs a command and returns the answer in a form that two servers can
// agree on.
func (c *testConn) answer(t *testing.T, command string) string {
	t.Helper()
	if _, err := io.WriteString(c, "x "+unescape(command)+"\r\n"); err != nil {
		t.Fatal(err)
	}
	var out []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v after %q", command, err, out)
		}
		line = strings.TrimSuffix(line, "\r\n")
		if rest, ok := strings.CutPrefix(line, "x "); ok {
			if strings.HasPrefix(command, "LIST") || strings.HasPrefix(command, "LSUB") {
				slices.Sort(out)
			}
			return strings.Join(append(out, tagged(rest)), "\n")
		}
		if n, err := strconv.Atoi(literalSize.ReplaceAllString(line, "$1")); literalSize.MatchString(line) && err == nil {
			text := make([]byte, n)
			if _, err := io.ReadFull(c.r, text); err != nil {
				t.Fatal(err)
			}
			line += string(text)
		}
		if !strings.HasPrefix(line, "* OK ") && !strings.HasPrefix(line, "+") && !strings.Contains(line, " RECENT") {
			out = append(out, ignored.ReplaceAllString(line, "$1"))
		}
	}
}

var (
	literalSize = regexp.MustCompile(`^.*\{(\d+)\}$`)
	// ignored is what servers may differ in.
	ignored = regexp.MustCompile(`( ?)\\Recent|(MODSEQ \(?)\d+|\\NonExistent `)
	codes   = regexp.MustCompile(`^(OK|NO|BAD)( \[(TRYCREATE|READ-ONLY|READ-WRITE|ALREADYEXISTS)[^\]]*\])?.*`)
)

func tagged(line string) string { return codes.ReplaceAllString(line, "$1$2") }

// TestAnswersAreDovecots runs the same commands here and on a Dovecot.
//
// Not asked is where we differ on purpose: a section that does not exist is NIL
// here and empty there, \Seen set by a FETCH is told behind the items and not
// before them, a message without a Date was sent on no day, SEARCH KEYWORD makes
// no keyword, ENABLE always answers, and SUBSCRIBED also returns CHILDREN.
func TestAnswersAreDovecots(t *testing.T) {
	messages := []string{
		mail("one"), mail("Re: one"), multipart, "Subject: no date\n\nbody\n",
		strings.ReplaceAll(mail("crlf"), "\n", "\r\n"), mail("=?utf-8?q?=C3=9Cber?="),
	}
	dovecot := newDovecot(t, messages)
	h := newHarness(t, nil)
	fillMaildir(t, h.auth.dir+"/alice/Maildir", messages)
	h.dial("")
	h.talk("S: * OK ...\nC: a LOGIN alice secret\nS: a OK ...")
	ours := h.conn("")
	for _, command := range strings.Split(strings.TrimSpace(`
LIST "" ""
LIST "" *
CREATE A/B/C
CREATE A/B/C
CREATE x
RENAME x y
RENAME nothing y2
DELETE nothing
LIST "" *
LIST "" %
LIST "" A/%
SUBSCRIBE A/B/C
SUBSCRIBE y
LSUB "" *
LSUB "" %
UNSUBSCRIBE y
LSUB "" *
DELETE y
EXAMINE y
STATUS INBOX (MESSAGES UNSEEN)
STATUS INBOX (MESSAGES FOO)
FETCH 1 FLAGS
SELECT INBOX
FETCH 1:* FLAGS
FETCH 1:* (UID RFC822.SIZE)
UID FETCH 2:3 FLAGS
FETCH 7 FLAGS
FETCH 3:9 UID
UID FETCH 99 FLAGS
UID FETCH 99:* UID
FETCH 0 FLAGS
FETCH 1 FOO
FETCH 1 (FLAGS
STORE 1 +FLAGS (\Seen \Flagged)
STORE 1:2 FLAGS (\Answered)
STORE 2 -FLAGS (\Answered)
STORE 2 +FLAGS.SILENT (\Deleted)
UID STORE 2 -FLAGS (\Deleted)
STORE 1 FLAGS ()
STORE 1 +FLAGS (\Foo)
FETCH 1 BODY.PEEK[]
FETCH 5 BODY.PEEK[]
FETCH 3 (BODY.PEEK[1] BODY.PEEK[3.HEADER] BODY.PEEK[3.TEXT] BODY.PEEK[2.MIME])
FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)]
FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (SUBJECT FROM DATE TO)]
FETCH 1 BODY.PEEK[TEXT]<2.4>
FETCH 1 BODY.PEEK[TEXT]<200.4>
FETCH 1 BODY.PEEK[HEADER]<0.5>
FETCH 2 RFC822.HEADER
FETCH 1:* ENVELOPE
FETCH 1:* BODY
FETCH 1:* BODYSTRUCTURE
FETCH 3 BINARY.PEEK[2]
FETCH 3 BINARY.PEEK[1]
SEARCH ALL
SEARCH UNSEEN
SEARCH SEEN FLAGGED
SEARCH 2:4
SEARCH *
SEARCH NOT 1
SEARCH OR 1 (2 UNSEEN)
SEARCH SUBJECT one
SEARCH SUBJECT ONE NOT SUBJECT re
SEARCH CHARSET UTF-8 SUBJECT {5+}\r\n\xc3\xbcber
SEARCH FROM joe
SEARCH TO alice
SEARCH HEADER X-None ""
SEARCH HEADER Date ""
SEARCH BODY hello
SEARCH TEXT "inner body"
SEARCH BODY "from:"
SEARCH LARGER 150
SEARCH SMALLER 60
SEARCH SENTON 7-Feb-1994
SEARCH SENTSINCE 1-Jan-1994
SEARCH BEFORE 1-Jan-2000
SEARCH UID 1:3,5
SEARCH FOO
SEARCH CHARSET x-foo TEXT a
SEARCH RETURN (MIN MAX COUNT) ALL
SEARCH RETURN () UNSEEN
SEARCH RETURN (COUNT) SUBJECT nothing
UID SEARCH RETURN (SAVE) 1:2
UID FETCH $ UID
SORT (SUBJECT) UTF-8 ALL
SORT (REVERSE SUBJECT DATE) UTF-8 ALL
SORT (FROM SIZE) UTF-8 ALL
SORT (DATE) UTF-8 1:3
THREAD REFERENCES UTF-8 ALL
THREAD ORDEREDSUBJECT UTF-8 ALL
COPY 1 nothing
COPY 1:2 A/B/C
UID COPY 99 A/B/C
STORE 1,3 +FLAGS.SILENT (\Deleted)
UID EXPUNGE 2:3
EXPUNGE
FETCH 1:* UID
MOVE 1 A/B/C
SELECT A/B/C
FETCH 1:* (UID FLAGS)
UNSELECT
APPEND INBOX (\Seen) {11+}\r\nSubject: a\n
APPEND nothing {5+}\r\nabcde
STATUS A/B/C (MESSAGES UIDNEXT UNSEEN)
NAMESPACE
XFOO
`), "\n") {
		want, got := dovecot.answer(t, command), ours.answer(t, command)
		if got != want {
			t.Errorf("%s\nDovecot:\n%s\nours:\n%s", command, want, got)
		}
	}
}
