package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/dns"
)

// TestInboundTakesTheConfiguration holds what is between keys and rooms.
func TestInboundTakesTheConfiguration(t *testing.T) {
	c, problems := config.Parse("/x/m.toml", `
hostname = "mx.example.org"
domains = ["example.org"]
[tls]
certificate = "c"
key = "k"
[inbound.client]
iprev = "reject"
helo = "reject"
dnsbl_junk = 2
dnsbl_reject = 5
[[inbound.dnsbl]]
zone = "bl.example"
score = 3
[inbound.greylist]
enabled = true
[[inbound.filter]]
name = "f"
address = "/s"
on_failure = "accept"
`)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	c.StateDir = t.TempDir()
	d := &Daemon{cfg: c, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	if err := d.openGreylist(); err != nil {
		t.Fatal(err)
	}
	defer d.greylist.Close()
	o := d.clientOptions()
	if o.Greylist == nil {
		t.Error("no greylist")
	}
	o.Greylist = nil
	if got := fmt.Sprint(o); got != "{reject reject [{bl.example 3 map[]}] 2 5 <nil>}" {
		t.Errorf("%s", got)
	}
	if got := fmt.Sprint(filterOptions(c).Filters); got != "[{f milter /s 30s 0 false false false}]" {
		t.Errorf("%s", got)
	}
	fake, err := dns.NewFake("")
	if err != nil {
		t.Fatal(err)
	}
	d.resolver = fake.Resolver()
	d.dmarc = d.dmarcReports()
	i, err := d.inspector()
	if err != nil {
		t.Fatal(err)
	}
	if i.Client(t.Context(), netip.MustParseAddr("127.0.0.1"), false) != nil {
		t.Error("programs of this host are judged")
	}
}
