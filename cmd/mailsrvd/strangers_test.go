package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/peertest"
)

// TestStrangersAreJudgedFromTheNetwork has swaks come from addresses of another
// host, of which each has something against it.
func TestStrangersAreJudgedFromTheNetwork(t *testing.T) {
	swaks := peertest.NeedProgram(t, "swaks", "swaks")
	_, there := peertest.NewNetworks(t)
	var zone strings.Builder
	for _, n := range []int{1, 3, 4, 5, 6} {
		fmt.Fprintf(&zone, "%d.2.0.192.in-addr.arpa PTR h%d.friend.example\nh%d.friend.example A 192.0.2.%d\n", n, n, n, n)
	}
	zone.WriteString("3.2.0.192.bl.example A 127.0.0.2\n5.2.0.192.in-addr.arpa PTR h5.stranger.example\nh5.stranger.example A 192.0.2.5\n" +
		"4.2.0.192.weak.example A 127.0.0.2\nfriend.example TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\n_dmarc.friend.example TXT \"v=DMARC1; p=reject; rua=mailto:d@friend.example\"\n")
	fake, err := dns.NewFake(strings.Replace(zone.String(), "5.2.0.192.in-addr.arpa PTR h5.friend.example\n", "", 1))
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := fake.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	site := devSite(t)
	cfg, err := config.Load(site.Config)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, site.Config, cfg.Listen.MX[0], "192.0.2.200:2525")
	edit(t, site.Config, "hold = true", "hold = false")
	edit(t, site.Config, "[relay]", fmt.Sprintf(`[dmarc_reports]
send = true
[dns]
resolver = %q
[inbound.client]
iprev = "reject"
helo = "reject"
greet_delay = "100ms"
dnsbl_junk = 2
dnsbl_reject = 5
[[inbound.dnsbl]]
zone = "bl.example"
score = 5
[[inbound.dnsbl]]
zone = "weak.example"
score = 3
[inbound.greylist]
enabled = true
pass = ["friend.example"]
[relay]`, resolver))
	daemon := startServe(t, site, os.Args[0], nil)
	for _, c := range []struct {
		from, helo, want, log string
	}{
		{"192.0.2.1", "h1.friend.example", "250 2.0.0", "iprev=pass helo=pass dnsbl=none greylist=pass spf=pass"},
		{"192.0.2.2", "h1.friend.example", "550 5.7.25 Your address 192.0.2.2 needs a name", ""},
		{"192.0.2.3", "h3.friend.example", "554 5.7.1 Your address 192.0.2.3 is listed: bl.example=5", ""},
		{"192.0.2.4", "h4.friend.example", "250 2.0.0", `dnsbl="listed (weak.example=3)"`},
		{"192.0.2.5", "h5.stranger.example", "451 4.7.1 Greylisted", ""},
		{"192.0.2.6", "localhost", "550 5.7.1 Say your own name in EHLO: it is no full host name", ""},
	} {
		var out []byte
		there.Do(func() {
			out, _ = exec.CommandContext(t.Context(), swaks, "--server", "192.0.2.200:2525", "--local-interface", c.from, "--helo", c.helo,
				"--from", "a@friend.example", "--to", "alice@"+dev.Domain, "--timeout", "20").CombinedOutput()
		})
		if !strings.Contains(string(out), " "+c.want) {
			t.Errorf("%s: want %s\n%s", c.from, c.want, out)
		}
		// The line comes through a pipe, and the reply may be there before.
		await(t, fmt.Sprintf("%s: the log has no %s", c.from, c.log), func() bool { return strings.Contains(daemon.log.String(), c.log) })
	}
	if n := strings.Count(daemon.log.String(), "to=alice@"+dev.Domain+" size"); n != 2 {
		t.Errorf("%d messages", n)
	}
	var out []byte
	for range 50 { // a slow machine may let a client talk too late
		there.Do(func() {
			out, _ = exec.CommandContext(t.Context(), "bash", "-c", `exec 3<>/dev/tcp/192.0.2.200/2525; printf 'EHLO x\r\nQUIT\r\n' >&3; timeout 10 cat <&3`).CombinedOutput()
		})
		if string(out) == "554 5.5.1 Wait for the greeting\r\n" {
			break
		}
	}
	if !strings.HasPrefix(string(out), "554 ") {
		t.Errorf("an early talker: %q", out)
	}
	daemon.Process.Signal(syscall.SIGTERM)
	if err := daemon.Wait(); err != nil {
		t.Fatal(err)
	}
	counts, err := filepath.Glob(filepath.Join(cfg.StateDir, "dmarc-reports", "*.json"))
	if err != nil || len(counts) == 0 {
		t.Fatal("nothing was counted for DMARC reports", err)
	}
	if b, err := os.ReadFile(counts[0]); err != nil || !strings.Contains(string(b), `"source_ip":"192.0.2.1","count":1,"policy_evaluated":{"disposition":"none","dkim":"fail","spf":"pass"}`) {
		t.Errorf("counted for DMARC reports: %s, %v", b, err)
	}
}
