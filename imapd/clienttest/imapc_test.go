package clienttest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/asuser"
	"svc.plus/mailsrvd/maildir"
)

// imapc is the settings of a Dovecot that is a client of s.
func imapc(s *server) string {
	return fmt.Sprintf("imapc_host = 127.0.0.1\nimapc_port = %s\nimapc_user = %s\nimapc_password = %s\n"+
		"imapc_ssl = imaps\nssl_client_ca_file = %s\nimapc_list_prefix =\n"+
		"imapc_features = rfc822.size fetch-headers fetch-bodystructure\n", s.port, user, password, s.cert)
}

// odd fills a mailbox as it comes after years: names of all kinds, every flag,
// keywords, old dates, messages that are hardly any. Names with "%" and with "~"
// in front are left out: dsync writes them in a way of its own, and then takes
// them for others.
func odd(s *server) {
	s.t.Helper()
	folders := []string{"INBOX", "Sent", "Lists/2019/go-nuts", "INBOX/below", "Füß & Co", "日本語/受信", "a \"b\" c", `back\slash`,
		"(paren) {1} *", "&amp", "Sp  ace", "UPPER/lower", "empty"}
	texts := []string{
		mail("plain"), mail("8bit") + "Grüße, ü\r\n", mail("dots") + ".\r\n..\r\n", "no header at all\r\n", "Subject: only a header\r\n\r\n",
		"Message-ID: <big@test>\r\n\r\n" + strings.Repeat(strings.Repeat("x", 78)+"\r\n", 5000),
		"Message-ID: <multi@test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n" +
			"Content-Type: message/rfc822\r\n\r\n" + mail("inner") + "\r\n--b--\r\n",
		"Message-ID: <longline@test>\r\n\r\n" + strings.Repeat("y", 100_000) + "\r\n",
	}
	flags := []maildir.Flags{0, maildir.Seen, maildir.Seen | maildir.Answered, maildir.Flagged | maildir.Draft, maildir.Deleted}
	keywords := [][]string{nil, {"$Label1"}, {"NonJunk", "$Forwarded"}, {"with.dot", "$MDNSent"}}
	n := 0
	for _, name := range folders {
		if name != "INBOX" {
			s.must(s.store().Create(s.t.Context(), name))
		}
		if name == "empty" {
			continue
		}
		s.must(s.store().Subscribe(s.t.Context(), name))
		for i := range 8 {
			d := maildir.Delivery{Flags: flags[n%len(flags)], Keywords: keywords[n%len(keywords)],
				Date: time.Date(1999+n%20, 2, 3, 4, 5, n%60, 0, time.UTC)}
			s.append(name, fmt.Sprintf("X-Number: %d\r\n%s", n, texts[(n+i)%len(texts)]), d)
			n++
		}
	}
}

// contents is everything that a migration must keep, folder by folder.
func contents(s *server, folders []string) (list []string) {
	s.t.Helper()
	for _, name := range folders {
		for _, l := range s.letters(name) {
			list = append(list, fmt.Sprintf("%s: %s %d\n%s", name, l.flags, l.date, l.text))
		}
	}
	return list
}

func names(s *server) (list []string) {
	s.t.Helper()
	folders, err := s.store().Folders(s.t.Context())
	s.must(err)
	for _, f := range folders {
		if f.Exists {
			list = append(list, f.Name)
		}
	}
	slices.Sort(list)
	return list
}

// TestDovecotMigrates has a Dovecot as client: it takes over a whole mailbox from
// one server of ours, then what has changed since, and brings all of it to
// another, which must hold the same in the end.
func TestDovecotMigrates(t *testing.T) {
	from := newServer(t)
	odd(from)
	dir, err := os.MkdirTemp("", "clienttest")
	from.must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	owner := dovecotOwner(dir + "/home")
	from.must(os.Mkdir(owner.Home, 0o700), os.Chown(owner.Home, owner.UID, owner.GID))

	out := newDovecot(t, dir, owner, imapc(from))
	out.adm("backup", "-R", "imapc:")
	seen := out.adm("-f", "tab", "fetch", "uid flags", "all")
	out.adm("backup", "-R", "imapc:")
	if again := out.adm("-f", "tab", "fetch", "uid flags", "all"); again != seen {
		t.Error("the second backup changed something")
	}

	c := from.dial()
	c.ok("SELECT Sent")
	c.ok(`STORE 1:3 FLAGS (\Flagged new-keyword)`)
	c.ok(`STORE 5 +FLAGS (\Deleted)`)
	c.ok("UID EXPUNGE 5")
	c.ok(`MOVE 6 "Sp  ace"`)
	c.ok(`APPEND Sent (\Seen) "17-Jul-1996 02:44:25 -0700" ` + literal(mail("new here")))
	c.ok("RENAME Lists Archive")
	c.ok("DELETE UPPER/lower")
	c.ok("CREATE later")
	c.ok("COPY 1:* later")
	folders := names(from)
	out.adm("backup", "-R", "imapc:")

	to := migrateInto(t, dir, owner)
	compareContents(t, "migrated", contents(from, folders), contents(to, folders))
	if there := names(to); !slices.Equal(folders, there) {
		t.Errorf("folders were\n%q\nand are\n%q", folders, there)
	}
	if a, b := subscriptions(from), subscriptions(to); !slices.Equal(a, b) {
		t.Errorf("subscriptions were\n%q\nand are\n%q", a, b)
	}
	if log := out.log(); strings.Contains(log, "Error") || strings.Contains(log, "Panic") {
		t.Errorf("Dovecot complains:\n%s", log)
	}
}

// migrateInto brings the owner's mail to a new server of ours. Now and then, when
// the machine is busy, dsync loses sight of the GUID of a folder that it has just
// made over IMAP, with Dovecot on the other side as well, and asks to be run again,
// which over IMAP would double messages: then it begins anew with another server.
func migrateInto(t *testing.T, dir string, owner asuser.Owner) *server {
	for range 5 {
		to := newServer(t)
		out, err := newDovecot(t, dir, owner, imapc(to)).command("/usr/bin/doveadm", "sync", "-1", "imapc:").CombinedOutput()
		if err == nil {
			return to
		}
		if !strings.Contains(string(out), "GUID") {
			t.Fatalf("doveadm sync -1: %v\n%s", err, out)
		}
		t.Logf("once more: %s", out)
	}
	t.Fatal("doveadm sync does not come to an end")
	return nil
}

func subscriptions(s *server) []string {
	s.t.Helper()
	list, err := s.store().Subscriptions(s.t.Context())
	s.must(err)
	slices.Sort(list)
	return list
}

func compareContents(t testing.TB, what string, want, got []string) {
	t.Helper()
	if slices.Equal(want, got) {
		return
	}
	t.Errorf("%s: %d messages were %d", what, len(got), len(want))
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			t.Errorf("%s: the first that differs, was\n%.300q\nis\n%.300q", what, want[i], got[i])
			return
		}
	}
}
