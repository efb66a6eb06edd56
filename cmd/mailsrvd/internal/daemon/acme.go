package daemon

import (
	"crypto/x509"
	"fmt"

	"svc.plus/mailsrvd/internal/acme"
)

// openACME makes what gets certificates by itself, if the configuration wants
// one.
func (d *Daemon) openACME() error {
	c := d.cfg
	if c.ACME.Directory() == "" {
		return nil
	}
	o := acme.Options{
		Directory: c.ACME.Directory(), Email: c.ACME.Email, Names: c.ACMENames(), Dir: c.ACMEDir(),
		HTTP: len(c.Listen.HTTP) > 0, TLSALPN: len(c.Listen.HTTPS) > 0, Logger: d.log,
		Renewed: func() {
			select {
			case d.renewal.done <- struct{}{}:
			default: // it will be seen all the same
			}
		},
	}
	if c.ACME.CAFile != "" {
		b, err := d.readFile(c.ACME.CAFile)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Where("acme.ca_file"), err)
		}
		if o.Roots = x509.NewCertPool(); !o.Roots.AppendCertsFromPEM(b) {
			return fmt.Errorf("%s: %s holds no certificate in PEM form", c.Where("acme.ca_file"), c.ACME.CAFile)
		}
	}
	m, err := acme.New(o)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Where("acme"), err)
	}
	d.acme = m
	return nil
}
