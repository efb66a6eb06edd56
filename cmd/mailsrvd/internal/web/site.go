// Package web has the HTTP pages of the server: those that mail programs ask
// for their settings, and the status page of the administrator.
package web

import (
	"net/http"
	"slices"
	"strings"
)

// Site is what the public pages say: nothing about it is secret, and nothing
// depends on which accounts there are.
type Site struct {
	// Hostname is where mail programs connect.
	Hostname string
	// Domains are the mail domains, in lower case.
	Domains []string
	// Ports of the services; 0 is off.
	Submission, Submissions, IMAP, IMAPS int
	// Policy is the MTA-STS policy of a domain (RFC 8461 section 3.2), "" for
	// none. It may be nil.
	Policy func(domain string) string
	// Proof answers an ACME server's http-01 questions; nil for none.
	Proof http.Handler
}

// Handler serves the site. The domain in question is that of the address that
// is asked about, else that of the host name: autoconfig.example.org,
// autodiscover.example.org and example.org are all about example.org.
func (s *Site) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /mail/config-v1.1.xml", s.autoconfig)
	mux.HandleFunc("GET /.well-known/autoconfig/mail/config-v1.1.xml", s.autoconfig)
	for _, path := range []string{"/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml", "/AutoDiscover/AutoDiscover.xml"} {
		mux.HandleFunc("POST "+path, s.autodiscover)
	}
	mux.HandleFunc("GET /autodiscover/autodiscover.json", s.autodiscoverJSON)
	mux.HandleFunc("GET /apple.mobileconfig", s.apple)
	mux.HandleFunc("GET /.well-known/mta-sts.txt", s.policy)
	if s.Proof != nil {
		mux.Handle("GET /.well-known/acme-challenge/", s.Proof)
	}
	mux.HandleFunc("GET /{$}", s.home)
	return mux
}

// domain is the domain that a request is about, "" if it is none of ours.
func (s *Site) domain(r *http.Request, address string) string {
	name := r.Host
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		name = name[:i]
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, after, ok := strings.Cut(address, "@"); ok {
		name = strings.ToLower(after)
	}
	for _, prefix := range []string{"autoconfig.", "autodiscover.", "mta-sts."} {
		if rest, ok := strings.CutPrefix(name, prefix); ok && slices.Contains(s.Domains, rest) {
			return rest
		}
	}
	switch {
	case slices.Contains(s.Domains, name):
		return name
	case name == s.Hostname && len(s.Domains) > 0:
		return s.Domains[0]
	}
	return ""
}

// service is one of those that a mail program needs.
type service struct {
	// Type is "imap" or "smtp".
	Type string
	Port int
	// TLS means from the first byte; otherwise STARTTLS.
	TLS bool
}

// services are those that are on, the best of each type first.
func (s *Site) services() []service {
	return slices.DeleteFunc([]service{
		{"imap", s.IMAPS, true}, {"imap", s.IMAP, false},
		{"smtp", s.Submissions, true}, {"smtp", s.Submission, false},
	}, func(v service) bool { return v.Port == 0 })
}

// best is the first service of the type.
func (s *Site) best(typ string) (service, bool) {
	all := s.services()
	i := slices.IndexFunc(all, func(v service) bool { return v.Type == typ })
	if i < 0 {
		return service{}, false
	}
	return all[i], true
}

// policy serves the MTA-STS policy (RFC 8461 section 3.3).
func (s *Site) policy(w http.ResponseWriter, r *http.Request) {
	text := ""
	if domain := s.domain(r, ""); domain != "" && s.Policy != nil {
		text = s.Policy(domain)
	}
	if text == "" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte(text))
}
