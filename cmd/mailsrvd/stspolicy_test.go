package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/smtpd/relay/mtasts"
)

// TestOurPolicyIsServedAsItIsAnnounced: what dns records prints and what the
// daemon serves belong together, also after a reload.
func TestOurPolicyIsServedAsItIsAnnounced(t *testing.T) {
	tr := startDev(t, func(s *dev.Site) {
		edit(t, s.Config, "[relay]", "[mta_sts]\nmode = \"testing\"\nmx = [\"mail.example.test\", \"*.backup.example\"]\n[relay]")
	})
	for _, mode := range []mtasts.Mode{mtasts.Testing, mtasts.Enforce} {
		text := servedPolicy(t, tr, "mta-sts."+dev.Domain)
		p, err := mtasts.Parse(text)
		if err != nil || p.Mode != mode || p.String() != text || !p.Lists("mail.example.test") || !p.Lists("b1.backup.example") {
			t.Errorf("served %q: %+v, %v", text, p, err)
		}
		_, stdout, stderr := tr.command(t, "", "dns", "records")
		for _, want := range []string{"_mta-sts.example.test.\t3600\tIN\tTXT\t\"v=STSv1; id=" + p.ID() + ";\"", "mta-sts.example.test.\t3600\tIN\tCNAME\tmail.example.test.", "_smtp._tls.example.test.\t3600\tIN\tTXT\t\"v=TLSRPTv1; rua=mailto:postmaster@example.test\""} {
			if !strings.Contains(stdout, want) {
				t.Errorf("no %s in\n%s%s", want, stdout, stderr)
			}
		}
		if mode == mtasts.Testing {
			edit(t, tr.Config, `mode = "testing"`, `mode = "enforce"`)
			if code, _, stderr := tr.command(t, "", "reload"); code != 0 {
				t.Fatal(stderr)
			}
		}
	}
	if text := servedPolicy(t, tr, "mta-sts.other.example"); text != "" {
		t.Errorf("for another domain: %q", text)
	}
}

// servedPolicy asks the site for the policy under a host name; "" is 404.
func servedPolicy(t *testing.T, tr *trial, host string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	req, err := http.NewRequest(http.MethodGet, "https://"+tr.cfg.Listen.HTTPS[0]+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == http.StatusNotFound {
		return ""
	}
	return string(b)
}
