package main

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/dev"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/relay/tlsrpt"
)

// zoneOfKey is the DKIM record of the site's key.
func zoneOfKey(t *testing.T, site *dev.Site) string {
	t.Helper()
	key, err := dkim.LoadKey(filepath.Join(site.Dir, "dkim", dev.Domain+"."+dev.Selector+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return dkim.ZoneLine(dev.Domain, dev.Selector, key) + "\n"
}

// TestTLSReportsReachPostfixAndTheWeb counts real sessions with Postfix, lets
// the day pass by, and looks for the report in a mailbox, signed, and at an
// HTTPS server. The reports' own destination has a DANE record that no
// certificate meets, which must not keep the report (RFC 8460 section 5.3.1).
func TestTLSReportsReachPostfixAndTheWeb(t *testing.T) {
	n := newInternet(t, "", "good", "bad", "reports")
	n.publish(destination{name: "good", mx: goodMX, sts: "enforce"})
	n.publish(destination{name: "bad", mx: otherMX, sts: "enforce"})
	n.publish(destination{name: "reports", mx: goodMX, tlsa: "3 1 1 " + strings.Repeat("ab", 32)})
	n.add("reports.example A " + web + "\n" +
		"_smtp._tls.good.example TXT \"v=TLSRPTv1; rua=mailto:tls@reports.example\"\n" +
		"_smtp._tls.bad.example TXT \"v=TLSRPTv1; rua=https://reports.example/v1/tls\"\n")
	posts := make(chan tlsrpt.Report, 10)
	n.mux.HandleFunc("POST reports.example/v1/tls", func(_ http.ResponseWriter, r *http.Request) {
		var got tlsrpt.Report
		if z, err := gzip.NewReader(r.Body); err != nil {
			t.Error(err)
		} else if err := json.NewDecoder(z).Decode(&got); err != nil {
			t.Error(err)
		}
		posts <- got
	})
	o := n.startOutgoing("[tls_reports]\nsend = true\n")
	n.add(zoneOfKey(t, o.Site))
	o.send(t, "bob@good.example", "eve@bad.example", "tls@reports.example")
	n.mailFor("bob@good.example")
	for to, want := range map[string]string{"eve@bad.example": "elsewhere", "tls@reports.example": "TLSA"} {
		if line := o.fate(t, to); !strings.Contains(line, "msg=deferred") || !strings.Contains(line, want) {
			t.Errorf("%s: %s", to, line)
		}
	}
	if code, _, stderr := o.command(t, "", "queue", "remove", "--all"); code != 0 {
		t.Fatal(stderr)
	}
	o.process.Process.Signal(syscall.SIGTERM)
	if err := o.process.Wait(); err != nil {
		t.Fatal(err)
	}
	o.age(t)
	o.start(t)
	select {
	case r := <-posts:
		if len(r.Policies) != 1 || r.Policies[0].Policy.Type != "sts" || r.Policies[0].Policy.Text[1] != "mode: enforce" || r.Policies[0].Summary.Failure != 1 ||
			r.Policies[0].Details[0].Result != "certificate-host-mismatch" || r.Policies[0].Details[0].ReceivingIP != otherMX || r.Policies[0].Details[0].MX != "mx.bad.example" {
			t.Errorf("posted: %+v", r)
		}
	case <-time.After(patience):
		t.Error("nothing was posted")
	}
	m := n.mailFor("tls@reports.example")
	if !strings.Contains(m, "TLS-Report-Domain: good.example\n") || !strings.Contains(m, "From: postmaster@"+dev.Domain+"\n") || !strings.Contains(m, "(using TLSv1.3") {
		t.Errorf("mailed:\n%s", m)
	}
	_, m, _ = strings.Cut(m, "\nDKIM-Signature:")
	m = strings.ReplaceAll("DKIM-Signature:"+m, "\n", "\r\n")
	if r := dkim.Verify(t.Context(), message.FromBytes([]byte(m)), n.dns.Resolver().TXT); len(r) != 1 || r[0].Value != dkim.Pass || r[0].Domain != dev.Domain {
		t.Errorf("signature: %+v\n%s", r, m)
	}
	if !eventually(func() bool {
		_, err := os.Stat(o.reports(longAgo()))
		return errors.Is(err, fs.ErrNotExist)
	}) {
		t.Error("the day's counts are kept after all was sent")
	}
	if metrics := o.metrics(t); !strings.Contains(metrics, `mailsrvd_tls_reports_total{result="sent",way="mail"} 1`) || !strings.Contains(metrics, `mailsrvd_tls_reports_total{result="sent",way="https"} 1`) {
		t.Error("no metric")
	}
}

// reports is the file of a day's counts.
func (o *outgoing) reports(date string) string {
	return filepath.Join(o.cfg.StateDir, "tls-reports", date+".json")
}

// longAgo is a day whose reports are due, whatever the time of day.
func longAgo() string { return time.Now().UTC().Add(-2 * 24 * time.Hour).Format(time.DateOnly) }

// age makes the counts of the stopped daemon those of an earlier day.
func (o *outgoing) age(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(o.reports("*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for i, file := range files { // two, if the test runs over midnight
		date := time.Now().UTC().Add(-time.Duration(i+2) * 24 * time.Hour).Format(time.DateOnly)
		if err := os.Rename(file, o.reports(date)); err != nil {
			t.Fatal(err)
		}
	}
}
