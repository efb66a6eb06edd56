package config

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

func (s *Inbound) check() Problems {
	if (s.DMARC == "quarantine" || s.DMARC == "reject") && (s.SPF == "off" || s.DKIM == "off") {
		return Problems{{Key: "inbound.dmarc", Text: "is " + s.DMARC + ", but SPF or DKIM is off: good mail would fail", Mend: "set spf and dkim to \"tag\", or dmarc to \"tag\""}}
	}
	return nil
}
