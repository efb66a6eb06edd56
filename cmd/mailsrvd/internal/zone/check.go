package zone

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/smtpd/relay/dane"
	"svc.plus/mailsrvd/smtpd/relay/mtasts"
	"svc.plus/mailsrvd/smtpd/relay/tlsrpt"
)

// Finding is one thing in the DNS that is not as it should be.
type Finding struct {
	// About is "MX", "address", "PTR", "SPF", "DKIM", "DMARC", "MTA-STS", "TLSA",
	// "TLS reports" or "SRV".
	About string `json:"about"`
	// Name is the name asked.
	Name string `json:"name"`
	// Key is the index of the DKIM key in question, -1 for none.
	Key     int    `json:"-"`
	Text    string `json:"text"`
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

func (c *check) add(about, name, mend, format string, args ...any) *Finding {
	c.findings = append(c.findings, Finding{About: about, Name: name, Key: -1, Text: fmt.Sprintf(format, args...), Mend: mend})
	return &c.findings[len(c.findings)-1]
}

func (c *check) warn(about, name, mend, format string, args ...any) {
	c.add(about, name, mend, format, args...).Warning = true
}

// unanswered reports a question that had no answer at all, and says whether it
// was that.
func (c *check) unanswered(about, name string, err error) bool {
	if err == nil || errors.Is(err, dns.ErrNotFound) || errors.Is(err, dns.ErrNullMX) {
		return false
	}
	c.warn(about, name, "ask again later; does the resolver work ([dns] resolver)?", "could not be looked up: %v", err)
	return true
}

func (c *check) mx(ctx context.Context) {
	mend := fmt.Sprintf("add to the zone: %s. MX 10 %s.", c.Name, c.Hostname)
	a, err := c.r.MX(ctx, c.Name)
	switch {
	case c.unanswered("MX", c.Name, err):
	case errors.Is(err, dns.ErrNullMX):
		c.add("MX", c.Name, mend+" in place of the null MX", "%s says that it takes no mail", c.Name)
	case err != nil:
		c.add("MX", c.Name, mend, "%s has no MX record", c.Name)
	case !slices.ContainsFunc(a.Records, func(m dns.MX) bool { return strings.EqualFold(m.Host, c.Hostname) }):
		c.add("MX", c.Name, mend, "the MX of %s is %s, not %s", c.Name, a.Records[0].Host, c.Hostname)
	}
}

func (c *check) addresses(ctx context.Context) {
	a, err := c.r.Addrs(ctx, c.Hostname)
	switch {
	case c.unanswered("address", c.Hostname, err):
		return
	case err != nil:
		c.add("address", c.Hostname, "add an A (and AAAA) record for "+c.Hostname, "%s has no address", c.Hostname)
		return
	}
	if a.Name != "" && !strings.EqualFold(a.Name, c.Hostname) {
		c.add("address", c.Hostname, "give it A and AAAA records of its own (RFC 5321 section 5.1)", "%s is an alias (CNAME) of %s; the host of an MX may not be one", c.Hostname, a.Name)
	}
	c.host = a.Records
	for _, have := range c.host {
		if len(c.Addresses) > 0 && !slices.Contains(c.Addresses, have) && sameFamily(c.Addresses, have) {
			c.warn("address", c.Hostname, "correct the record, unless NAT leads this address here", "%s has the address %s, which this machine has not", c.Hostname, have)
		}
		c.ptr(ctx, have)
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
		c.warn("PTR", a.String(), mend, "%s has no reverse record; many servers refuse mail from such addresses", a)
	case !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, c.Hostname) }):
		c.warn("PTR", a.String(), mend, "%s leads back to %s, not to %s", a, names[0], c.Hostname)
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
		c.add("SPF", c.Name, mend, "%s has no SPF record", c.Name)
		return
	case len(texts) > 1:
		c.add("SPF", c.Name, "keep one of them (RFC 7208 section 3.2)", "%s has %d SPF records, which is an error to all who ask", c.Name, len(texts))
		return
	}
	for _, a := range c.host {
		result, err := spf.CheckHostWithSender(a.AsSlice(), c.Hostname, "postmaster@"+c.Name, spf.WithContext(ctx), spf.WithResolver(c.r.Net()))
		if result != spf.Pass {
			c.add("SPF", c.Name, "add mx, or ip4: and ip6: of the server, to the record", "the SPF record %q gives %s for our address %s (%v)", texts[0], result, a, err)
		}
	}
}

func (c *check) dkim(ctx context.Context) {
	if len(c.Keys) == 0 {
		c.warn("DKIM", c.Name, "mailsrvd dkim genkey "+c.Name, "no key signs the mail of %s", c.Name)
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
			c.warn("DKIM", name, "remove the record "+name, "%s is of a key that no longer signs, and no mail under way needs it", name)
		case k.State == dkim.Spent || err == nil:
		case k.State == dkim.Waiting:
			c.warn("DKIM", name, "add to the zone: "+dkim.ZoneLine(c.Name, k.Selector, k.Key), "%s: %v; the old key signs until it is there", name, err)
		default:
			c.add("DKIM", name, "add to the zone: "+dkim.ZoneLine(c.Name, k.Selector, k.Key), "%s: %v", name, err).Key = i
		}
	}
}

func (c *check) dmarc(ctx context.Context) {
	name := "_dmarc." + c.Name
	texts, err := c.tagged(ctx, name, "v=DMARC1")
	switch {
	case c.unanswered("DMARC", name, err):
	case len(texts) == 0:
		c.warn("DMARC", name, fmt.Sprintf(`add to the zone: %s. TXT "v=DMARC1; p=quarantine; rua=mailto:%s@%s"`, name, c.Postmaster, c.Name), "%s has no DMARC record; large providers ask for one", c.Name)
	case len(texts) > 1:
		c.add("DMARC", name, "keep one of them", "%s has %d DMARC records, which counts as none", name, len(texts))
	case dmarcPolicy(texts[0]) == "":
		c.add("DMARC", name, "add p=none, p=quarantine or p=reject", "the DMARC record %q has no policy", texts[0])
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

// mtaSTS looks at the policy that the domain announces (RFC 8461): a wrong one
// keeps mail out.
func (c *check) mtaSTS(ctx context.Context) {
	name := "_mta-sts." + c.Name
	texts, err := c.tagged(ctx, name, "v=STSv1")
	if c.unanswered("MTA-STS", name, err) {
		return
	}
	if len(texts) == 0 {
		if c.HasPolicy {
			c.warn("MTA-STS", name, fmt.Sprintf(`add to the zone: %s. TXT "v=STSv1; id=%s;"`, name, c.Policy.ID()), "the policy of [mta_sts] is not announced, so nobody asks for it")
		}
		return
	}
	url := "https://mta-sts." + c.Name + "/.well-known/mta-sts.txt"
	text, err := c.fetch(ctx, url)
	if err != nil {
		c.add("MTA-STS", name, "publish the policy at "+url+", or remove the record", "is announced, but the policy cannot be read: %v", err)
		return
	}
	policy, err := mtasts.Parse(text)
	switch {
	case err != nil:
		c.add("MTA-STS", name, "correct the policy, or remove the record", "the policy at %s is unusable: %v", url, err)
		return
	case policy.Mode != mtasts.None && !policy.Lists(c.Hostname):
		c.add("MTA-STS", name, "add the line mx: "+c.Hostname+" to the policy", "the policy at %s does not allow %s; others refuse to deliver to it", url, c.Hostname)
		return
	case !c.HasPolicy:
		return
	case policy.String() != c.Policy.String():
		c.warn("MTA-STS", name, "let listen.https of this server serve it, or copy: "+strings.ReplaceAll(strings.TrimSpace(c.Policy.String()), "\r\n", " | "), "the policy at %s is not that of [mta_sts]", url)
	}
	if err := c.untrusted(); err != nil && policy.Mode != mtasts.None {
		report := c.warn
		if policy.Mode == mtasts.Enforce {
			report = func(about, name, mend, format string, args ...any) { c.add(about, name, mend, format, args...) }
		}
		report("MTA-STS", c.Hostname, "get a certificate of a public authority for "+c.Hostname, "others that follow the policy refuse the certificate of %s: %v", c.Hostname, err)
	}
	if id, _ := mtasts.RecordID(texts); id != c.Policy.ID() {
		c.warn("MTA-STS", name, "set it to id="+c.Policy.ID(), "the id %q is not that of the policy: others may keep an old one", id)
	}
}

// tlsReports looks for the record by which others report failures of TLS (RFC
// 8460): without it nobody hears of a policy that keeps mail out.
func (c *check) tlsReports(ctx context.Context) {
	if !c.HasPolicy {
		return
	}
	name := "_smtp._tls." + c.Name
	texts, err := c.r.TXT(ctx, name)
	if !c.unanswered("TLS reports", name, err) && len(tlsrpt.ParseRecord(texts)) == 0 {
		c.warn("TLS reports", name, fmt.Sprintf(`add to the zone: %s. TXT "v=TLSRPTv1; rua=mailto:%s@%s"`, name, c.Postmaster, c.Name), "%s does not say where others report failures of TLS to", c.Name)
	}
}

// untrusted is why others would not verify the certificate of this host; nil also
// if it is not known.
func (c *check) untrusted() error {
	if len(c.Served) == 0 {
		return nil
	}
	between := x509.NewCertPool()
	for _, cert := range c.Served[1:] {
		between.AddCert(cert)
	}
	_, err := c.Served[0].Verify(x509.VerifyOptions{DNSName: c.Hostname, Roots: c.Roots, Intermediates: between})
	return err
}

// tlsa compares the TLSA records of this host with its certificate: wrong ones
// keep mail out (RFC 7672).
func (c *check) tlsa(ctx context.Context) {
	name := "_25._tcp." + c.Hostname
	a, err := c.r.TLSA(ctx, 25, c.Hostname)
	if c.unanswered("TLSA", name, err) || len(c.Served) == 0 {
		return
	}
	if err := dane.Check(a.Records, c.Name, c.Hostname, c.Served); err != nil {
		c.add("TLSA", name, "replace them with what mailsrvd dns records --tlsa prints, or remove them", "the TLSA records keep out mail of those who follow DANE: %v", err)
	}
}
