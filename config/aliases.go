package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// Aliases is [aliases]: addresses that lead elsewhere.
type Aliases struct {
	// File applies to all domains; empty for none.
	File string
	// AllowInclude lets aliases include other files.
	AllowInclude bool
	// PipePrograms are the programs that aliases may pipe mail into, PipeUser whom
	// they run as, and PipeTimeout how long each may take.
	PipePrograms []string
	PipeUser     string
	PipeTimeout  time.Duration
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
		{name: "pipe_programs", def: `[]`, value: texts(&s.PipePrograms, programPath),
			doc: "Programs that an alias may pipe mail into, by their whole paths: with [\"/usr/local/bin/ticket\"] here, an alias \"support: |/usr/local/bin/ticket --new\" runs that program for each message, without a shell, as pipe_user. It gets the message on its standard input, and SENDER, RECIPIENT, ORIGINAL_RECIPIENT, LOCAL, DOMAIN and EXTENSION in its environment; its exit code (sysexits.h) and the first line that it writes become the answer to the sender. The systemd unit lets programs run below /usr and /lib, and write nowhere but /tmp and /home."},
		{name: "pipe_user", def: `"nobody"`, value: text(&s.PipeUser),
			doc: "The system user that these programs run as, with no group and no right beside its own. Never root, nor the daemon's user."},
		{name: "pipe_timeout", def: `"1m"`, value: duration(&s.PipeTimeout, time.Second, 2*time.Minute),
			doc: "How long one run may take, while the sender's server waits. Then the program is killed, with all that it has started, and the mail comes again later."},
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

func programPath(s string) error {
	if !filepath.IsAbs(s) || filepath.Clean(s) != s {
		return faultf(`write it as in "/usr/local/bin/ticket"`, "%q is not the whole path of a program", s)
	}
	return nil
}

func (s *Aliases) check(domains []string, user string) Problems {
	var ps Problems
	if len(s.PipePrograms) > 0 && (s.PipeUser == "" || s.PipeUser == "root" || s.PipeUser == user) {
		ps = append(ps, Problem{Key: "aliases.pipe_user", Text: fmt.Sprintf("programs must not run as %q: they would have more than their own rights", s.PipeUser), Mend: "name a system user that owns nothing, such as nobody"})
	}
	for i, d := range s.Domain {
		if d.Domain != "" && !slices.Contains(domains, d.Domain) {
			ps = append(ps, Problem{Key: fmt.Sprintf("aliases.domain[%d].domain", i), Text: d.Domain + " is not one of domains", Mend: "add it to domains at the top"})
		}
	}
	return ps
}
