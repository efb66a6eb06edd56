package config

import (
	"fmt"
	"slices"
)

// Aliases is [aliases]: addresses that lead elsewhere.
type Aliases struct {
	// File applies to all domains; empty for none.
	File string
	// AllowInclude lets aliases include other files.
	AllowInclude bool
	// Domain holds the files that apply to one domain each.
	Domain []DomainAliases
}

// DomainAliases is one [[aliases.domain]].
type DomainAliases struct{ Domain, File string }

func (s *Aliases) section() section {
	return section{name: "aliases", doc: "Addresses that lead to other addresses. Read again on reload.", keys: []key{
		{name: "file", def: `"/etc/aliases"`, value: file(&s.File),
			doc: "In the form of /etc/aliases, for all local domains: \"name: user, other@example.org\". A default file that does not exist is no error; \"\" for none."},
		{name: "allow_include", def: `false`, value: boolean(&s.AllowInclude),
			doc: "Allow \":include:/path\", which reads further addresses from that file as the daemon."},
	}}
}

func (s *Aliases) domainSection() section {
	return section{name: "aliases.domain", doc: "Aliases of one domain, asked before the common file. A line \"*: user\" catches every address of the domain that nobody else has.",
		each: func() ([]key, func()) {
			d := &DomainAliases{}
			return []key{
				{name: "domain", example: `"svc.plus"`, value: lower(&d.Domain, domainName), required: "add the domain", doc: "One of domains."},
				{name: "file", example: `"/etc/mailsrvd/aliases.svc.plus"`, value: file(&d.File), required: "add the path of the file", doc: "In the form of /etc/aliases."},
			}, func() { s.Domain = append(s.Domain, *d) }
		}}
}

func (s *Aliases) check(domains []string) Problems {
	var ps Problems
	for i, d := range s.Domain {
		if d.Domain != "" && !slices.Contains(domains, d.Domain) {
			ps = append(ps, Problem{Key: fmt.Sprintf("aliases.domain[%d].domain", i), Text: d.Domain + " is not one of domains", Mend: "add it to domains at the top"})
		}
	}
	return ps
}
