package clienttest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/maildir"
)

// tuid is the field by which mbsync finds again what it has stored; it stays in
// the copy.
var tuid = regexp.MustCompile(`(?m)^X-TUID: .*\r\n`)

// byID is the flags and text of each message, by Message-ID; keywords, of which
// these clients know nothing, are left out. A message that comes twice fails the
// test.
func byID(t testing.TB, where string, list []letter) map[string]string {
	t.Helper()
	m := make(map[string]string, len(list))
	for _, l := range list {
		if _, twice := m[l.id()]; twice {
			t.Errorf("%s has %s twice", where, l.id())
		}
		flags := slices.DeleteFunc(strings.Fields(l.flags), func(f string) bool { return f[0] != '\\' })
		m[l.id()] = strings.Join(flags, " ") + "\n" + tuid.ReplaceAllString(l.text, "")
	}
	return m
}

// same compares two sides of a synchronisation.
func same(t testing.TB, when string, ours, theirs []letter) {
	t.Helper()
	a, b := byID(t, when+": the server", ours), byID(t, when+": the client", theirs)
	if maps.Equal(a, b) {
		return
	}
	bad := 0
	for id := range a {
		if a[id] != b[id] {
			bad++
			if bad <= 3 {
				t.Errorf("%s: %s is\n%s\nhere and\n%s\nthere", when, id, a[id], b[id])
			}
		}
	}
	t.Errorf("%s: %d messages here, %d there, %d of ours differ", when, len(a), len(b), bad)
}

func mbsyncConfig(s *server, home, more string) string {
	return `FSync no

IMAPStore far
Host localhost
Port ` + s.port + `
User ` + user + `
Pass "` + password + `"
SSLType IMAPS
CertificateFile ` + s.cert + `
` + more + `
MaildirStore near
Path ` + home + `/mail/
Inbox ` + home + `/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
CopyArrivalDate yes
SyncState *
`
}

// mbsyncMailbox is the 5,000 messages in which mbsync begins: every flag, every
// keyword, and every combination of some.
func mbsyncMailbox(s *server, n int) {
	s.t.Helper()
	flags := []string{"", "S", "FS", "RS", "DS", "Sa", "FSab", "b"}
	write(s.t, s.home+"/Maildir/dovecot-keywords", "0 $Label1\n1 NonJunk\n")
	fill(s.t, s.home+"/Maildir", s.owner, n, func(i int) (string, string) {
		return flags[i%len(flags)], mail(fmt.Sprint("old", i))
	})
}

// rename gives message files of a client other flags, as a mail reader would;
// "" removes them.
func setLocalFlags(t testing.TB, files []string, info string) {
	t.Helper()
	for _, f := range files {
		base, _, _ := strings.Cut(filepath.Base(f), ":")
		if err := os.Rename(f, filepath.Join(filepath.Dir(filepath.Dir(f)), "cur", base+":2,"+info)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMbsync synchronises 5,000 messages both ways, twice, with changes on both
// sides before each time. mbsync knows no keywords, but must not lose them.
func TestMbsync(t *testing.T) {
	mbsync := need(t, "mbsync", "isync")
	const n = 5000
	s := newServer(t)
	mbsyncMailbox(s, n)
	s.must(s.store().Create(t.Context(), "Füß/Über & unter"))
	s.append("Füß/Über & unter", mail("folder"), maildir.Delivery{Flags: maildir.Flagged})
	home := t.TempDir()
	write(t, home+"/.mbsyncrc", mbsyncConfig(s, home, ""))
	s.must(os.MkdirAll(home+"/mail", 0o700))
	near := home + "/mail/INBOX"
	sync := func(when string) {
		t.Helper()
		run(t, home, mbsync, "-c", home+"/.mbsyncrc", "-a")
		same(t, when, s.letters("INBOX"), localLetters(t, near))
	}
	sync("the first time")

	c := s.dial()
	c.ok("SELECT INBOX")
	for round := range 2 {
		at := 1000 + round*1500
		files := messageFiles(t, near)
		setLocalFlags(t, files[at:at+200], "FRS")
		setLocalFlags(t, files[at+200:at+300], "ST")
		setLocalFlags(t, files[at+300:at+400], "")
		for i := range 40 {
			id := fmt.Sprintf("near%d.%d", round, i)
			write(t, fmt.Sprintf("%s/new/%d.%s.host", near, 1800000000+i, id), strings.ReplaceAll(mail(id), "\r\n", "\n"))
		}
		c.ok(fmt.Sprintf(`STORE %d:%d +FLAGS.SILENT (\Answered $Label1)`, at+500, at+700))
		c.ok(fmt.Sprintf(`STORE %d:%d FLAGS.SILENT (\Draft NonJunk)`, at+700, at+800))
		c.ok(fmt.Sprintf(`STORE %d:%d +FLAGS.SILENT (\Deleted)`, at+800, at+900))
		c.ok("EXPUNGE")
		for i := range 40 {
			c.ok(`APPEND INBOX (\Seen NonJunk) ` + literal(mail(fmt.Sprintf("far%d.%d", round, i))))
		}
		keywords := keywordsByID(s.letters("INBOX"))
		sync(fmt.Sprintf("after change %d", round+1))
		c.ok("NOOP")
		now := s.letters("INBOX")
		if want := n + (round+1)*(80-100-101); len(now) != want {
			t.Errorf("%d messages after change %d, want %d", len(now), round+1, want)
		}
		for id, k := range keywordsByID(now) {
			if before, old := keywords[id]; old && before != k {
				t.Errorf("%s had the keywords %q and has %q", id, before, k)
			}
		}
	}
	before := run(t, near, "find", ".", "-type", "f", "-name", "*host*", "-printf", "%p %s\n")
	sync("without a change")
	if after := run(t, near, "find", ".", "-type", "f", "-name", "*host*", "-printf", "%p %s\n"); after != before {
		t.Error("mbsync found something to do after it had done everything")
	}
	other := localLetters(t, home+"/mail/F&APwA3w-/&ANw-ber &- unter")
	if len(other) != 1 || other[0].flags != `\Flagged` {
		t.Errorf("the other folder: %+v", other)
	}
}

// keywordsByID is the keywords of each message.
func keywordsByID(list []letter) map[string]string {
	m := make(map[string]string, len(list))
	for _, l := range list {
		words := slices.DeleteFunc(strings.Fields(l.flags), func(f string) bool { return f[0] == '\\' })
		m[l.id()] = strings.Join(words, " ")
	}
	return m
}

// messageFiles is the files of a client's Maildir, by name.
func messageFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(dir + "/[cn][ue][rw]/*")
	if err != nil {
		t.Fatal(err)
	}
	return files
}
