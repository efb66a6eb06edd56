package config

import (
	"fmt"
	"time"
)

// Inbound is [inbound]: how mail from strangers is judged.
type Inbound struct {
	// SPF and DKIM are "tag" or "off"; DMARC may also be "quarantine" or
	// "reject".
	SPF, DKIM, DMARC string
	// ARC is "tag" or "off"; TrustedSealers are domains.
	ARC            string
	TrustedSealers []string
	// AuthservID is empty for the hostname.
	AuthservID string
	// Filter holds the content filters in the order in which they are asked.
	Filter []Filter
}

// Filter is one [[inbound.filter]].
type Filter struct {
	Name, Protocol, Address string
	Timeout                 time.Duration
	// MaxSize is in bytes; 0 for no limit.
	MaxSize int64
	// OnFailure is "accept" or "defer".
	OnFailure string
	// Submission is for mail of our own users too, LMTP for what comes by LMTP.
	Submission, LMTP bool
}

func (s *Inbound) section() section {
	return section{name: "inbound", doc: "How mail that other servers bring is judged. The results stand in the field Authentication-Results and in the log.", keys: []key{
		{name: "spf", def: `"tag"`, value: choice(&s.SPF, "tag", "off"),
			doc: "SPF (RFC 7208): may the client send for the sender's domain? \"tag\": tell the result; \"off\": do not ask."},
		{name: "dkim", def: `"tag"`, value: choice(&s.DKIM, "tag", "off"),
			doc: "DKIM (RFC 6376): which domains have signed the message? At most eight signatures are looked at."},
		{name: "dmarc", def: `"tag"`, value: choice(&s.DMARC, "tag", "quarantine", "reject", "off"),
			doc: "DMARC (RFC 7489): does one of the two speak for the author's domain, and what does that domain want if not? \"quarantine\": such mail goes to the user's Junk folder, and so does mail without exactly one author. \"reject\": it is refused where the domain asks for that. Mail is never held back because DNS fails."},
		{name: "arc", def: `"tag"`, value: choice(&s.ARC, "tag", "off"),
			doc: "ARC (RFC 8617): do those who handed the message on vouch for what they got? \"tag\": tell the result; \"off\": do not look."},
		{name: "arc_trusted", def: `""`, example: `["lists.example.org"]`, value: lowerAll(texts(&s.TrustedSealers, domainName), &s.TrustedSealers),
			doc: "Domains (d= of the ARC seal) that are believed: mail that fails DMARC here is spared when a chain of none but these says that DMARC passed where it began. Name lists and forwarders that you know to check what they take."},
		{name: "authserv_id", def: `""`, value: lower(&s.AuthservID, optional(domainName)),
			doc: "The name of this server in Authentication-Results; empty: hostname. Fields of others with this name are removed."},
	}}
}

func (s *Inbound) filterSection() section {
	return section{name: "inbound.filter", doc: "A program that judges content: a milter (opendkim, clamav-milter, rspamd's proxy) or rspamd itself. Filters are asked in their order; what one refuses is refused, what it quarantines or marks by X-Spam: Yes goes to the Junk folder, fields that it adds or changes stay. Changes take effect after a restart.",
		each: func() ([]key, func()) {
			f := &Filter{}
			return []key{
				{name: "name", example: `"rspamd"`, value: text(&f.Name, shortName), required: "add a short name",
					doc: "The name in logs and metrics."},
				{name: "protocol", def: `"milter"`, value: choice(&f.Protocol, "milter", "rspamd"),
					doc: "\"milter\", or \"rspamd\" for the HTTP protocol of its normal worker (port 11333)."},
				{name: "address", example: `"127.0.0.1:11333"`, value: text(&f.Address, notEmpty), required: "add host:port or the path of a socket",
					doc: "\"host:port\" or the path of a UNIX socket; for rspamd also a URL."},
				{name: "timeout", def: `"30s"`, value: duration(&f.Timeout, time.Second, 5*time.Minute),
					doc: "How long it may take for one message."},
				{name: "max_size", def: `"0B"`, value: size(&f.MaxSize, 0),
					doc: "Longer messages are not shown to it; \"0B\" for no limit. ClamAV's own limit is 25 MiB (StreamMaxLength)."},
				{name: "on_failure", def: `"defer"`, value: choice(&f.OnFailure, "accept", "defer"),
					doc: "What becomes of mail while the filter does not answer. \"defer\": 451, the sender tries again. \"accept\": it passes unfiltered."},
				{name: "submission", def: `false`, value: boolean(&f.Submission),
					doc: "Show it also what users submit, before it is signed."},
				{name: "lmtp", def: `false`, value: boolean(&f.LMTP),
					doc: "Show it also what comes by LMTP. The server before us has accepted that mail, and usually filtered it: what is refused here, that server must return to the sender."},
			}, func() { s.Filter = append(s.Filter, *f) }
		}}
}

func (s *Inbound) check() Problems {
	seen := map[string]bool{}
	for i, f := range s.Filter {
		if seen[f.Name] {
			return Problems{{Key: fmt.Sprintf("inbound.filter[%d].name", i), Text: f.Name + " is the name of two filters", Mend: "give each filter its own name"}}
		}
		seen[f.Name] = true
	}
	if (s.DMARC == "quarantine" || s.DMARC == "reject") && (s.SPF == "off" || s.DKIM == "off") {
		return Problems{{Key: "inbound.dmarc", Text: "is " + s.DMARC + ", but SPF or DKIM is off: good mail would fail", Mend: "set spf and dkim to \"tag\", or dmarc to \"tag\""}}
	}
	return nil
}
