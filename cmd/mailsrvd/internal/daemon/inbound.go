package daemon

import (
	"cmp"
	"net/netip"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/smtpd/inbound"
)

// inspector judges mail from strangers. Programs on this host are none.
func (d *Daemon) inspector() (*inbound.Inspector, error) {
	resolver, err := dns.NewSystem(d.cfg.DNS.Resolver)
	if err != nil {
		return nil, err
	}
	c := d.cfg.Inbound
	return inbound.New(inbound.Options{
		AuthservID: cmp.Or(c.AuthservID, d.cfg.Hostname), Resolver: resolver,
		SPF: inbound.Setting(c.SPF), DKIM: inbound.Setting(c.DKIM), DMARC: inbound.Setting(c.DMARC), ARC: inbound.Setting(c.ARC),
		TrustedSealers: c.TrustedSealers,
		Skip:           []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Logger:         d.log, Registerer: d.registry,
	})
}
