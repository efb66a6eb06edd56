package daemon

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/internal/acme"
	"svc.plus/mailsrvd/internal/listen"
)

// loadCertificates reads the pairs with the start-up groups.
func (d *Daemon) loadCertificates() error {
	pairs := CertificatePairs(d.cfg)
	if len(pairs) == 0 {
		return nil
	}
	certs, err := listen.LoadCertificates(d.readFile, pairs...)
	if err != nil {
		return fmt.Errorf("%s: %w", d.cfg.Where("tls.certificate"), err)
	}
	if err := certs.Check(time.Now(), d.cfg.Hostname); err != nil {
		d.log.Warn("certificate", "err", err)
	}
	d.certs = certs
	d.registry.MustRegister(d.expiry())
	return nil
}

// CertificatePairs are those of [tls], and the one of [acme].
func CertificatePairs(c *config.Config) []listen.Pair {
	var out []listen.Pair
	_, pairs := c.TLS.Pairs()
	for _, p := range pairs {
		out = append(out, listen.Pair(p))
	}
	if c.ACME.Directory() != "" {
		file := acme.File(c.ACMEDir())
		out = append(out, listen.Pair{Certificate: file, Key: file})
	}
	return out
}

func (d *Daemon) reloadCertificates(c *config.Config) error {
	pairs := CertificatePairs(c)
	switch {
	case d.certs == nil && len(pairs) == 0:
		return nil
	case d.certs == nil || len(pairs) == 0:
		return fmt.Errorf("%s: switching TLS on or off needs a restart", c.Where("tls.certificate"))
	}
	if err := d.certs.Reload(pairs...); err != nil {
		return fmt.Errorf("%s: %w", c.Where("tls.certificate"), err)
	}
	if err := d.certs.Check(time.Now(), c.Hostname); err != nil {
		d.log.Warn("certificate", "err", err)
	}
	return nil
}

// renewal is what refreshCertificates remembers.
type renewal struct {
	done   chan struct{} // our own certificate has been renewed
	failed string        // the last failure, so that it is logged once
	warned time.Time     // when an end that is near was last logged
}

// expiryWarning is how long before its end a certificate is complained about,
// once a day. Renewal jobs come a month before, ours as well.
const expiryWarning = 14 * 24 * time.Hour

// refreshCertificates takes over renewed files by itself, so that a renewal job
// needs no hook. It is called by one goroutine, every half minute and when our
// own certificate was renewed.
func (d *Daemon) refreshCertificates(now time.Time) {
	if d.certs == nil {
		return
	}
	changed, err := d.certs.Refresh()
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	switch {
	case changed:
		d.log.Info("new certificates", "until", d.certs.NotAfter())
	case failed != "" && failed != d.renewal.failed:
		d.log.Warn("renewed certificate files are not in use", "err", err)
	}
	d.renewal.failed = failed
	if left := d.certs.NotAfter().Sub(now); left < expiryWarning && now.Sub(d.renewal.warned) > 24*time.Hour {
		d.log.Warn("a certificate ends soon; does its renewal run?", "at", d.certs.NotAfter(), "days", int(left.Hours()/24))
		d.renewal.warned = now
	}
}

// expiry is a metric: when the first certificate ends.
func (d *Daemon) expiry() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mailsrvd_tls_certificate_not_after_seconds",
		Help: "When the first of the certificates ends, in Unix time.",
	}, func() float64 { return float64(d.certs.NotAfter().Unix()) })
}
