// Package zone knows the DNS records that a mail domain needs: it writes the
// lines to paste into the zone, and compares the zone with them.
package zone

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/smtpd/relay/mtasts"
)

// Domain is what the records depend on.
type Domain struct {
	// Name is the mail domain, Hostname this server.
	Name, Hostname string
	// Addresses are the server's public addresses, as far as it knows them.
	Addresses []netip.Addr
	// Postmaster gets the DMARC reports.
	Postmaster string
	// Keys are the DKIM keys of the domain.
	Keys []Key
	// Policy is our MTA-STS policy, if HasPolicy.
	Policy    mtasts.Policy
	HasPolicy bool
	// Ports of the services for clients; 0 is off.
	Submission, Submissions, IMAP, IMAPS, ManageSieve int
	// HTTPS is the port of the settings for mail programs; 0 is off.
	HTTPS int
	// Certificate is that of the MX listener, for a TLSA record; nil for none.
	Certificate *x509.Certificate
	// Served is the chain that the MX listener shows, its own certificate first;
	// nil if that is not known. Roots verify it for others; nil means the
	// system's.
	Served []*x509.Certificate
	Roots  *x509.CertPool
}

// Key is one DKIM key.
type Key struct {
	Selector string
	Key      *dkim.Key
	// State is empty for a key of which nothing else is known: it signs.
	State dkim.KeyState
}

// Record is one line of a zone.
type Record struct {
	// Name is absolute, without the final dot.
	Name string `json:"name"`
	Type string `json:"type"`
	// Value is in the form of a zone file; names in it end in a dot.
	Value string `json:"value"`
	// About says what the record is for.
	About string `json:"about"`
}

// String is the line of a zone file.
func (r Record) String() string {
	return fmt.Sprintf("%s.\t%d\tIN\t%s\t%s", r.Name, ttl, r.Type, r.Value)
}

// Records are the records of d, in the order in which one would explain them.
func (d Domain) Records() []Record {
	records := []Record{{d.Name, "MX", "10 " + d.Hostname + ".", "the server that takes mail for " + d.Name}}
	for _, a := range d.Addresses {
		typ := "AAAA"
		if a.Is4() {
			typ = "A"
		}
		records = append(records, Record{d.Hostname, typ, a.String(), "its address; the provider must point the address back to this name (PTR)"})
	}
	records = append(records, Record{d.Name, "TXT", `"v=spf1 mx -all"`, "SPF: mail of this domain comes from its MX alone"})
	for _, k := range d.Keys {
		if k.State == dkim.Spent {
			continue
		}
		records = append(records, Record{dkim.RecordName(d.Name, k.Selector), "TXT", quoted(dkim.Record(k.Key)), "DKIM: the public half of the signing key"})
	}
	records = append(records, Record{"_dmarc." + d.Name, "TXT",
		fmt.Sprintf(`"v=DMARC1; p=quarantine; rua=mailto:%s@%s"`, d.Postmaster, d.Name), "DMARC: what others do with mail that is neither; reports go to " + d.Postmaster})
	records = append(records, d.transport()...)
	records = append(records, d.services()...)
	if d.Certificate != nil {
		records = append(records, Record{"_25._tcp." + d.Hostname, "TLSA", fmt.Sprintf("3 1 1 %x", sha256.Sum256(d.Certificate.RawSubjectPublicKeyInfo)),
			"DANE (RFC 7672): the key of our certificate; of use in a zone signed by DNSSEC, and to be changed before the key is"})
	}
	return records
}

// transport are the records on TLS between servers. Only a domain whose policy
// is announced is told how it fares.
func (d Domain) transport() []Record {
	if !d.HasPolicy {
		return nil
	}
	return []Record{
		{"mta-sts." + d.Name, "CNAME", d.Hostname + ".", "where others get the MTA-STS policy, by HTTPS"},
		{"_mta-sts." + d.Name, "TXT", `"v=STSv1; id=` + d.Policy.ID() + `;"`, "MTA-STS: there is a policy; the id changes with it"},
		{"_smtp._tls." + d.Name, "TXT", fmt.Sprintf(`"v=TLSRPTv1; rua=mailto:%s@%s"`, d.Postmaster, d.Name), "TLS reports of other servers go to " + d.Postmaster},
	}
}

// services are the SRV records by which mail programs find us.
func (d Domain) services() []Record {
	var records []Record
	for _, s := range d.clientServices() {
		if s.port > 0 {
			records = append(records, Record{s.record(d.Name), "SRV", fmt.Sprintf("%d 1 %d %s.", s.priority, s.port, d.Hostname), "where mail programs find the server"})
		}
	}
	if d.HTTPS == 0 {
		return records
	}
	if d.HTTPS == 443 { // the port of whoever asks by these names
		for _, name := range []string{"autoconfig.", "autodiscover."} {
			records = append(records, Record{name + d.Name, "CNAME", d.Hostname + ".", "where mail programs ask for their settings; the certificate must cover it"})
		}
	}
	return append(records, Record{"_autodiscover._tcp." + d.Name, "SRV", fmt.Sprintf("0 1 %d %s.", d.HTTPS, d.Hostname), "where Outlook asks for its settings"})
}

// quoted cuts text into the strings of a TXT record, at most 255 bytes each.
func quoted(text string) string {
	var parts []string
	for len(text) > 255 {
		parts = append(parts, `"`+text[:255]+`"`)
		text = text[255:]
	}
	return strings.Join(append(parts, `"`+text+`"`), " ")
}

// PublicAddresses are the addresses of this host's interfaces that the Internet
// can reach. Behind NAT there are none.
func PublicAddresses() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var public []netip.Addr
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if ip := p.Addr().Unmap(); ip.IsGlobalUnicast() && !ip.IsPrivate() && !sharedNAT.Contains(ip) {
			public = append(public, ip)
		}
	}
	return public
}

// sharedNAT is the space of carriers' NAT (RFC 6598).
var sharedNAT = netip.MustParsePrefix("100.64.0.0/10")
