package clienttest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"svc.plus/mailsrvd/maildir"
)

// fetchers is what mail fetchers are given: small, large, with lines that begin
// with dots and "From ", and with bare line ends.
func fetchers() []string {
	list := []string{
		// fetchmail breaks lines of more than 8,190 octets, so these are shorter.
		mail("big") + strings.Repeat(strings.Repeat("A long line. ", 500)+"\r\n", 50),
		mail("dots") + ".\r\n..\r\n.x\r\n", mail("from") + "From here\r\n>From there\r\n",
		mail("8bit") + "Grüße\r\n", strings.TrimSuffix(mail("noend"), "\r\n"),
	}
	for i := range 20 {
		list = append(list, mail(fmt.Sprint("n", i)))
	}
	return list
}

// TestGetmail fetches what is new, leaves it or deletes it, and fetches nothing
// twice.
func TestGetmail(t *testing.T) {
	getmail := need(t, "getmail", "getmail6")
	s := newServer(t)
	want := fetchers()
	for _, text := range want {
		s.append("INBOX", text, maildir.Delivery{})
	}
	s.must(s.store().Create(t.Context(), "Füß"))
	s.append("Füß", mail("other folder"), maildir.Delivery{})
	f := newFetcher(t)
	poll := func(read string) int {
		t.Helper()
		write(t, f.home+"/getmailrc", `[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = `+s.port+`
username = `+user+`
password = `+password+`
ca_certs = `+s.cert+`
mailboxes = ("INBOX", "Füß")
[destination]
type = MDA_external
path = `+f.home+`/store
allow_root_commands = true
[options]
verbose = 0
received = false
delivered_to = false
`+read)
		run(t, f.home, getmail, "--getmaildir", f.home, "--rcfile", "getmailrc")
		return f.count()
	}
	if n := poll("read_all = false\n"); n != len(want)+1 {
		t.Fatalf("%d messages came, want %d", n, len(want)+1)
	}
	if n := poll("read_all = false\n"); n != len(want)+1 {
		t.Errorf("%d messages after the second fetch: the UIDs did not hold", n)
	}
	s.append("INBOX", mail("late"), maildir.Delivery{})
	if n := poll("read_all = false\ndelete = true\n"); n != len(want)+2 {
		t.Errorf("%d messages in the end", n)
	}
	f.compare(append(want, mail("other folder"), mail("late")))
	if here := len(s.letters("INBOX")); here != 0 {
		t.Errorf("%d are left here", here)
	}
}

// fetcher is the home of a mail fetcher, with a program that stores each message
// in a file of its own.
type fetcher struct {
	t    *testing.T
	home string
}

func newFetcher(t *testing.T) *fetcher {
	t.Helper()
	home := t.TempDir()
	write(t, home+"/store", "#!/bin/sh\nn=$(ls "+home+"/got | wc -l)\nexec cat >"+home+"/got/$n\n")
	if err := errors.Join(os.Chmod(home+"/store", 0o700), os.Mkdir(home+"/got", 0o700)); err != nil {
		t.Fatal(err)
	}
	return &fetcher{t, home}
}

func (f *fetcher) count() int {
	f.t.Helper()
	files, err := os.ReadDir(f.home + "/got")
	if err != nil {
		f.t.Fatal(err)
	}
	return len(files)
}

// compare looks for each message among those that came: its body must be the
// same, and its fields be there; others may have been added.
func (f *fetcher) compare(want []string) {
	f.t.Helper()
	got := make(map[string]string)
	for i := range f.count() {
		text, err := os.ReadFile(fmt.Sprintf("%s/got/%d", f.home, i))
		if err != nil {
			f.t.Fatal(err)
		}
		got[header(string(text), "Message-ID")] = crlf(text)
	}
	for _, text := range want {
		id := header(text, "Message-ID")
		head, body, _ := strings.Cut(text, "\r\n\r\n")
		hasHead, hasBody, _ := strings.Cut(got[id], "\r\n\r\n")
		if strings.TrimRight(body, "\r\n") != strings.TrimRight(hasBody, "\r\n") {
			f.t.Errorf("the body of %s came as %.100q, %d for %d octets", id, hasBody, len(hasBody), len(body))
		}
		for _, field := range strings.Split(head, "\r\n") {
			if !strings.Contains("\r\n"+hasHead+"\r\n", "\r\n"+field+"\r\n") {
				f.t.Errorf("%s came without %q", id, field)
			}
		}
	}
}

// TestFetchmail fetches, twice without deleting, then all with deleting.
func TestFetchmail(t *testing.T) {
	fetchmail := need(t, "fetchmail", "fetchmail")
	s := newServer(t)
	want := fetchers()
	for _, text := range want {
		s.append("INBOX", text, maildir.Delivery{})
	}
	f := newFetcher(t)
	poll := func(options string) (count int) {
		t.Helper()
		write(t, f.home+"/.fetchmailrc", fmt.Sprintf("poll localhost service %s protocol imap auth password user %q password %q\n"+
			" ssl sslcertck sslcertfile %s mda %s no rewrite %s\n", s.port, user, password, s.cert, f.home+"/store", options))
		out, err := try(t, f.home, "", fetchmail, "-f", f.home+"/.fetchmailrc", "--nosyslog", "--nodetach", "--invisible")
		if err != nil && !strings.Contains(err.Error(), "exit status 1") { // 1 is "no mail"
			t.Fatalf("fetchmail: %v\n%s", err, out)
		}
		return f.count()
	}
	if n := poll("keep"); n != len(want) {
		t.Fatalf("%d messages came, want %d", n, len(want))
	}
	if n := poll("keep"); n != len(want) {
		t.Errorf("%d messages after the second poll: \\Seen did not hold", n)
	}
	s.append("INBOX", mail("late"), maildir.Delivery{})
	if n := poll("fetchall nokeep"); n != 2*len(want)+1 {
		t.Errorf("%d messages after everything was fetched again", n)
	}
	f.compare(append(want, mail("late")))
	if here := len(s.letters("INBOX")); here != 0 {
		t.Errorf("%d are left here", here)
	}
}
