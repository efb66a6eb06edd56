package main

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
)

// await asks until it is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	if !eventually(so) {
		t.Fatal(what)
	}
}

// TestMailForLaterAndRates: what users and the configuration say about time holds
// from the port to the queue's commands, and over a restart.
func TestMailForLaterAndRates(t *testing.T) {
	far := newSink(t)
	site := devSite(t)
	edit(t, site.Config, "hold = true", fmt.Sprintf("smarthost = %q\ntls = \"none\"\nrate = \"1/day\"\n#", far.addr))
	p := startServe(t, site, os.Args[0], nil)
	tr := &trial{Site: site, cfg: p.cfg, log: p.log}
	queued := func(args ...string) string {
		t.Helper()
		_, stdout, stderr := tr.command(t, "", append([]string{"queue"}, args...)...)
		return stdout + stderr
	}

	// A message to a mailbox here, in an hour.
	submitForLater(t, tr, "HOLDFOR=3600 BY=7200;R", "bob@"+dev.Domain)
	if out := queued("list"); !strings.Contains(out, "in 59m") && !strings.Contains(out, "in 1h") {
		t.Errorf("%s", out)
	}
	if out := queued("retry", "--all"); !strings.Contains(out, "0 messages") {
		t.Errorf("%s", out)
	}

	// And one to a mailbox here, in a second.
	submitForLater(t, tr, "HOLDFOR=1", "alice@"+dev.Domain)
	await(t, "the message is held for ever", func() bool { return tr.with(t, "alice", "Subject: later") == 1 })

	// Three for the smarthost, which gets one a day.
	for range 3 {
		if err := tr.submit(t, "alice", "alice@"+dev.Domain, "friend@example.net"); err != nil {
			t.Fatal(err)
		}
	}
	paced := func() int { return strings.Count(queued("list"), " paced ") }
	await(t, "no message waits for its rate", func() bool { return paced() == 2 })
	if _, stdout, _ := tr.command(t, "", "status"); !strings.Contains(stdout, "1 wait for their rate") {
		t.Errorf("%s", stdout)
	}

	p.Process.Kill()
	p.Wait()
	if out := queued("list"); strings.Count(out, "alice@"+dev.Domain) != 3 {
		t.Errorf("of a stopped server: %s", out)
	}
	if out := queued("remove", "--bounce", "--recipient", "bob@"+dev.Domain); !strings.Contains(out, "1 messages removed and returned") {
		t.Errorf("%s", out)
	}
	startServe(t, site, os.Args[0], nil)
	await(t, "alice hears nothing", func() bool { return tr.with(t, "alice", "has taken the message out of its queue") == 1 })
	if n := tr.with(t, "bob", "later"); n != 0 {
		t.Errorf("bob has %d", n)
	}
	await(t, "a restart does not begin the count anew", func() bool { return paced() == 1 })
}

// submitForLater submits a message of alice's with parameters of MAIL that the
// client library does not know.
func submitForLater(t *testing.T, tr *trial, params, to string) {
	t.Helper()
	conn, err := tls.Dial("tcp", tr.cfg.Listen.Submissions[0], tr.tls(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := textproto.NewConn(conn)
	login := base64.StdEncoding.EncodeToString([]byte("\x00alice\x00" + tr.Passwords["alice"]))
	for _, step := range []struct {
		say  string
		hear int
	}{
		{"", 220}, {"EHLO laptop", 250}, {"AUTH PLAIN " + login, 235},
		{"MAIL FROM:<alice@" + dev.Domain + "> HOLDFOR=tomorrow", 501},
		{"MAIL FROM:<alice@" + dev.Domain + "> " + params, 250}, {"RCPT TO:<" + to + ">", 250},
		{"DATA", 354}, {"From: alice@" + dev.Domain + "\r\nSubject: later\r\n\r\nx\r\n.", 250},
	} {
		if step.say != "" {
			c.PrintfLine("%s", step.say)
		}
		if _, text, err := c.ReadResponse(step.hear); err != nil {
			t.Fatalf("%s: %s, %v", step.say, text, err)
		}
	}
}
