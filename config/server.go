package config

import (
	"path/filepath"
	"strings"
)

// Server is what stands above the first heading.
type Server struct {
	// Hostname is our name in greetings and headers, a full domain name.
	Hostname string
	// Domains are the local domains, in lower case; the first is used where a
	// name needs a domain.
	Domains []string
	// StateDir holds the queue and the caches, RunDir the sockets.
	StateDir, RunDir string
	// User is the system user as which a daemon started by root goes on; empty
	// to stay.
	User string
	// Postmaster is the account or address that gets the mail for postmaster.
	Postmaster string
}

func (s *Server) section() section {
	return section{doc: "The server as a whole.", keys: []key{
		{name: "hostname", example: `"smtp.svc.plus"`, value: lower(&s.Hostname, hostName),
			required: `add hostname = "mail.example.org", the name in the MX record and in the certificate`,
			doc:      "Our name in SMTP and IMAP greetings, in Received fields and in message names. It should be the name of the MX record, of the certificate, and of the address's reverse lookup (PTR)."},
		{name: "domains", example: `["svc.plus"]`, value: lowerAll(texts(&s.Domains, domainName), &s.Domains),
			required: `add domains = ["example.org"], the part after @ of the addresses that live here`,
			doc:      "The local domains. A message for any of them is delivered here; a login \"support@svc.plus\" is the user \"support\"."},
		{name: "postmaster", def: `"postmaster"`, example: `"support"`, value: lower(&s.Postmaster, notEmpty),
			doc: "The account or address that gets mail for postmaster, abuse and mailer-daemon when no alias says otherwise. Each domain must accept such mail (RFC 5321 section 4.5.1)."},
		{name: "state_dir", def: `"/var/lib/mailsrvd"`, value: file(&s.StateDir),
			doc: "Directory of the outbound queue and of the caches. The queue holds acknowledged mail: put it on a disk that survives."},
		{name: "run_dir", def: `"/run/mailsrvd"`, value: file(&s.RunDir),
			doc: "Directory of the sockets for mailsrvd's own commands (control, sendmail, lda)."},
		{name: "user", def: `"mailsrvd"`, value: text(&s.User),
			doc: "When root starts the daemon with the pam back end, it goes on as this system user and keeps three capabilities: to bind low ports and to work with each user's own rights. Under the supplied systemd unit this has happened already."},
	}}
}

// lowerAll puts the texts that v stores into lower case.
func lowerAll(v value, p *[]string) value {
	return value{v.kind, func(e env, x any) error {
		err := v.set(e, x)
		for i, s := range *p {
			(*p)[i] = strings.ToLower(s)
		}
		return err
	}}
}

func (s *Server) check() Problems {
	var ps Problems
	if s.Domains != nil && len(s.Domains) == 0 {
		ps = append(ps, Problem{Key: "domains", Text: "is empty: no mail could be delivered", Mend: `list at least one domain, as in ["example.org"]`})
	}
	return ps
}

// Domain is the first local domain.
func (s *Server) Domain() string {
	if len(s.Domains) == 0 {
		return s.Hostname
	}
	return s.Domains[0]
}

// QueueDir is the directory of the outbound queue.
func (s *Server) QueueDir() string { return filepath.Join(s.StateDir, "queue") }

// CacheDir is the directory of what may be deleted at any moment.
func (s *Server) CacheDir() string { return filepath.Join(s.StateDir, "cache") }

// Socket is the path of one of our own sockets: "control", "sendmail", "lda",
// "redirect".
func (s *Server) Socket(name string) string { return filepath.Join(s.RunDir, name+".sock") }
