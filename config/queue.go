package config

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Queue is [queue]: the outbound spool.
type Queue struct {
	MaxAge, RetryMin, RetryMax time.Duration
	// DelayWarning is 0 when no warning is sent.
	DelayWarning time.Duration
}

func (s *Queue) section() section {
	const minute = time.Minute
	return section{name: "queue", doc: "Mail that waits for another server. The queue has no limit but the disk.", keys: []key{
		{name: "max_age", def: `"5d"`, value: duration(&s.MaxAge, minute, forever),
			doc: "After this time undelivered mail is returned to its sender (RFC 5321 section 4.5.4.1 advises 4 to 5 days)."},
		{name: "retry_min", def: `"1m"`, value: duration(&s.RetryMin, time.Second, forever),
			doc: "The wait after the first failed attempt; each further wait is twice as long."},
		{name: "retry_max", def: `"2h"`, value: duration(&s.RetryMax, time.Second, forever),
			doc: "The longest wait between two attempts."},
		{name: "delay_warning", def: `"4h"`, value: duration(&s.DelayWarning, 0, forever),
			doc: "After this time the sender is told once that the message still waits; \"0\" for never."},
	}}
}

func (s *Queue) check() Problems {
	var ps Problems
	if s.RetryMax < s.RetryMin {
		ps = append(ps, Problem{Key: "queue.retry_max", Text: fmt.Sprintf("%s is shorter than retry_min, %s", FormatDuration(s.RetryMax), FormatDuration(s.RetryMin)),
			Mend: "raise retry_max or lower retry_min"})
	}
	if s.MaxAge < s.RetryMin {
		ps = append(ps, Problem{Key: "queue.max_age", Text: fmt.Sprintf("%s is shorter than retry_min, %s: mail would have one attempt", FormatDuration(s.MaxAge), FormatDuration(s.RetryMin)),
			Mend: "raise max_age"})
	}
	return ps
}

// Relay is [relay]: how mail leaves.
type Relay struct {
	// Smarthost gets all remote mail, "host:port"; empty for the MX of each
	// domain.
	Smarthost string
	// User and PasswordFile log in there.
	User, PasswordFile string
	// TLS is "opportunistic", "required" or "none".
	TLS string
	// Hold keeps all remote mail in the queue.
	Hold bool
	// MTASTS follows the TLS policies that domains publish (RFC 8461).
	MTASTS bool
	// DANE follows TLSA records (RFC 7672).
	DANE bool
	// ARCSeal seals what is forwarded (RFC 8617).
	ARCSeal bool
	// SRS rewrites the senders of what is forwarded.
	SRS bool
	// Source are addresses to connect from.
	Source []netip.Addr
	// Rate is that of each destination: a domain, or the smarthost.
	Rate Rate
	// Route are the ways of single domains.
	Route []Route
}

// Route is [[relay.route]]: another way for some domains.
type Route struct {
	// Domains are names, or ".name" for all below it.
	Domains []string
	// Host is "host:port"; empty for the MX, with TLS as demanded here.
	Host               string
	User, PasswordFile string
	TLS                string
	// Rate is that of all its domains together; zero is that of Relay.
	Rate Rate
}

func (s *Relay) routeSection() section {
	return section{name: "relay.route", doc: "Another way for mail to some domains than the smarthost or the MX records; also what is demanded of TLS with them.",
		each: func() ([]key, func()) {
			r := &Route{}
			return []key{
				{name: "domains", example: `["example.net", ".example.net"]`, value: lowerAll(texts(&r.Domains, routeDomain), &r.Domains), required: "list the domains",
					doc: "The domains; with a dot in front, all domains below it."},
				{name: "host", def: `""`, example: `"relay.example.net:25"`, value: text(&r.Host, optional(remoteHostPort)),
					doc: "\"host:port\" that gets the mail; empty: the MX records are asked, and tls counts for them."},
				{name: "user", def: `""`, value: text(&r.User), doc: "The name to log in with."},
				{name: "password_file", def: `""`, value: file(&r.PasswordFile), doc: "File whose first line is the password."},
				{name: "tls", def: `"opportunistic"`, value: choice(&r.TLS, "opportunistic", "required", "none"),
					doc: "As in [relay]. \"required\" for the MX records asks for TLS, and for a certificate only if the domain's own policy does."},
				{name: "rate", def: `""`, example: `"100/minute"`, value: rate(&r.Rate),
					doc: "As in [relay], for all domains of this route together; empty: that of [relay]."},
			}, func() { s.Route = append(s.Route, *r) }
		}}
}

func routeDomain(s string) error { return domainName(strings.TrimPrefix(s, ".")) }

// checkRoutes finds domains that two routes want, and passwords without use.
func (s *Relay) checkRoutes() Problems {
	var ps Problems
	seen := map[string]bool{}
	for i, r := range s.Route {
		add := func(key, text, mend string) {
			ps = append(ps, Problem{Key: fmt.Sprintf("relay.route[%d].%s", i, key), Text: text, Mend: mend})
		}
		for _, d := range r.Domains {
			if seen[d] {
				add("domains", d+" has another route already", "remove one of the two")
			}
			seen[d] = true
		}
		switch {
		case r.User != "" && r.Host == "":
			add("user", "is set, but there is no host to log in at", "set host or remove user")
		case r.User != "" && r.PasswordFile == "":
			add("password_file", "is missing, but user is set", "name a file with the password")
		case r.User != "" && r.TLS == "none":
			add("tls", "is \"none\", and the password is never sent in clear", "use \"required\"")
		case r.Host == "" && r.TLS == "none":
			add("tls", "is \"none\", but there is no host; other servers get TLS if they offer it", "name a host, or use another value")
		}
	}
	return ps
}

// sourceAddresses are at most one of each family.
func sourceAddresses(p *[]netip.Addr) value {
	var list []string
	t := texts(&list)
	return value{"address or list of addresses", func(e env, v any) error {
		if err := t.set(e, v); err != nil {
			return err
		}
		var out []netip.Addr
		for _, s := range list {
			a, err := netip.ParseAddr(s)
			if err != nil || a.Zone() != "" {
				return faultf(`write it as in "192.0.2.1"`, "%q is no IP address", s)
			}
			for _, b := range out {
				if a.Is4() == b.Is4() {
					return faultf("keep one of them", "%s and %s are of one family", b, a)
				}
			}
			out = append(out, a)
		}
		*p = out
		return nil
	}}
}

func (s *Relay) section() section {
	return section{name: "relay", doc: "How mail for other domains leaves.", keys: []key{
		{name: "smarthost", def: `""`, value: text(&s.Smarthost, optional(remoteHostPort)),
			doc: "\"host:port\" that gets all remote mail; empty: the MX records of each domain are asked."},
		{name: "user", def: `""`, value: text(&s.User),
			doc: "The name to log in with at the smarthost; empty: no login."},
		{name: "password_file", def: `""`, value: file(&s.PasswordFile),
			doc: "File whose first line is the password, readable by the daemon only. Read again on reload."},
		{name: "tls", def: `"opportunistic"`, value: choice(&s.TLS, "opportunistic", "required", "none"),
			doc: "\"opportunistic\": TLS where the other side offers it, its certificate unchecked. \"required\": only with TLS, and with a smarthost only with a valid certificate. \"none\": never, for a smarthost in one's own network. A login is sent over TLS to a host with a valid certificate only, whatever this says."},
		{name: "hold", def: `false`, value: boolean(&s.Hold),
			doc: "Contact no other server: mail for other domains is taken and stays in the queue, held. When this is false again, mailsrvd queue release --held lets it go. For trials, and for the hours of a migration."},
		{name: "mta_sts", def: `true`, value: boolean(&s.MTASTS),
			doc: "Follow the policies that domains publish by MTA-STS (RFC 8461): where one says \"enforce\", mail goes only to the listed mail exchangers, over TLS with a valid certificate. They are kept in the directory mta-sts below state_dir. A smarthost gets its mail as tls says."},
		{name: "dane", def: `true`, value: boolean(&s.DANE),
			doc: "Verify mail exchangers by their TLSA records (DANE, RFC 7672), ahead of mta_sts. Takes effect only with a resolver on this host (a loopback address) that validates DNSSEC, since nothing vouches for the answers of any other."},
		{name: "srs", def: `true`, value: boolean(&s.SRS),
			doc: "Rewrite the sender of mail from elsewhere that an alias or a user's filter sends on (SRS): SPF passes at the next server, and bounces come back here and go on to the true sender, for three weeks. The secret is the file srs-secret below state_dir."},
		{name: "source", def: `""`, example: `["192.0.2.1", "2001:db8::1"]`, value: sourceAddresses(&s.Source),
			doc: "Our addresses to connect from, one of IPv4 and one of IPv6 at most; empty: the kernel chooses."},
		{name: "rate", def: `""`, example: `"100/minute"`, value: rate(&s.Rate),
			doc: "At most so many messages in any such time to each destination, which is a domain, or the smarthost with all its mail; empty: no bound. A number, and second, minute, hour, day or a time such as \"10m\". A message counts once, however many recipients it has there. What is over waits in the queue, without an attempt and without delay for other destinations. Counted anew after a restart."},
		{name: "arc_seal", def: `true`, value: boolean(&s.ARCSeal),
			doc: "Seal mail from other servers that an alias sends on (ARC, RFC 8617), so that the next server can learn what SPF, DKIM and DMARC said here. It needs an RSA [[dkim]] key of one of domains."},
	}}
}

func (s *Relay) check() Problems {
	ps := s.checkRoutes()
	add := func(key, text, mend string) {
		ps = append(ps, Problem{Key: "relay." + key, Text: text, Mend: mend})
	}
	switch {
	case s.User != "" && s.Smarthost == "":
		add("user", "is set, but there is no smarthost to log in at", "set relay.smarthost or remove user")
	case s.User != "" && s.PasswordFile == "":
		add("password_file", "is missing, but user is set", "name a file with the password")
	case s.Smarthost == "" && s.TLS == "none":
		add("tls", "is \"none\", but there is no smarthost; other servers get TLS if they offer it", "use \"opportunistic\"")
	case s.User != "" && s.TLS == "none":
		add("tls", "is \"none\", and the password is never sent in clear", "use \"required\"")
	}
	return ps
}

// Password reads the password for the smarthost; empty when none is set.
func (s *Relay) Password() (string, error) { return password(s.PasswordFile) }

// Password is that for the host of the route.
func (r Route) Password() (string, error) { return password(r.PasswordFile) }

func password(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the smarthost's password: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimRight(line, "\r"), nil
}

// DNS is [dns].
type DNS struct {
	// Resolver is "host:port"; empty for the system's.
	Resolver string
}

func (s *DNS) section() section {
	return section{name: "dns", doc: "Name resolution.", keys: []key{
		{name: "resolver", def: `""`, value: text(&s.Resolver, optional(remoteHostPort)),
			doc: "\"host:port\" of the resolver, as in \"127.0.0.1:53\"; empty: those of /etc/resolv.conf. Outgoing mail takes a change over on reload, all else after a restart."},
	}}
}
