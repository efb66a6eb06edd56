package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/inbound"
	"svc.plus/mailsrvd/smtpd/inbound/dmarcrpt"
)

// TestDMARCReportsReachPostfix lets the daemon find a day's counts, and looks for
// the report in a mailbox of Postfix: signed, and readable by our own command.
func TestDMARCReportsReachPostfix(t *testing.T) {
	n := newInternet(t, "", "good", "reports")
	n.publish(destination{name: "reports", mx: goodMX})
	n.add("_dmarc.good.example TXT \"v=DMARC1; p=reject; rua=mailto:dmarc@reports.example,mailto:nobody@bad.example\"\n" +
		"good.example._report._dmarc.reports.example TXT \"v=DMARC1\"\n")
	o := n.startOutgoing("[dmarc_reports]\nsend = true\n")
	n.add(zoneOfKey(t, o.Site))
	o.process.Process.Signal(syscall.SIGTERM)
	if err := o.process.Wait(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(o.cfg.StateDir, "dmarc-reports")
	c := dmarcrpt.New(dmarcrpt.Options{Dir: dir, Hostname: "x", Settings: func() dmarcrpt.Settings { return dmarcrpt.Settings{On: true} }})
	for range 7 {
		c.Observe(inbound.Evaluation{Remote: netip.MustParseAddr("198.51.100.9"), Domain: "good.example", From: "good.example", Published: inbound.Published{P: "reject"},
			Disposition: "none", SPFAligned: true, SPF: inbound.SPFResult{Domain: "good.example", Scope: "mfrom", Result: "pass"}})
	}
	c.Close()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.Rename(files[0], filepath.Join(dir, longAgo()+".json")); err != nil {
		t.Fatal(err)
	}
	o.start(t)
	m := n.mailFor("dmarc@reports.example")
	file := filepath.Join(t.TempDir(), "m.eml")
	if err := os.WriteFile(file, []byte(m), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := o.command(t, "", "reports", file)
	want := longAgo() + "  " + dev.Hostname + "  good.example  good.example  198.51.100.9  7         none         fail  pass"
	if code != 0 || !strings.Contains(out, want) {
		t.Errorf("%d %s%s\nwant %s\n%s", code, out, stderr, want, m)
	}
	_, m, _ = strings.Cut(m, "\nDKIM-Signature:")
	m = strings.ReplaceAll("DKIM-Signature:"+m, "\n", "\r\n")
	if r := dkim.Verify(t.Context(), message.FromBytes([]byte(m)), n.dns.Resolver().TXT); len(r) != 1 || r[0].Value != dkim.Pass || r[0].Domain != dev.Domain {
		t.Errorf("signature: %+v\n%s", r, m)
	}
	if metrics := o.metrics(t); !strings.Contains(metrics, `mailsrvd_dmarc_reports_total{result="sent"} 1`) || !strings.Contains(metrics, `mailsrvd_dmarc_reports_total{result="unwanted"} 1`) {
		t.Error("no metric")
	}
}
