package config

import "cmp"

// TLSReports is [tls_reports]: what we tell other domains (RFC 8460).
type TLSReports struct {
	// Send collects and sends.
	Send bool
	// Organization and Contact are empty for the hostname, and for postmaster at
	// the first domain.
	Organization, Contact string
}

func (s *TLSReports) section() section {
	return section{name: "tls_reports", doc: "Reports on TLS (RFC 8460): once a day each domain that asks for it hears how many connections to its mail exchangers were secured, and what kept others from it. Those that this server receives are mail like other mail.", keys: []key{
		{name: "send", def: `false`, value: boolean(&s.Send),
			doc: "Count and report. The counts of a day are kept in the directory tls-reports below state_dir. Reports by mail need a [[dkim]] key for the domain of contact."},
		{name: "organization", def: `""`, value: text(&s.Organization),
			doc: "Who sends the reports, in words; empty: hostname."},
		{name: "contact", def: `""`, value: lower(&s.Contact, optional(mailAddress)),
			doc: "The address that reports come from and that questions go to; empty: postmaster at the first of domains."},
	}}
}

// ReportOrganization and ReportContact name us in reports.
func (c *Config) ReportOrganization() string { return cmp.Or(c.TLSReports.Organization, c.Hostname) }

// ReportContact is an address.
func (c *Config) ReportContact() string {
	return cmp.Or(c.TLSReports.Contact, "postmaster@"+c.Domain())
}
