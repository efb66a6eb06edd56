package clienttest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"svc.plus/mailsrvd/maildir"
)

// TestOfflineimap synchronises both ways, with several connections and folders,
// and with keywords, which offlineimap keeps in file names as letters.
func TestOfflineimap(t *testing.T) {
	offlineimap := need(t, "offlineimap", "offlineimap3")
	s := newServer(t)
	flags := []string{"", "S", "FS", "RS", "D"}
	fill(t, s.home+"/Maildir", s.owner, 300, func(i int) (string, string) {
		return flags[i%len(flags)], mail(fmt.Sprint("old", i))
	})
	for _, name := range []string{"Sent", "Lists/a b", "Füß"} {
		s.must(s.store().Create(t.Context(), name))
		s.append(name, mail("in "+name[:1]), maildir.Delivery{Flags: maildir.Seen})
	}
	home := t.TempDir()
	write(t, home+"/.offlineimaprc", `
[general]
accounts = test
metadata = `+home+`/meta
fsync = false
[Account test]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = `+home+`/mail
sep = /
[Repository far]
type = IMAP
remotehost = localhost
remoteport = `+s.port+`
remoteuser = `+user+`
remotepass = `+password+`
ssl = yes
sslcacertfile = `+s.cert+`
maxconnections = 3
`)
	near := home + "/mail/INBOX"
	sync := func(when string) {
		t.Helper()
		run(t, home, offlineimap, "-o", "-u", "quiet")
		same(t, when, s.letters("INBOX"), localLetters(t, near))
	}
	sync("the first time")
	for _, name := range []string{"Sent", "Lists/a b", "F&APwA3w-"} {
		if list := localLetters(t, home+"/mail/"+name); len(list) != 1 || list[0].flags != `\Seen` {
			t.Errorf("%s: %+v", name, list)
		}
	}
	files := messageFiles(t, near)
	setLocalFlags(t, files[0:20], "FRS")
	for _, f := range files[20:40] {
		s.must(os.Remove(f))
	}
	for i := range 10 {
		write(t, fmt.Sprintf("%s/new/18000000%d.near.host", near, i), strings.ReplaceAll(mail(fmt.Sprint("near", i)), "\r\n", "\n"))
	}
	c := s.dial()
	c.ok("SELECT INBOX")
	c.ok(`STORE 100:120 +FLAGS.SILENT (\Answered $Label1)`)
	c.ok(`STORE 200:220 +FLAGS.SILENT (\Deleted)`)
	c.ok("EXPUNGE")
	c.ok(`APPEND INBOX (\Seen) ` + literal(mail("far")))
	sync("after changes on both sides")
	if n := len(s.letters("INBOX")); n != 300-20-21+11 {
		t.Errorf("%d messages in the end", n)
	}
	sync("without a change")
}
