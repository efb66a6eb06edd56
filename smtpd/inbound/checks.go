package inbound

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
)

// maxNames is how many names of an address are looked up again.
const maxNames = 5

// iprev looks whether the client's address has a name that leads back to it
// (RFC 8601 section 3).
func (i *Inspector) iprev(ctx context.Context, m Mail) Verdict {
	v := Verdict{Check: "iprev", Properties: []Property{{"policy.iprev", m.Remote.String()}}}
	names, err := i.o.Resolver.PTR(ctx, m.Remote)
	switch {
	case temporary(err):
		v.Result, v.Reason = tempError, "the name of the address is not to be had now"
		return v
	case err != nil || len(names) == 0:
		v.Result, v.Reason = permError, "the address has no name"
		return v
	}
	v.Result, v.Reason = fail, "the name does not lead to the address"
	for _, name := range names[:min(len(names), maxNames)] {
		a, err := i.o.Resolver.Addrs(ctx, name)
		if slices.Contains(a.Records, m.Remote) {
			v.Result, v.Reason, v.Comment = pass, "", name
			return v
		}
		if temporary(err) {
			v.Result, v.Reason = tempError, "the address of the name is not to be had now"
		}
	}
	return v
}

// spf asks whether the client may use the reverse-path, or for the null
// reverse-path its own name (RFC 7208 section 2.4). The library bounds the
// lookups (section 4.6.4).
func (i *Inspector) spf(ctx context.Context, m Mail) Verdict {
	if i.o.SPF == Off {
		return Verdict{}
	}
	v := Verdict{Check: "spf", Result: none}
	sender, property := m.ReversePath, "smtp.mailfrom"
	if sender == "" {
		sender, property = "postmaster@"+m.HELO, "smtp.helo"
	}
	domain, err := dns.ToASCII(domainOf(sender))
	if err != nil || !strings.Contains(domain, ".") || strings.HasPrefix(domain, "[") {
		v.Reason = "there is no domain to ask"
		return v
	}
	v.domain, v.Properties = domain, []Property{{property, domain}}
	sender = sender[:strings.LastIndexByte(sender, '@')+1] + domain
	result, err := spf.CheckHostWithSender(net.IP(m.Remote.AsSlice()), m.HELO, sender,
		spf.WithContext(ctx), spf.WithResolver(i.o.Resolver.Net()))
	v.Result = string(result)
	if err != nil {
		v.Reason = err.Error()
	}
	if ctx.Err() != nil && v.Result != pass {
		v.Result, v.Reason = tempError, reasonTime // whatever the library made of it
	}
	return v
}

// dkim checks the signatures, of which dkim.Verify takes the first eight.
func (i *Inspector) dkim(ctx context.Context, m Mail) []Verdict {
	if i.o.DKIM == Off {
		return nil
	}
	var list []Verdict
	for _, r := range dkim.Verify(ctx, m.Content, i.o.Resolver.TXT) {
		v := Verdict{Check: "dkim", Result: string(r.Value), domain: r.Domain}
		if r.Err != nil {
			v.Reason = r.Err.Error()
		}
		for _, p := range []Property{{"header.d", r.Domain}, {"header.s", r.Selector}, {"header.a", r.Algorithm}, {"header.b", r.Signature}} {
			if p.Value != "" {
				v.Properties = append(v.Properties, p)
			}
		}
		list = append(list, v)
	}
	if list == nil {
		list = []Verdict{{Check: "dkim", Result: none}}
	}
	return list
}

// temporary reports whether an error of the resolver may heal.
func temporary(err error) bool {
	return err != nil && !errors.Is(err, dns.ErrNotFound) && !errors.Is(err, dns.ErrInvalidName) && !errors.Is(err, dns.ErrNullMX)
}

// domainOf is what stands behind the last at sign.
func domainOf(address string) string {
	return address[strings.LastIndexByte(address, '@')+1:]
}
