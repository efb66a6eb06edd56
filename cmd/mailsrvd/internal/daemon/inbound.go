package daemon

import (
	"cmp"
	"net/netip"

	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/smtpd/inbound"
	"svc.plus/mailsrvd/smtpd/inbound/filter"
)

// inspector judges mail from strangers. Programs on this host are none.
func (d *Daemon) inspector() (*inbound.Inspector, error) {
	c := d.cfg.Inbound
	return inbound.New(inbound.Options{
		AuthservID: cmp.Or(c.AuthservID, d.cfg.Hostname), Resolver: d.resolver,
		SPF: inbound.Setting(c.SPF), DKIM: inbound.Setting(c.DKIM), DMARC: inbound.Setting(c.DMARC), ARC: inbound.Setting(c.ARC),
		TrustedSealers: c.TrustedSealers,
		Client:         d.clientOptions(), Evaluated: d.dmarc.Observe,
		Skip:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Logger: d.log, Registerer: d.registry,
	})
}

// clientOptions are what the configuration says about clients.
func (d *Daemon) clientOptions() inbound.ClientOptions {
	c := d.cfg.Client
	o := inbound.ClientOptions{
		IPRev: inbound.Setting(c.IPRev), HELO: inbound.Setting(c.HELO), JunkScore: c.JunkScore, RejectScore: c.RejectScore, Greylist: d.greylist,
	}
	for _, l := range c.DNSBL {
		o.Lists = append(o.Lists, inbound.DNSList{Zone: l.Zone, Score: l.Score, Codes: l.Codes})
	}
	return o
}

// openGreylist opens the memory of strangers, if they are put off at all.
func (d *Daemon) openGreylist() (err error) {
	g := d.cfg.Client.Greylist
	if !g.On {
		return nil
	}
	d.greylist, err = inbound.OpenGreylist(inbound.GreylistOptions{
		File: d.cfg.StateDir + "/greylist", Delay: g.Delay, PassNets: g.PassNets, PassDomains: g.PassDomains, Logger: d.log,
	})
	return err
}

// filters are the programs that judge content, which may be none.
func (d *Daemon) filters() (*filter.Chain, error) {
	o := filterOptions(d.cfg)
	o.Logger, o.Registerer = d.log, d.registry
	return filter.New(o)
}

// filterOptions are those that the configuration gives.
func filterOptions(c *config.Config) filter.Options {
	o := filter.Options{Hostname: c.Hostname}
	for _, f := range c.Inbound.Filter {
		o.Filters = append(o.Filters, filter.Spec{
			Name: f.Name, Protocol: filter.Protocol(f.Protocol), Address: f.Address, Timeout: f.Timeout,
			MaxSize: f.MaxSize, Defer: f.OnFailure == "defer", Submission: f.Submission, LMTP: f.LMTP,
		})
	}
	return o
}
