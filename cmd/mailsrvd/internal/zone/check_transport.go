package zone

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"

	"svc.plus/mailsrvd/smtpd/relay/dane"
	"svc.plus/mailsrvd/smtpd/relay/mtasts"
	"svc.plus/mailsrvd/smtpd/relay/tlsrpt"
)

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
			c.warn("MTA-STS", name, "nobody asks for it, so that somebody in between can still keep mail from TLS", fmt.Sprintf(`add to the zone: %s. TXT "v=STSv1; id=%s;"`, name, c.Policy.ID()), "the policy of [mta_sts] is not announced")
		}
		return
	}
	url := "https://mta-sts." + c.Name + "/.well-known/mta-sts.txt"
	text, err := c.fetch(ctx, url)
	if err != nil {
		c.add("MTA-STS", name, "mail comes without it; who remembers an earlier policy goes by that", "publish the policy at "+url+", or remove the record", "is announced, but the policy cannot be read: %v", err)
		return
	}
	policy, err := mtasts.Parse(text)
	switch {
	case err != nil:
		c.add("MTA-STS", name, "mail comes without it; who remembers an earlier policy goes by that", "correct the policy, or remove the record", "the policy at %s is unusable: %v", url, err)
		return
	case policy.Mode != mtasts.None && !policy.Lists(c.Hostname):
		c.add("MTA-STS", name, "servers that follow the policy do not deliver here", "add the line mx: "+c.Hostname+" to the policy", "the policy at %s does not allow %s", url, c.Hostname)
		return
	case !c.HasPolicy:
		return
	case policy.String() != c.Policy.String():
		c.warn("MTA-STS", name, "others go by that one, not by the configuration", "let listen.https of this server serve it, or copy: "+strings.ReplaceAll(strings.TrimSpace(c.Policy.String()), "\r\n", " | "), "the policy at %s is not that of [mta_sts]", url)
	}
	if err := c.untrusted(); err != nil && policy.Mode != mtasts.None {
		report, means := c.warn, "mail still comes, and its senders report it; with the mode enforce it would not come"
		if policy.Mode == mtasts.Enforce {
			report = func(about, name, means, mend, format string, args ...any) {
				c.add(about, name, means, mend, format, args...)
			}
			means = "their mail waits, and goes back to its senders after some days"
		}
		report("MTA-STS", c.Hostname, means, "get a certificate of a public authority for "+c.Hostname, "others that follow the policy refuse the certificate of %s: %v", c.Hostname, err)
	}
	if id, _ := mtasts.RecordID(texts); id != c.Policy.ID() {
		c.warn("MTA-STS", name, "others do not ask for the policy again until the one they know has ended", "set it to id="+c.Policy.ID(), "the id %q is not that of the policy", id)
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
		c.warn("TLS reports", name, "nobody tells you when the policy or a certificate keeps mail out", fmt.Sprintf(`add to the zone: %s. TXT "v=TLSRPTv1; rua=mailto:%s@%s"`, name, c.Postmaster, c.Name), "%s does not say where others report failures of TLS to", c.Name)
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
		c.add("TLSA", name, "mail of servers that follow DANE waits, and goes back to its senders after some days", "replace them with what mailsrvd dns records --tlsa prints, or remove them", "the TLSA records do not fit the certificate: %v", err)
	}
}
