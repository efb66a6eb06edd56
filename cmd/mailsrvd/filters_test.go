package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/peertest"
)

// TestRspamdAndClamAVFilter runs the whole server with Debian's rspamd and
// clamav-milter, for mail from outside and from users.
func TestRspamdAndClamAVFilter(t *testing.T) {
	fake, err := dns.NewFake("")
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := fake.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	clamav := peertest.StartClamAV(t)
	rspamd := peertest.StartRspamd(t, resolver, map[string]string{"actions.conf": "reject = 15; add_header = 6; greylist = null;\n"})
	tr := startDev(t, func(s *dev.Site) {
		f, err := os.OpenFile(s.Config, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintf(f, "\n[[inbound.filter]]\nname = \"rspamd\"\nprotocol = \"rspamd\"\naddress = %q\n[[inbound.filter]]\nname = \"clamav\"\naddress = %q\nsubmission = true\n", rspamd.HTTP, clamav)
	})
	bring := func(subject, body string) error {
		c, err := smtp.Dial(tr.cfg.Listen.MX[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.SendMail("a@elsewhere.example", []string{"alice@" + dev.Domain}, strings.NewReader("From: a@elsewhere.example\r\nTo: alice@"+dev.Domain+"\r\nMessage-ID: <"+
			strings.ReplaceAll(subject, " ", ".")+"@elsewhere.example>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\nSubject: "+subject+"\r\n\r\n"+body+"\r\n"))
	}
	for _, c := range []struct{ subject, body, want string }{
		{"plain mail", "hello", ""},
		{"a test of spam filters", peertest.GTUBE, "Gtube"},
		{"a test of virus scanners", peertest.EICAR, "Infected by Eicar-Test"},
	} {
		err := bring(c.subject, c.body)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.subject, err)
		}
		if n := tr.with(t, "alice", "Subject: "+c.subject); (n == 1) != (c.want == "") {
			t.Errorf("%s: %d delivered", c.subject, n)
		}
	}
	if tr.with(t, "alice", "X-Virus-Status: Clean") != 1 || tr.with(t, "alice", "X-Rspamd-Score: ") != 1 {
		t.Errorf("no fields of the filters: %q", tr.mailbox(t, "alice"))
	}
	if err := tr.submitText(t, "alice", "Subject: from a user\r\n\r\n"+peertest.EICAR+"\r\n"); err == nil || !strings.Contains(err.Error(), "Infected") {
		t.Errorf("a user's virus: %v", err)
	}
	if log := tr.log.String(); !strings.Contains(log, `filter_clamav="reject (Infected by Eicar-Test`) || !strings.Contains(log, "filter_clamav=accept") {
		t.Error("the log does not tell")
	}
}
