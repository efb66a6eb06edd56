package dmarcrpt

import (
	"context"
	"errors"
	"math"
	"net/mail"
	"net/url"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/smtpd/inbound"
)

// maxAddresses bounds how many addresses get the report of a domain (RFC 7489
// section 6.2 wants two at least).
const maxAddresses = 5

// address is where a domain wants its reports.
type address struct {
	mailbox string
	limit   int64 // of the size in bytes
}

// addresses are those that the domain names today and that agree to it.
func (c *Collector) addresses(ctx context.Context, domain string) ([]address, error) {
	texts, err := c.o.Resolver.TXT(ctx, "_dmarc."+domain)
	if errors.Is(err, dns.ErrNotFound) || errors.Is(err, dns.ErrInvalidName) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []address
	for _, uri := range inbound.ReportURIs(texts) {
		a, ok := parseURI(uri)
		if !ok || len(list) >= maxAddresses {
			continue
		}
		ok, err := c.agrees(ctx, domain, a.mailbox)
		if err != nil {
			return nil, err
		}
		if !ok {
			c.sent.WithLabelValues("unwanted").Inc()
			c.o.Logger.Info("no DMARC report to an address that does not agree", "domain", domain, "to", a.mailbox)
			continue
		}
		list = append(list, a)
	}
	return list, nil
}

// parseURI reads "mailto:a@example.org!10m" (RFC 7489 section 6.3). Only mail is
// sent.
func parseURI(uri string) (address, bool) {
	uri, size, limited := strings.Cut(strings.TrimSpace(uri), "!")
	scheme, rest, _ := strings.Cut(uri, ":")
	if !strings.EqualFold(scheme, "mailto") {
		return address{}, false
	}
	rest, _, _ = strings.Cut(rest, "?")
	text, err := url.PathUnescape(rest)
	if err != nil {
		return address{}, false
	}
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != text {
		return address{}, false
	}
	limit := int64(math.MaxInt64)
	if limited {
		n, ok := parseSize(size)
		if !ok {
			return address{}, false
		}
		limit = n
	}
	return address{a.Address, limit}, true
}

// parseSize reads digits with a unit of k, m, g or t.
func parseSize(s string) (int64, bool) {
	shift := 0
	if s != "" {
		if i := strings.IndexByte("kmgt", s[len(s)-1]|0x20); i >= 0 {
			shift, s = 10*(i+1), s[:len(s)-1]
		}
	}
	n, err := strconv.ParseInt(s, 10, 32)
	return n << shift, err == nil && n > 0
}

// agrees asks an address of another organisation whether it wants reports about
// the domain (RFC 7489 section 7.1).
func (c *Collector) agrees(ctx context.Context, domain, mailbox string) (bool, error) {
	host, err := dns.ToASCII(mailbox[strings.LastIndexByte(mailbox, '@')+1:])
	if err != nil {
		return false, nil
	}
	if inbound.Organisation(host) == inbound.Organisation(domain) {
		return true, nil
	}
	texts, err := c.o.Resolver.TXT(ctx, domain+"._report._dmarc."+host)
	if errors.Is(err, dns.ErrNotFound) || errors.Is(err, dns.ErrInvalidName) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, t := range texts {
		tag, _, _ := strings.Cut(t, ";")
		name, value, _ := strings.Cut(tag, "=")
		if strings.TrimSpace(name) == "v" && strings.TrimSpace(value) == "DMARC1" {
			return true, nil
		}
	}
	return false, nil
}
