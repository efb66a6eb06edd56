package imapd

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// The clients here were written by others; what they understand of our answers
// is what counts.

func TestGoClient(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.deliver("INBOX", multipart)
	news := make(chan uint32, 10)
	c, err := imapclient.DialInsecure(h.addr, &imapclient.Options{
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{
			Mailbox: func(data *imapclient.UnilateralDataMailbox) {
				if data.NumMessages != nil {
					news <- *data.NumMessages
				}
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Login("alice", "secret").Wait())
	must(c.Create("Füß & Co", nil).Wait())
	boxes, err := c.List("", "*", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true, UIDNext: true}}).Collect()
	must(err)
	if len(boxes) != 2 || boxes[1].Mailbox != "Füß & Co" || *boxes[0].Status.NumMessages != 2 {
		t.Errorf("LIST: %+v %+v", *boxes[0], *boxes[1])
	}
	box, err := c.Select("INBOX", nil).Wait()
	must(err)
	if box.NumMessages != 2 || box.UIDNext != 3 || box.UIDValidity == 0 {
		t.Errorf("SELECT: %+v", box)
	}
	section := &imap.FetchItemBodySection{Part: []int{3}, Specifier: imap.PartSpecifierText, Peek: true}
	msgs, err := c.Fetch(imap.SeqSetNum(1, 2), &imap.FetchOptions{
		Envelope: true, Flags: true, InternalDate: true, RFC822Size: true, UID: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection:   []*imap.FetchItemBodySection{section},
		BinarySection: []*imap.FetchItemBinarySection{{Part: []int{1}, Peek: true}},
	}).Collect()
	must(err)
	if len(msgs) != 2 || msgs[0].Envelope.Subject != "one" || string(msgs[1].FindBodySection(section)) != "inner body" {
		t.Errorf("FETCH: %+v", msgs)
	}
	if mp, ok := msgs[1].BodyStructure.(*imap.BodyStructureMultiPart); !ok || len(mp.Children) != 4 {
		t.Errorf("BODYSTRUCTURE: %+v", msgs[1].BodyStructure)
	}
	text := "Subject: appended\r\n\r\nbody\r\n"
	app := c.Append("INBOX", int64(len(text)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen, "$Label"}, Time: time.Unix(1e9, 0)})
	_, err = io.WriteString(app, text)
	must(err)
	must(app.Close())
	data, err := app.Wait()
	must(err)
	if data.UID != 3 || data.UIDValidity != box.UIDValidity {
		t.Errorf("APPEND: %+v", data)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{
		Flag: []imap.Flag{"$Label"}, Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "APP"}},
	}, &imap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	must(err)
	if found.Count != 1 || found.AllUIDs()[0] != 3 {
		t.Errorf("SEARCH: %+v", found)
	}
	flags, err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Collect()
	must(err)
	if len(flags) != 1 || len(flags[0].Flags) == 0 {
		t.Errorf("STORE: %+v", flags)
	}
	moved, err := c.Move(imap.UIDSetNum(3), "Füß & Co").Wait()
	must(err)
	if fmt.Sprint(moved.SourceUIDs) != "3" {
		t.Errorf("MOVE: %+v", moved)
	}
	gone, err := c.Expunge().Collect()
	must(err)
	if fmt.Sprint(gone) != "[1]" {
		t.Errorf("EXPUNGE: %v", gone)
	}
	for len(news) > 0 {
		<-news
	}
	idle, err := c.Idle()
	must(err)
	h.deliver("INBOX", mail("new"))
	select {
	case n := <-news:
		if n != 2 {
			t.Errorf("IDLE told of %d messages", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("IDLE told nothing")
	}
	must(idle.Close())
	must(idle.Wait())
	id, err := c.ID(&imap.IDData{Name: "test"}).Wait()
	must(err)
	if id.Name != "mailsrvd" {
		t.Errorf("ID: %+v", id)
	}
	sorted, err := c.Sort(&imapclient.SortOptions{SearchCriteria: &imap.SearchCriteria{},
		SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeySubject}}}).Wait()
	must(err)
	if fmt.Sprint(sorted) != "[2 1]" {
		t.Errorf("SORT: %v", sorted)
	}
	must(c.Logout().Wait())
}

const pythonScript = `
import imaplib, sys
m = imaplib.IMAP4("127.0.0.1", int(sys.argv[1]))
m.login("alice", "secret")
assert b"UIDPLUS" in m.capability()[1][0]
typ, data = m.select("INBOX"); assert (typ, data) == ("OK", [b"1"]), data
typ, data = m.fetch("1", "(UID RFC822)"); assert typ == "OK" and b"Subject: one\r\n" in data[0][1], data
typ, data = m.append("INBOX", r"(\Seen)", imaplib.Time2Internaldate(1e9), b"Subject: two\r\n\r\nx\r\n"); assert typ == "OK", data
typ, data = m.search(None, "SUBJECT", "two"); assert data == [b"2"], data
typ, data = m.sort("REVERSE DATE", "UTF-8", "ALL"); assert data == [b"2 1"], data
typ, data = m.thread("REFERENCES", "UTF-8", "ALL"); assert typ == "OK", data
typ, data = m.uid("STORE", "2", "+FLAGS", r"(\Deleted)"); assert typ == "OK", data
typ, data = m.expunge(); assert data == [b"2"], data
typ, data = m.status("INBOX", "(MESSAGES UIDNEXT)"); assert b"MESSAGES 1 UIDNEXT 3" in data[0], data
typ, data = m.create("A/B"); assert typ == "OK"
typ, data = m.list(); assert len(data) == 3, data
m.close()
assert m.enable("CONDSTORE")[0] == "OK"
m.logout()
m = imaplib.IMAP4("127.0.0.1", int(sys.argv[1]))
m.authenticate("PLAIN", lambda _: b"\0alice\0secret")
m.logout()
print("fine")
`

func TestPythonClient(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("missing: python3")
	}
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	out, err := exec.Command(python, "-c", pythonScript, h.port()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "fine") {
		t.Errorf("%v\n%s", err, out)
	}
}

func (h *harness) port() string { return h.addr[strings.LastIndexByte(h.addr, ':')+1:] }

func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("missing: curl")
	}
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(curl, append([]string{"-s", "-S", "--max-time", "10", "-u", "alice:secret"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	base := "imap://" + h.addr
	if got := run(base + "/INBOX;UID=1"); got != strings.ReplaceAll(mail("one"), "\n", "\r\n") {
		t.Errorf("got %q", got)
	}
	if got := run(base+"/INBOX", "-X", "SEARCH ALL"); !strings.Contains(got, "* SEARCH 1") {
		t.Errorf("got %q", got)
	}
	file := t.TempDir() + "/mail"
	if err := os.WriteFile(file, []byte("Subject: up\r\n\r\nx\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("-T", file, base+"/INBOX")
	if got := run(base + "/INBOX;UID=2/;SECTION=TEXT"); got != "x\r\n" {
		t.Errorf("got %q", got)
	}
}
