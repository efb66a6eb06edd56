package zone

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	mdns "github.com/miekg/dns"

	"svc.plus/mailsrvd/internal/dns"
)

// clientService is one that mail programs look for by an SRV record (RFC 6186, RFC
// 8314 section 5.1, RFC 5804 section 1.8).
type clientService struct {
	name           string
	port, priority int // port 0 is off
}

func (d Domain) clientServices() []clientService {
	return []clientService{
		{"submissions", d.Submissions, 0}, {"submission", d.Submission, 10}, {"imaps", d.IMAPS, 0}, {"imap", d.IMAP, 10},
		{"sieve", d.ManageSieve, 0},
	}
}

// record is the name of the SRV record.
func (s clientService) record(domain string) string { return "_" + s.name + "._tcp." + domain }

// clients looks whether SRV records send mail programs elsewhere, or to a port here
// that is closed. One that is missing is no mistake: programs ask the host by its
// name, or their user. A name of listen.https is expected.
func (c *check) clients(ctx context.Context) {
	for _, s := range c.clientServices() {
		name := s.record(c.Name)
		a, err := c.r.Lookup(ctx, name, mdns.TypeSRV)
		if err != nil {
			c.unanswered("SRV", name, err)
			continue
		}
		where := s.astray(a.Records, c.Hostname)
		if where == "" {
			continue
		}
		mend := fmt.Sprintf("make it %s. SRV %d 1 %d %s.", name, s.priority, s.port, c.Hostname)
		if s.port == 0 {
			mend = "remove the record, or switch the listener on ([listen])"
		}
		c.warn("SRV", name, "mail programs that look there do not find this server; delivery goes on", mend, "%s sends mail programs to %s", name, where)
	}
	for _, want := range c.services() {
		if want.Type == "CNAME" {
			c.settings(ctx, want)
		}
	}
}

// settings looks at a name under which mail programs ask listen.https.
func (c *check) settings(ctx context.Context, want Record) {
	a, err := c.r.Addrs(ctx, want.Name)
	const about, means = "autoconfig", "mail programs do not set themselves up by this name; delivery goes on"
	switch {
	case c.unanswered(about, want.Name, err):
	case errors.Is(err, dns.ErrNotFound):
		c.warn(about, want.Name, means, "add to the zone: "+want.Name+". CNAME "+want.Value, "%s does not exist, though listen.https answers for it", want.Name)
	case len(c.host) > 0 && !slices.ContainsFunc(a.Records, func(have netip.Addr) bool { return slices.Contains(c.host, have) }):
		c.warn(about, want.Name, means, "make it a CNAME of "+want.Value, "%s leads to %s, not to this server", want.Name, a.Records[0])
	}
}

// astray is where records lead that do not lead to the service; empty if one does,
// or if they say that there is none.
func (s clientService) astray(records []mdns.RR, hostname string) (where string) {
	for _, rr := range records {
		srv, ok := rr.(*mdns.SRV)
		if !ok || srv.Target == "." {
			continue
		}
		host := strings.TrimSuffix(srv.Target, ".")
		ours := strings.EqualFold(host, hostname)
		if ours && int(srv.Port) == s.port {
			return ""
		}
		if ours || s.port > 0 {
			where = fmt.Sprintf("%s, port %d", host, srv.Port)
		}
	}
	return where
}
