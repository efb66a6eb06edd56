package imapd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runProgram runs a program with a home of its own, and fails if it does or takes
// too long.
func runProgram(t *testing.T, home, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("missing: %s", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// messages returns the message files of a Maildir.
func messages(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(dir + "/[cn][ue][rw]/*")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestMbsync synchronises both ways with isync, which compresses.
func TestMbsync(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 5 {
		h.deliver("INBOX", mail(fmt.Sprint("number ", i)))
	}
	h.login("")
	h.talk("C: a CREATE Work/F&APwA3w-\nS: a OK ...")
	home := t.TempDir()
	write(t, home+"/.mbsyncrc", `
IMAPStore far
Host 127.0.0.1
Port `+h.port()+`
User alice
Pass secret
SSLType None
AuthMechs LOGIN

MaildirStore near
Path `+home+`/mail/
Inbox `+home+`/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`)
	if err := os.MkdirAll(home+"/mail", 0o700); err != nil {
		t.Fatal(err)
	}
	runProgram(t, home, "mbsync", "-c", home+"/.mbsyncrc", "-a")
	inbox := messages(t, home+"/mail/INBOX")
	if len(inbox) != 5 {
		t.Fatalf("%d messages came", len(inbox))
	}
	if _, err := os.Stat(home + "/mail/Work/Füß"); err != nil {
		if _, err := os.Stat(home + "/mail/Work/F&APwA3w-"); err != nil {
			t.Errorf("the folder did not come: %v", err)
		}
	}
	// A flag, a deletion and a new message go the other way.
	base, _, _ := strings.Cut(filepath.Base(inbox[0]), ":")
	if err := os.Rename(inbox[0], home+"/mail/INBOX/cur/"+base+":2,FS"); err != nil {
		t.Fatal(err)
	}
	base, _, _ = strings.Cut(filepath.Base(inbox[1]), ":")
	if err := os.Rename(inbox[1], home+"/mail/INBOX/cur/"+base+":2,T"); err != nil {
		t.Fatal(err)
	}
	write(t, home+"/mail/INBOX/new/1700000000.new.host", mail("written here"))
	runProgram(t, home, "mbsync", "-c", home+"/.mbsyncrc", "-a")
	h.talk(`
		C: b SELECT INBOX
		S: ~b OK ...
		C: c SEARCH ALL
		S: * SEARCH 1 2 3 4 5
		S: c OK ...
		C: c SEARCH FLAGGED SEEN
		S: * SEARCH ...
		S: c OK ...
		C: c SEARCH SUBJECT "written here"
		S: * SEARCH 5
		S: c OK ...
	`)
	// And what changes here goes there.
	h.talk("C: d STORE 3 +FLAGS.SILENT (\\Answered)\nS: d OK ...")
	h.deliver("INBOX", mail("late"))
	runProgram(t, home, "mbsync", "-c", home+"/.mbsyncrc", "-a")
	if n := len(messages(t, home+"/mail/INBOX")); n != 6 {
		t.Errorf("%d messages in the end", n)
	}
}

func TestOfflineimap(t *testing.T) {
	h := newHarness(t, nil)
	for i := range 4 {
		h.deliver("INBOX", mail(fmt.Sprint("number ", i)))
	}
	h.login("")
	h.talk("C: a CREATE Sent\nS: a OK ...")
	home := t.TempDir()
	write(t, home+"/.offlineimaprc", `
[general]
accounts = test
metadata = `+home+`/meta
[Account test]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = `+home+`/mail
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = `+h.port()+`
remoteuser = alice
remotepass = secret
ssl = no
starttls = no
`)
	runProgram(t, home, "offlineimap", "-o", "-u", "quiet")
	if n := len(messages(t, home+"/mail/INBOX")); n != 4 {
		t.Fatalf("%d messages came", n)
	}
	write(t, home+"/mail/INBOX/new/1700000000.new.host", mail("written here"))
	runProgram(t, home, "offlineimap", "-o", "-u", "quiet")
	h.talk(`
		C: b NOOP
		S: ~b OK ...
		C: c SEARCH SUBJECT "written here"
		S: * SEARCH 5
		S: c OK ...
	`)
}

func TestFetchmail(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.deliver("INBOX", mail("two"))
	home := t.TempDir()
	write(t, home+"/.fetchmailrc", "poll 127.0.0.1 service "+h.port()+" protocol imap auth password user alice password secret sslproto ''"+
		" mda \"cat >> "+home+"/got\"\n")
	runProgram(t, home, "fetchmail", "-f", home+"/.fetchmailrc", "--nosyslog", "--nodetach", "--sslproto", "")
	got, err := os.ReadFile(home + "/got")
	if err != nil || strings.Count(string(got), "Subject: ") != 2 {
		t.Errorf("got %q, %v", got, err)
	}
	h.login("")
	h.talk("C: a STATUS INBOX (MESSAGES)\nS: * STATUS INBOX (MESSAGES 0)\nS: a OK ...")
}
