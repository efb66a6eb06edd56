package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/smtpd/queue"
)

// TestForwardedMailHasASenderOfOurs: what an alias sends elsewhere leaves under an
// address of ours, a bounce to which goes on to the true sender; nobody else can
// make us send through such addresses.
func TestForwardedMailHasASenderOfOurs(t *testing.T) {
	tr := startDev(t, func(s *dev.Site) {
		f, err := os.OpenFile(s.Dir+"/aliases", os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("away: friend@example.net\n"); err != nil {
			t.Fatal(err)
		}
	})
	send := func(from, to string) error {
		c, err := smtp.Dial(tr.cfg.Listen.MX[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.SendMail(from, []string{to}, strings.NewReader("Subject: x\r\n\r\nx\r\n"))
	}
	waiting := func() (list []queue.Item) {
		_, stdout, _ := tr.command(t, "", "queue", "list", "--json")
		if err := json.Unmarshal([]byte(stdout), &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if err := send("Eve@Far.example", "away@"+dev.Domain); err != nil {
		t.Fatal(err)
	}
	if err := send("alice@"+dev.Domain, "away@"+dev.Domain); err != nil {
		t.Fatal(err)
	}
	items := waiting()
	if len(items) != 2 || items[1].Envelope.ReversePath != "alice@"+dev.Domain {
		t.Fatalf("%+v", items)
	}
	sender := items[0].Envelope.ReversePath
	if !strings.HasPrefix(sender, "SRS0=") || !strings.HasSuffix(sender, "=Far.example=Eve@"+dev.Domain) {
		t.Fatalf("the sender is %q", sender)
	}
	if err := send("", strings.ToLower(sender)); err != nil {
		t.Errorf("a bounce: %v", err)
	}
	items = waiting()
	if last := items[len(items)-1]; len(items) != 3 || !strings.EqualFold(last.Recipients[0].Address, "eve@far.example") || last.Envelope.ReversePath != "" {
		t.Errorf("the bounce is %+v", last)
	}
	for _, forged := range []string{strings.Replace(sender, "Eve@", "mallory@", 1), "SRS0=aaaaaa=bb=x.example=y@" + dev.Domain} {
		if err := send("", forged); err == nil || !strings.Contains(err.Error(), "no longer valid") {
			t.Errorf("%s: %v", forged, err)
		}
	}
	// A restart keeps the secret.
	if fi, err := os.Stat(tr.cfg.StateDir + "/srs-secret"); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
}
