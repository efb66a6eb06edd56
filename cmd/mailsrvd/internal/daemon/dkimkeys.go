package daemon

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/cmd/mailsrvd/internal/admin"
	"svc.plus/mailsrvd/cmd/mailsrvd/internal/keyring"
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
)

// signing is the keys of a generation, and a Signer with those that sign now.
// It is immutable.
type signing struct {
	*dkim.Signer
	keys []keyring.Key
	at   time.Time // of the states in keys
}

// newSigning reads the keys. turning is held.
func (d *Daemon) newSigning(c *config.Config) (*signing, []*dkim.Ring, error) {
	var rings []*dkim.Ring
	if err := d.o.Groups.Do(func() (err error) {
		rings, err = keyring.Open(c)
		return err
	}); err != nil {
		return nil, nil, err
	}
	s, err := d.signingOf(c, rings)
	return s, rings, err
}

// signingOf makes a Signer of the keys whose turn it is. turning is held.
func (d *Daemon) signingOf(c *config.Config, rings []*dkim.Ring) (*signing, error) {
	var ids []dkim.Identity
	for _, r := range rings {
		ids = append(ids, r.Current(d.turns))
	}
	signer, err := dkim.NewSigner(ids)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &signing{signer, keyring.States(c, rings, d.turns, now), now}, nil
}

// loadTurns reads what an earlier run knew.
func (d *Daemon) loadTurns() {
	var err error
	if d.turns, err = dkim.LoadTurns(keyring.TurnsFile(d.cfg)); err != nil {
		d.log.Warn("which DKIM keys sign is found out anew", "err", err)
	}
}

// turnTime bounds the questions of one look at the DNS.
const turnTime = 30 * time.Second

// turnKeys reads the keys of the live generation again, and lets those sign that
// were waiting for their record in the DNS and have it now.
func (d *Daemon) turnKeys(ctx context.Context) error {
	d.turning.Lock()
	defer d.turning.Unlock()
	ctx, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	g := d.board.live.Load()
	_, rings, err := d.newSigning(g.cfg)
	if err != nil {
		return err
	}
	changed := false
	var news [][]any // told when they are true
	for _, r := range rings {
		before := r.Current(d.turns).Selector
		if g.cfg.Relay.Hold || !r.Advance(d.turns, time.Now(), keyring.Settle, func(k dkim.RingKey) bool { return d.published(ctx, r.Domain, k) }) {
			continue
		}
		changed = true
		if now := r.Current(d.turns).Selector; now != before {
			news = append(news, []any{"domain", r.Domain, "selector", now, "before", before})
		}
	}
	if changed {
		if err := d.turns.Save(keyring.TurnsFile(d.cfg)); err != nil {
			d.log.Warn("which DKIM keys sign is forgotten by the next start", "err", err)
		}
	}
	s, err := d.signingOf(g.cfg, rings)
	if err != nil {
		return err
	}
	d.tellSpent(g.signing.Load(), s)
	g.signing.Store(s)
	for _, n := range news {
		d.log.Info("another DKIM key signs", n...)
	}
	return nil
}

// published reports whether verifiers would find and use a key. The cache is
// passed by: it may know that there was no record.
func (d *Daemon) published(ctx context.Context, domain string, k dkim.RingKey) bool {
	r, err := dns.New(dns.Options{Addr: d.cfg.DNS.Resolver, CacheSize: -1})
	if err != nil {
		return false
	}
	texts, err := r.TXT(ctx, dkim.RecordName(domain, k.Selector))
	return err == nil && dkim.CompareRecord(texts, k.Key) == nil
}

// tellSpent logs once when a record is needed no longer.
func (d *Daemon) tellSpent(before, now *signing) {
	was := map[string]dkim.KeyState{}
	for _, k := range before.keys {
		was[k.Path] = k.State
	}
	for _, k := range now.keys {
		if k.State == dkim.Spent && was[k.Path] != dkim.Spent {
			d.log.Info("a DKIM key is spent", "domain", k.Domain, "selector", k.Selector, "mend", k.Advice())
		}
	}
}

// How often the DNS is asked, while a key waits for its record and else, when
// only the states of the keys are brought up to date.
const (
	turnEvery = time.Minute
	restEvery = time.Hour
)

// watchKeys turns keys until ctx ends.
func (d *Daemon) watchKeys(ctx context.Context) {
	for {
		if err := d.turnKeys(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("looking for DKIM keys", "err", err)
		}
		wait := restEvery
		for _, k := range d.board.live.Load().signing.Load().keys {
			if k.State == dkim.Waiting {
				wait = turnEvery
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-d.turnSoon: // there may be a key that waits now
		}
	}
}

// wakeKeys makes watchKeys look again.
func (d *Daemon) wakeKeys() {
	select {
	case d.turnSoon <- struct{}{}:
	default:
	}
}

// dkimStatus is what the status command shows of keys that want something done.
func (d *Daemon) dkimStatus() []admin.SigningKey {
	keys := []admin.SigningKey{}
	for _, k := range d.board.live.Load().signing.Load().keys {
		keys = append(keys, admin.SigningKey{Domain: k.Domain, Selector: k.Selector, Algorithm: string(k.Key.Algorithm()), State: string(k.State), Since: k.Since, Until: k.Until, Advice: k.Advice()})
	}
	return keys
}

// keyMetrics tells the states of keys.
type keyMetrics struct {
	d    *Daemon
	desc *prometheus.Desc
}

func newKeyMetrics(d *Daemon) keyMetrics {
	return keyMetrics{d, prometheus.NewDesc("mailsrvd_dkim_keys", "DKIM keys; the state is waiting (for its DNS record), signing, retiring (its record is still needed) or spent.",
		[]string{"domain", "selector", "algorithm", "state"}, nil)}
}

// Describe implements prometheus.Collector.
func (m keyMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.desc }

// Collect implements prometheus.Collector.
func (m keyMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, k := range m.d.dkimStatus() {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, 1, k.Domain, k.Selector, k.Algorithm, k.State)
	}
}
