package imapd

import (
	"fmt"
	"strings"
	"testing"

	"svc.plus/mailsrvd/maildir"
	"svc.plus/mailsrvd/maildir/index"
)

// TestTheCacheChangesNoAnswer asks two servers the same, one of which has a
// cache, twice: before and after it knows the messages.
func TestTheCacheChangesNoAnswer(t *testing.T) {
	x, err := index.Open(index.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	plain := newHarness(t, nil)
	cached := newHarnessOn(t, maildir.Options{Index: x}, nil)
	commands := []string{
		"FETCH 1:* (UID ENVELOPE BODYSTRUCTURE BODY RFC822.SIZE)",
		"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (Subject From)] BODY.PEEK[HEADER.FIELDS (X-None Subject)])",
		"FETCH 2 (BODY.PEEK[1.MIME] BODY.PEEK[]<3.20> ENVELOPE)",
		"FETCH 1:* (BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT])",
		"SEARCH SUBJECT \"grüße\"", "SEARCH SUBJECT \"\"", "SEARCH FROM bob", "SEARCH NOT TO carol", "SEARCH HEADER X-Odd thing",
		"SEARCH SENTSINCE 2-Jan-2024", "SEARCH SENTBEFORE 2-Jan-2024", "SEARCH OR BCC x CC dora", "SEARCH TEXT hello", "SEARCH LARGER 150",
		"SORT (SUBJECT) UTF-8 ALL", "SORT (REVERSE DATE FROM) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL",
	}
	var answers [2][]string
	for i, h := range []*harness{plain, cached} {
		c := h.dial("c")
		c.line(t)
		ask := func(command string) string {
			fmt.Fprintf(c, "a %s\r\n", command)
			var b strings.Builder
			for {
				line := c.line(t)
				if strings.HasPrefix(line, "a ") {
					if !strings.HasPrefix(line, "a OK") {
						t.Fatalf("%s: %s", command, line)
					}
					return b.String()
				}
				b.WriteString(line + "\n")
			}
		}
		ask("LOGIN alice secret")
		for _, text := range cacheMessages() {
			fmt.Fprintf(c, "b APPEND INBOX {%d+}\r\n%s\r\n", len(text), text)
			for !strings.HasPrefix(c.line(t), "b OK") {
			}
		}
		ask("ENABLE UTF8=ACCEPT")
		ask("SELECT INBOX")
		for range 2 {
			for _, command := range commands {
				answers[i] = append(answers[i], command+"\n"+ask(command))
			}
		}
	}
	for k := range answers[0] {
		if answers[0][k] != answers[1][k] {
			t.Errorf("without a cache:\n%s\nwith one:\n%s", answers[0][k], answers[1][k])
		}
	}
}

func cacheMessages() []string {
	list := []string{
		"no header at all\r\n",
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: Bob <bob@example.org>\r\nTo: carol@example.org\r\n" +
			"Date: Wed, 3 Jan 2024 23:30:00 -0500\r\nMessage-ID: <1@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
			"--b\r\n\r\nhello\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n--b--\r\n",
		"Subject: Re: grüße\r\nFrom: x\r\nCc: Dora <d@x>\r\nIn-Reply-To: <1@x>\r\nX-Odd: some thing\r\nDate: nonsense\r\n\r\nbody\r\n",
	}
	for i := range 5 {
		list = append(list, fmt.Sprintf("Subject: message %d\r\nFrom: a%d@x\r\nDate: %d Jan 2024 00:00:00 +0000\r\n\r\nhello %d\r\n", i, 9-i, i+1, i))
	}
	return list
}
