package config

import "cmp"

// DMARCReports is [dmarc_reports]: what we tell other domains (RFC 7489 section
// 7.2).
type DMARCReports struct {
	// Send collects and sends.
	Send bool
	// Organization and Contact are empty for the hostname, and for postmaster at
	// the first domain.
	Organization, Contact string
}

func (s *DMARCReports) section() section {
	return section{name: "dmarc_reports", doc: "Aggregate reports on DMARC (RFC 7489): once a day each domain that asks for it by rua= in its record hears how much mail with its name came from where, and what the checks made of it. Those that this server receives are mail like other mail; mailsrvd reports reads them.", keys: []key{
		{name: "send", def: `false`, value: boolean(&s.Send),
			doc: "Count and report. The counts of a day are kept in the directory dmarc-reports below state_dir. Reports need a [[dkim]] key for the domain of contact."},
		{name: "organization", def: `""`, value: text(&s.Organization),
			doc: "Who sends the reports, in words; empty: hostname."},
		{name: "contact", def: `""`, value: lower(&s.Contact, optional(mailAddress)),
			doc: "The address that reports come from and that questions go to; empty: postmaster at the first of domains."},
	}}
}

// DMARCOrganization and DMARCContact name us in reports.
func (c *Config) DMARCOrganization() string {
	return cmp.Or(c.DMARC.Organization, c.Hostname)
}

// DMARCContact is an address.
func (c *Config) DMARCContact() string {
	return cmp.Or(c.DMARC.Contact, "postmaster@"+c.Domain())
}
