package daemon

import (
	"svc.plus/mailsrvd/config"
	"svc.plus/mailsrvd/smtpd/queue"
	"svc.plus/mailsrvd/smtpd/relay"
)

// destinationRate is a rate with the name of those that share it.
type destinationRate struct {
	name string
	rate queue.Rate
}

// rates is what [relay] and its routes say about the rate of each destination.
type rates struct {
	local map[string]bool
	of    map[string]destinationRate // by domain, or ".domain"
	all   destinationRate            // without a name: each domain has its own
}

func newRates(c *config.Config) rates {
	r := rates{local: map[string]bool{}, of: map[string]destinationRate{}, all: destinationRate{rate: queue.Rate(c.Relay.Rate)}}
	if c.Relay.Smarthost != "" {
		r.all.name = "smarthost"
	}
	for _, d := range c.Domains {
		r.local[queue.ByDomain(d)] = true
	}
	for _, route := range c.Relay.Route {
		own := destinationRate{rate: queue.Rate(route.Rate)}
		if route.Rate == (config.Rate{}) {
			own.rate = r.all.rate
		}
		if route.Rate != (config.Rate{}) || route.Host != "" {
			own.name = "route " + route.Domains[0]
		}
		for _, d := range route.Domains {
			r.of[d] = own
		}
	}
	return r
}

// to is the rate of a domain.
func (r rates) to(domain string) (name string, rate queue.Rate) {
	if r.local[domain] {
		return domain, queue.Rate{} // a mailbox of ours that is full, or the like
	}
	own, ok := relay.Nearest(r.of, domain)
	if !ok {
		own = r.all
	}
	if own.name == "" {
		own.name = "domain " + domain
	}
	return own.name, own.rate
}

// rateOf is queue.Options.Rate.
func (d *Daemon) rateOf(destination string) (string, queue.Rate) {
	return d.board.live.Load().rates.to(destination)
}
