package zone

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"
	mdns "github.com/miekg/dns"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
)

// Finding is one thing in the DNS that is not as it should be.
type Finding struct {
	// About is "MX", "address", "PTR", "SPF", "DKIM", "DMARC", "MTA-STS", "TLSA",
	// "TLS reports", "SRV" or "autoconfig".
	About string `json:"about"`
	// Name is the name asked.
	Name string `json:"name"`
	// Key is the index of the DKIM key in question, -1 for none.
	Key int `json:"-"`
	// Text says what differs, Means what becomes of mail by it, Mend what to do.
	Text    string `json:"text"`
	Means   string `json:"means"`
	Mend    string `json:"mend"`
	Warning bool   `json:"warning,omitempty"`
}

// Fetch gets the text behind an https address, for MTA-STS.
type Fetch func(ctx context.Context, url string) (string, error)

// Check compares the zone with what d needs and returns all that differs.
func (d Domain) Check(ctx context.Context, r *dns.Resolver, fetch Fetch) []Finding {
	c := &check{Domain: d, r: r, fetch: fetch}
	c.mx(ctx)
	c.addresses(ctx)
	c.spf(ctx)
	c.dkim(ctx)
	c.dmarc(ctx)
	c.mtaSTS(ctx)
	c.tlsa(ctx)
	c.tlsReports(ctx)
	c.clients(ctx)
	return c.findings
}

type check struct {
	Domain
	r        *dns.Resolver
	fetch    Fetch
	host     []netip.Addr // of Hostname, as the DNS has them
	findings []Finding
}

func (c *check) add(about, name, means, mend, format string, args ...any) *Finding {
	c.findings = append(c.findings, Finding{About: about, Name: name, Key: -1, Text: fmt.Sprintf(format, args...), Means: means, Mend: mend})
	return &c.findings[len(c.findings)-1]
}

func (c *check) warn(about, name, means, mend, format string, args ...any) {
	c.add(about, name, means, mend, format, args...).Warning = true
}

// unanswered reports a question that had no answer at all, and says whether it
// was that.
func (c *check) unanswered(about, name string, err error) bool {
	if err == nil || errors.Is(err, dns.ErrNotFound) || errors.Is(err, dns.ErrNullMX) {
		return false
	}
	c.warn(about, name, "nothing is known of what others see", "ask again later; does the resolver work ([dns] resolver)?", "could not be looked up: %v", err)
	return true
}

func (c *check) mx(ctx context.Context) {
	mend := fmt.Sprintf("add to the zone: %s. MX 10 %s.", c.Name, c.Hostname)
	a, err := c.r.MX(ctx, c.Name)
	switch {
	case c.unanswered("MX", c.Name, err):
	case errors.Is(err, dns.ErrNullMX):
		c.add("MX", c.Name, "others return mail for "+c.Name+" without a try", mend+" in place of the null MX", "%s says that it takes no mail", c.Name)
	case err != nil:
		c.add("MX", c.Name, "others try the address of "+c.Name+" itself, and return the mail if no server is there", mend, "%s has no MX record", c.Name)
	case !slices.ContainsFunc(a.Records, func(m dns.MX) bool { return strings.EqualFold(m.Host, c.Hostname) }):
		c.add("MX", c.Name, "mail for "+c.Name+" goes there and not here", mend, "the MX of %s is %s, not %s", c.Name, a.Records[0].Host, c.Hostname)
	}
}

func (c *check) addresses(ctx context.Context) {
	a, err := c.r.Addrs(ctx, c.Hostname)
	switch {
	case c.unanswered("address", c.Hostname, err):
		return
	case err != nil:
		c.add("address", c.Hostname, "nobody can reach this server: mail waits with its senders and goes back to them after some days", "add an A (and AAAA) record for "+c.Hostname, "%s has no address", c.Hostname)
		return
	}
	if a.Name != "" && !strings.EqualFold(a.Name, c.Hostname) {
		c.add("address", c.Hostname, "some servers do not deliver to such a host", "give it A and AAAA records of its own (RFC 5321 section 5.1)", "%s is an alias (CNAME) of %s; the host of an MX may not be one", c.Hostname, a.Name)
	}
	c.host = a.Records
	for _, have := range c.host {
		if len(c.Addresses) > 0 && !slices.Contains(c.Addresses, have) && sameFamily(c.Addresses, have) {
			c.warn("address", c.Hostname, "mail that others send there does not come here", "correct the record, unless NAT leads this address here", "%s has the address %s, which this machine has not", c.Hostname, have)
		}
		c.ptr(ctx, have)
	}
	c.families(ctx)
}

// families looks whether this machine has addresses of a kind that its name has
// not: mail to servers of that kind leaves by them.
func (c *check) families(ctx context.Context) {
	for _, f := range []struct {
		is    func(netip.Addr) bool
		qtype uint16
		name  string
	}{{netip.Addr.Is4, mdns.TypeA, "A"}, {netip.Addr.Is6, mdns.TypeAAAA, "AAAA"}} {
		i := slices.IndexFunc(c.Addresses, f.is)
		if i < 0 || slices.ContainsFunc(c.host, f.is) {
			continue
		}
		if _, err := c.r.Lookup(ctx, c.Hostname, f.qtype); errors.Is(err, dns.ErrNotFound) {
			c.warn("address", c.Hostname, "mail that leaves by this address fails SPF, and large providers refuse it",
				fmt.Sprintf("add to the zone: %s. %s %s, and its reverse record; or take the address from this machine", c.Hostname, f.name, c.Addresses[i]),
				"this machine has the address %s, and %s no %s record", c.Addresses[i], c.Hostname, f.name)
		}
	}
}

func sameFamily(list []netip.Addr, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(b netip.Addr) bool { return a.Is4() == b.Is4() })
}

func (c *check) ptr(ctx context.Context, a netip.Addr) {
	names, err := c.r.PTR(ctx, a)
	mend := fmt.Sprintf("ask the provider of %s to set its reverse record to %s", a, c.Hostname)
	switch {
	case c.unanswered("PTR", a.String(), err):
	case err != nil:
		c.warn("PTR", a.String(), "many servers refuse mail from such addresses", mend, "%s has no reverse record", a)
	case !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, c.Hostname) }):
		c.warn("PTR", a.String(), "servers that compare the names refuse or suspect our mail", mend, "%s leads back to %s, not to %s", a, names[0], c.Hostname)
	}
}

// tagged finds the texts of name that begin with tag.
func (c *check) tagged(ctx context.Context, name, tag string) ([]string, error) {
	texts, err := c.r.TXT(ctx, name)
	texts = slices.DeleteFunc(slices.Clone(texts), func(t string) bool {
		return !strings.HasPrefix(strings.ToLower(t), strings.ToLower(tag))
	})
	return texts, err
}

func (c *check) spf(ctx context.Context) {
	texts, err := c.tagged(ctx, c.Name, "v=spf1")
	mend := fmt.Sprintf(`add to the zone: %s. TXT "v=spf1 mx -all"`, c.Name)
	switch {
	case c.unanswered("SPF", c.Name, err):
		return
	case len(texts) == 0:
		c.add("SPF", c.Name, "others cannot tell our mail from forged mail; large providers refuse it or put it into Junk", mend, "%s has no SPF record", c.Name)
		return
	case len(texts) > 1:
		c.add("SPF", c.Name, "SPF fails for all mail of "+c.Name, "keep one of them (RFC 7208 section 3.2)", "%s has %d SPF records", c.Name, len(texts))
		return
	}
	for _, a := range c.host {
		result, err := spf.CheckHostWithSender(a.AsSlice(), c.Hostname, "postmaster@"+c.Name, spf.WithContext(ctx), spf.WithResolver(c.r.Net()))
		if result != spf.Pass {
			c.add("SPF", c.Name, "mail that leaves by this address fails SPF, and is suspected or refused", "add mx, or ip4: and ip6: of the server, to the record", "the SPF record %q gives %s for our address %s (%v)", texts[0], result, a, err)
		}
	}
}

func (c *check) dkim(ctx context.Context) {
	if len(c.Keys) == 0 {
		c.warn("DKIM", c.Name, "large providers want a signature, and mail that is sent on by others fails DMARC without one", "mailsrvd dkim genkey "+c.Name, "no key signs the mail of %s", c.Name)
	}
	for i, k := range c.Keys {
		name := dkim.RecordName(c.Name, k.Selector)
		texts, err := c.r.TXT(ctx, name)
		if c.unanswered("DKIM", name, err) {
			continue
		}
		err = dkim.CompareRecord(texts, k.Key)
		switch {
		case k.State == dkim.Spent && err == nil:
			c.warn("DKIM", name, "nothing for mail of today; whoever has got hold of the old key can still sign with it", "remove the record "+name, "%s is of a key that no longer signs, and no mail under way needs it", name)
		case k.State == dkim.Spent || err == nil:
		case k.State == dkim.Waiting:
			c.warn("DKIM", name, "the old key signs until it is there", "add to the zone: "+dkim.ZoneLine(c.Name, k.Selector, k.Key), "%s: %v", name, err)
		default:
			c.add("DKIM", name, "our signatures do not verify: mail is suspected, and refused where SPF does not vouch for it", "add to the zone: "+dkim.ZoneLine(c.Name, k.Selector, k.Key), "%s: %v", name, err).Key = i
		}
	}
}

func (c *check) dmarc(ctx context.Context) {
	name := "_dmarc." + c.Name
	texts, err := c.tagged(ctx, name, "v=DMARC1")
	switch {
	case c.unanswered("DMARC", name, err):
	case len(texts) == 0:
		c.warn("DMARC", name, "large providers take mail of domains without one unwillingly, and others may forge it", fmt.Sprintf(`add to the zone: %s. TXT "v=DMARC1; p=quarantine; rua=mailto:%s@%s"`, name, c.Postmaster, c.Name), "%s has no DMARC record", c.Name)
	case len(texts) > 1:
		c.add("DMARC", name, "others act as if there were none", "keep one of them", "%s has %d DMARC records", name, len(texts))
	case dmarcPolicy(texts[0]) == "":
		c.add("DMARC", name, "others act as if there were none", "add p=none, p=quarantine or p=reject", "the DMARC record %q has no policy", texts[0])
	}
}

// dmarcPolicy is the p= of a record, "" if there is none that is known.
func dmarcPolicy(record string) string {
	for tag := range strings.SplitSeq(record, ";") {
		name, value, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(name) != "p" {
			continue
		}
		switch v := strings.ToLower(strings.TrimSpace(value)); v {
		case "none", "quarantine", "reject":
			return v
		}
	}
	return ""
}
