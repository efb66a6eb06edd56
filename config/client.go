package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Client is [inbound.client]: what a stranger has to be like.
type Client struct {
	// IPRev is "tag" or "reject"; HELO may also be "off".
	IPRev, HELO string
	GreetDelay  time.Duration
	// JunkScore and RejectScore are 0 for never.
	JunkScore, RejectScore int
	// DNSBL holds [[inbound.dnsbl]].
	DNSBL []DNSBL
	// Greylist is [inbound.greylist].
	Greylist Greylist
}

// DNSBL is one [[inbound.dnsbl]].
type DNSBL struct {
	Zone  string
	Score int
	Codes map[netip.Addr]int
}

// Greylist is [inbound.greylist].
type Greylist struct {
	On          bool
	Delay       time.Duration
	PassNets    []netip.Prefix
	PassDomains []string
}

func (s *Client) section() section {
	return section{name: "inbound.client", doc: "What other servers have to be like that bring mail. Networks of [limits] trusted are exempt from all of it, and so is mail to postmaster. Changes take effect after a restart.", keys: []key{
		{name: "iprev", def: `"tag"`, value: choice(&s.IPRev, "tag", "reject"),
			doc: "Does the client's address have a name that leads back to it? \"tag\": tell the result; \"reject\": refuse (550 5.7.25) those that have none. Failing DNS refuses nobody."},
		{name: "helo", def: `"tag"`, value: choice(&s.HELO, "off", "tag", "reject"),
			doc: "Does the client greet with a full host name that the DNS knows and that is not ours, or with its own address in brackets? \"tag\": tell the result in the log; \"reject\": refuse others."},
		{name: "greet_delay", def: `"0s"`, value: duration(&s.GreetDelay, 0, time.Minute),
			doc: "How long a client waits for our greeting. One that talks before is refused. A few seconds keep away simple programs that send spam."},
		{name: "dnsbl_junk", def: `0`, value: integer(&s.JunkScore, 0, 1000),
			doc: "Sum of the scores of [[inbound.dnsbl]] from which on mail goes to the Junk folder; 0 for never."},
		{name: "dnsbl_reject", def: `0`, value: integer(&s.RejectScore, 0, 1000),
			doc: "The same for refusing it with 554; 0 for never."},
	}}
}

func (s *Client) listSection() section {
	return section{name: "inbound.dnsbl", doc: "A DNS list of addresses (RFC 5782) that is asked about each client. All are asked at once, for five seconds at most; one that does not answer counts nothing. Many lists refuse questions that come by a public resolver: use one of your own.",
		each: func() ([]key, func()) {
			l := &DNSBL{}
			return []key{
				{name: "zone", example: `"zen.spamhaus.org"`, value: lower(&l.Zone, domainName), required: "add the zone of the list",
					doc: "The zone of the list."},
				{name: "score", def: `1`, value: integer(&l.Score, -1000, 1000),
					doc: "What a listed address gets; less than 0 for lists of good addresses."},
				{name: "codes", example: `["127.0.0.2=5", "127.0.0.10=2"]`, value: scores(&l.Codes),
					doc: "Scores for single answers of the list; others count nothing then."},
			}, func() { s.DNSBL = append(s.DNSBL, *l) }
		}}
}

func (s *Client) greySection() section {
	g := &s.Greylist
	return section{name: "inbound.greylist", doc: "Putting strangers off: the first message from a network (IPv4: /24, IPv6: /64) by one sender to one recipient is answered with 451, and passes when it comes again. Programs that send spam seldom come again, but good mail from strangers is late. Networks that have come again three times are known for 36 days. Changes take effect after a restart.", keys: []key{
		{name: "enabled", def: `false`, value: boolean(&g.On), doc: "Put strangers off."},
		{name: "delay", def: `"5m"`, value: duration(&g.Delay, time.Second, 24*time.Hour), doc: "How long, at least."},
		{name: "pass", def: `""`, example: `["192.0.2.0/24", "example.org"]`, value: networksOrDomains(&g.PassNets, &g.PassDomains),
			doc: "Networks, and domains in which a client's address has its name, that are never put off."},
	}}
}

// scores is a list of "address=number".
func scores(p *map[netip.Addr]int) value {
	return value{"list of texts", func(e env, v any) error {
		var list []string
		if err := texts(&list).set(e, v); err != nil {
			return err
		}
		*p = nil
		for _, s := range list {
			code, number, _ := strings.Cut(s, "=")
			a, err := netip.ParseAddr(strings.TrimSpace(code))
			n, err2 := strconv.Atoi(strings.TrimSpace(number))
			if err != nil || err2 != nil || n < -1000 || n > 1000 {
				return faultf(`write it as in "127.0.0.2=5"`, "%q is no code with its score", s)
			}
			if *p == nil {
				*p = map[netip.Addr]int{}
			}
			(*p)[a] = n
		}
		return nil
	}}
}

// networksOrDomains is a list of addresses, networks and domain names.
func networksOrDomains(nets *[]netip.Prefix, domains *[]string) value {
	return value{"list of networks and domains", func(e env, v any) error {
		var list []string
		if err := texts(&list).set(e, v); err != nil {
			return err
		}
		*nets, *domains = nil, nil
		for _, s := range list {
			if p, err := parsePrefix(s); err == nil {
				*nets = append(*nets, p)
			} else if err := domainName(s); err == nil {
				*domains = append(*domains, strings.ToLower(s))
			} else {
				return faultf(`write it as in "192.0.2.0/24" or "example.org"`, "%q is neither network nor domain", s)
			}
		}
		return nil
	}}
}
