package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
)

// sieveClient speaks ManageSieve, under TLS, without literals.
type sieveClient struct {
	*testing.T
	net.Conn
	r *bufio.Reader
}

func dialSieve(t *testing.T, tr *trial) *sieveClient {
	t.Helper()
	raw, err := net.Dial("tcp", tr.cfg.Listen.ManageSieve[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	c := &sieveClient{t, raw, bufio.NewReader(raw)}
	if greeting := c.answer(); !strings.Contains(greeting, `"STARTTLS"`) || !strings.Contains(greeting, `"SASL" ""`) {
		t.Fatalf("greeting: %s", greeting)
	}
	c.ask("STARTTLS")
	secure := tls.Client(raw, tr.tls(t))
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Conn, c.r = secure, bufio.NewReader(secure)
	c.answer()
	return c
}

// answer reads up to a reply.
func (c *sieveClient) answer() string {
	c.T.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	var all strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			c.Fatalf("%q, %v", all.String(), err)
		}
		if strings.HasPrefix(line, "OK") || strings.HasPrefix(line, "NO") || strings.HasPrefix(line, "BYE") {
			return all.String()
		}
	}
}

func (c *sieveClient) ask(command string) string {
	c.T.Helper()
	fmt.Fprintf(c.Conn, "%s\r\n", command)
	return c.answer()
}

func (c *sieveClient) login(user, password string) string {
	c.T.Helper()
	return c.ask(`AUTHENTICATE "PLAIN" "` + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)) + `"`)
}

// TestUploadedScriptSteersMail: a script that is uploaded by ManageSieve decides
// where the next message goes, and a reload changes what scripts may do.
func TestUploadedScriptSteersMail(t *testing.T) {
	tr := startDev(t, nil)
	c := dialSieve(t, tr)
	if got := c.login("alice", "wrong"); !strings.HasPrefix(got, "NO") {
		t.Errorf("wrong password: %s", got)
	}
	if !strings.Contains(tr.log.String(), `msg="auth failed" user=alice ip=127.0.0.1 service=managesieve`) {
		t.Error("the failure is not in the log")
	}
	if got := c.login("alice@"+dev.Domain, tr.Passwords["alice"]); !strings.HasPrefix(got, "OK") {
		t.Fatal(got)
	}
	inbox := func() int { return tr.with(t, "alice", "Subject: from outside") }
	folder := func() int {
		files, _ := filepath.Glob(filepath.Join(tr.Dir, "home/alice/Maildir/.Filtered/new/*"))
		return len(files)
	}
	deliver := func() {
		t.Helper()
		if err := tr.outside(t, "alice@"+dev.Domain); err != nil {
			t.Fatal(err)
		}
	}
	deliver()
	before := inbox()
	for _, command := range []string{
		`PUTSCRIPT "main" "require [\"fileinto\",\"mailbox\"]; fileinto :create \"Filtered\";"`, `SETACTIVE "main"`,
	} {
		if got := c.ask(command); !strings.HasPrefix(got, "OK") {
			t.Fatalf("%s: %s", command, got)
		}
	}
	deliver()
	if inbox() != before || folder() != 1 {
		t.Errorf("with the script: %d in the INBOX, %d in the folder", inbox(), folder())
	}
	if got := c.ask(`SETACTIVE ""`); !strings.HasPrefix(got, "OK") {
		t.Error(got)
	}
	deliver()
	if folder() != 1 {
		t.Errorf("without it: %d in the folder", folder())
	}

	if got := c.ask("CAPABILITY"); !strings.Contains(got, `"MAXREDIRECTS" "4"`) || !strings.Contains(got, `"OWNER" "alice"`) {
		t.Error(got)
	}
	edit(t, tr.Config, "[relay]", "[sieve]\nredirects = 0\n[relay]")
	if code, _, stderr := tr.command(t, "", "reload"); code != 0 {
		t.Fatal(stderr)
	}
	if got := c.ask("CAPABILITY"); !strings.Contains(got, `"MAXREDIRECTS" "0"`) {
		t.Error(got)
	}
	if _, stdout, _ := tr.command(t, "", "status"); !strings.Contains(stdout, "managesieve    "+tr.cfg.Listen.ManageSieve[0]+", 1 connection") {
		t.Error(stdout)
	}
	if err := tr.stop(); err != nil {
		t.Error(err)
	}
	if got := c.answer(); !strings.HasPrefix(got, "BYE (TRYLATER)") {
		t.Errorf("at the end: %s", got)
	}
}

// TestCheckWarnsOfScriptsThatNeverRun.
func TestCheckWarnsOfScriptsThatNeverRun(t *testing.T) {
	site := devSite(t)
	edit(t, site.Config, "[relay]", "[sieve]\nenabled = false\n[relay]")
	code, stdout, stderr := runCommand(t, "", "check-config", "--strict", "-c", site.Config)
	if code != 1 || !strings.Contains(stdout, "warning: listen.managesieve: lets users upload filters, but") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}
