package daemon

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/web"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/zone"
)

// How soon after the start and how often the DNS is compared with what it
// should be.
const (
	firstZoneCheck = 30 * time.Second
	zoneCheckEvery = 6 * time.Hour
)

// watchZones compares the DNS of our domains with what they need, for the
// status page and the metrics, until ctx ends. A server that contacts no other
// ([relay] hold) asks no DNS either, nor does one whose administrator looks at
// neither.
func (d *Daemon) watchZones(ctx context.Context) {
	if d.cfg.Relay.Hold || len(d.cfg.Listen.Metrics)+len(d.cfg.Listen.Status) == 0 {
		return
	}
	for wait := firstZoneCheck; ; wait = zoneCheckEvery + rand.N(zoneCheckEvery/6) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			d.checkZones(ctx)
		}
	}
}

func (d *Daemon) checkZones(ctx context.Context) {
	c := d.board.live.Load().cfg
	var domains []zone.Domain
	err := d.o.Groups.Do(func() (err error) { // the DKIM keys may be the group's
		domains, err = zone.Of(c)
		return err
	})
	for i := range domains {
		if d.certs != nil {
			domains[i].Served = d.certs.Chain(c.Hostname)
		}
	}
	var findings []zone.Finding
	if err == nil {
		findings, err = zone.CheckAll(ctx, c.DNS.Resolver, domains)
	}
	if err != nil {
		d.log.Warn("comparing the DNS with what it should be", "err", err)
		return
	}
	d.zones.Store(&web.Zones{At: time.Now(), Findings: findings})
}

// zoneFindings is a metric: how much of the DNS is not as it should be.
func (d *Daemon) zoneFindings() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mailsrvd_dns_findings",
		Help: "How many DNS records of our domains are missing or wrong, as mailsrvd dns check tells, a few hours ago at most; 0 also before the first look.",
	}, func() float64 {
		if z := d.zones.Load(); z != nil {
			return float64(len(z.Findings))
		}
		return 0
	})
}
