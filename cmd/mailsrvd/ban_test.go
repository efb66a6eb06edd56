package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"svc.plus/mailsrvd/auth/ban"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
)

// greeting is the first line of a server.
func greeting(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// TestWhoGuessesIsBanned tries wrong passwords, and what the administrator does
// then.
func TestWhoGuessesIsBanned(t *testing.T) {
	tr := startDev(t, func(s *dev.Site) {
		f, err := os.OpenFile(s.Config, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprint(f, "\n[limits]\ntrusted = [\"192.0.2.1\"]\nban_after = 3\nunknown_recipient_delay = \"0s\"\n")
	})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			c, err := imapclient.DialTLS(tr.cfg.Listen.IMAPS[0], &imapclient.Options{TLSConfig: tr.tls(t)})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if c.Login("alice", fmt.Sprint("guess", i)).Wait() == nil {
				t.Error("a guess is right")
			}
		})
	}
	wg.Wait()
	if got := greeting(t, tr.cfg.Listen.IMAP[0]); !strings.HasPrefix(got, "* BYE") {
		t.Errorf("IMAP: %q", got)
	}
	if got := greeting(t, tr.cfg.Listen.MX[0]); !strings.HasPrefix(got, "220 ") {
		t.Errorf("MX: %q", got)
	}
	code, out, stderr := tr.command(t, "", "ban", "list", "--json")
	var list []ban.Entry
	if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list) != 1 || list[0].Network.String() != "127.0.0.1/32" || list[0].Scope != ban.Logins {
		t.Fatalf("%d %v %s%s", code, err, out, stderr)
	}
	for _, c := range []struct {
		args string
		code int
		out  string
	}{
		{"ban list", 0, "127.0.0.1/32  logins"},
		{"ban remove 192.0.2.7", 1, "192.0.2.7/32 is not banned"},
		{"ban remove 127.0.0.1", 0, ""},
		{"ban list", 0, "Nobody is banned."},
		{"ban add 192.0.2.1", 1, "trusted"},
		{"ban add nonsense", 1, "neither an address nor a network"},
		{"ban add 127.0.0.0/8 --for nonsense", 1, "write it as in"},
		{"ban add 127.0.0.0/8 --for 1d --reason test", 0, "127.0.0.0/8  all"},
	} {
		code, out, stderr := tr.command(t, "", strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+stderr, c.out) {
			t.Errorf("%s: %d, %s%s", c.args, code, out, stderr)
		}
	}
	if got := greeting(t, tr.cfg.Listen.MX[0]); !strings.HasPrefix(got, "421 ") {
		t.Errorf("MX: %q", got)
	}
	if log := tr.log.String(); !strings.Contains(log, "by=failures") || !strings.Contains(log, "reason=banned") {
		t.Error("the log does not tell")
	}
}
