package dns

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
)

// Answer is what a name holds of one type.
type Answer[T any] struct {
	Records []T
	// Name is the canonical name, after all CNAMEs.
	Name string
	// Secure says that DNSSEC vouches for the answer: the AD bit of a resolver
	// on this host.
	Secure bool
	// Expires is when the answer should be asked for again.
	Expires time.Time
}

func answer[T any](rec records, pick func(mdns.RR) (T, bool)) Answer[T] {
	a := Answer[T]{Name: rec.name, Secure: rec.secure, Expires: rec.expires}
	for _, rr := range rec.rrs {
		if v, ok := pick(rr); ok {
			a.Records = append(a.Records, v)
		}
	}
	return a
}

// MX is one mail exchanger; the lowest preference is tried first.
type MX struct {
	Host       string
	Preference uint16
}

// MX gives the mail exchangers of a domain, in order of preference (RFC 5321
// section 5.1). A null MX is ErrNullMX (RFC 7505); no MX at all is ErrNotFound,
// and the caller tries the domain's own addresses.
func (r *Resolver) MX(ctx context.Context, domain string) (Answer[MX], error) {
	rec, err := r.lookup(ctx, domain, mdns.TypeMX)
	if err != nil {
		return Answer[MX]{}, err
	}
	a := answer(rec, func(rr mdns.RR) (MX, bool) {
		mx, ok := rr.(*mdns.MX)
		if !ok {
			return MX{}, false
		}
		return MX{Host: plainName(mx.Mx), Preference: mx.Preference}, true
	})
	if len(a.Records) == 1 && a.Records[0].Host == "" {
		return Answer[MX]{}, &Error{Name: domain, Type: "MX", Err: ErrNullMX}
	}
	// An empty host among others is no null MX (RFC 7505 section 3) and no host.
	a.Records = slices.DeleteFunc(a.Records, func(m MX) bool { return m.Host == "" })
	slices.SortStableFunc(a.Records, func(a, b MX) int { return cmp.Compare(a.Preference, b.Preference) })
	return a, nil
}

// Addrs gives the addresses of a host, IPv6 first. One family that cannot be
// asked does not hide the other. Secure means that both answers were.
func (r *Resolver) Addrs(ctx context.Context, host string) (Answer[netip.Addr], error) {
	var v4, v6 Answer[netip.Addr]
	var err4, err6 error
	var wg sync.WaitGroup
	wg.Go(func() { v4, err4 = r.addrs(ctx, host, mdns.TypeA) })
	v6, err6 = r.addrs(ctx, host, mdns.TypeAAAA)
	wg.Wait()
	switch {
	case err4 == nil && err6 == nil:
		v6.Records = append(v6.Records, v4.Records...)
		v6.Secure = v6.Secure && v4.Secure
		if v4.Expires.Before(v6.Expires) {
			v6.Expires = v4.Expires
		}
		return v6, nil
	case err4 == nil:
		return v4, nil
	case err6 == nil:
		return v6, nil
	case errors.Is(err6, ErrTemporary):
		return Answer[netip.Addr]{}, err6
	}
	return Answer[netip.Addr]{}, err4
}

func (r *Resolver) addrs(ctx context.Context, host string, qtype uint16) (Answer[netip.Addr], error) {
	rec, err := r.lookup(ctx, host, qtype)
	if err != nil {
		return Answer[netip.Addr]{}, err
	}
	return answer(rec, func(rr mdns.RR) (netip.Addr, bool) {
		switch rr := rr.(type) {
		case *mdns.A:
			a, ok := netip.AddrFromSlice(rr.A)
			return a.Unmap(), ok
		case *mdns.AAAA:
			return netip.AddrFromSlice(rr.AAAA)
		}
		return netip.Addr{}, false
	}), nil
}

// TXT gives the texts of a name, each with its strings joined, as SPF, DKIM,
// DMARC and MTA-STS want them (RFC 7208 section 3.3).
func (r *Resolver) TXT(ctx context.Context, name string) ([]string, error) {
	rec, err := r.lookup(ctx, name, mdns.TypeTXT)
	if err != nil {
		return nil, err
	}
	return answer(rec, func(rr mdns.RR) (string, bool) {
		t, ok := rr.(*mdns.TXT)
		if !ok {
			return "", false
		}
		return unescape(strings.Join(t.Txt, "")), true
	}).Records, nil
}

// unescape undoes the \DDD and \c of the presentation form, which is how the
// wire library hands out TXT strings.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if n, ok := decimal(s[i+1:]); ok {
			b.WriteByte(n)
			i += 3
			continue
		}
		i++
		b.WriteByte(s[i])
	}
	return b.String()
}

func decimal(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s[:3]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return byte(n), n < 256
}

// PTR gives the host names of an address. They are claims: the owner of the
// address wrote them.
func (r *Resolver) PTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	name, err := mdns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return nil, &Error{Name: addr.String(), Type: "PTR", Err: ErrInvalidName, Cause: err}
	}
	rec, err := r.lookup(ctx, name, mdns.TypePTR)
	if err != nil {
		return nil, err
	}
	return answer(rec, func(rr mdns.RR) (string, bool) {
		p, ok := rr.(*mdns.PTR)
		if !ok {
			return "", false
		}
		return plainName(p.Ptr), true
	}).Records, nil
}

// TLSA is a statement about a server's certificate (RFC 6698 section 2.1).
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte
}

// TLSA gives the statements for a TCP port of a host. They count only when the
// answer is Secure (RFC 7672 section 2.2).
func (r *Resolver) TLSA(ctx context.Context, port uint16, host string) (Answer[TLSA], error) {
	rec, err := r.lookup(ctx, fmt.Sprintf("_%d._tcp.%s", port, host), mdns.TypeTLSA)
	if err != nil {
		return Answer[TLSA]{}, err
	}
	return answer(rec, func(rr mdns.RR) (TLSA, bool) {
		t, ok := rr.(*mdns.TLSA)
		if !ok {
			return TLSA{}, false
		}
		data, err := hex.DecodeString(t.Certificate)
		return TLSA{t.Usage, t.Selector, t.MatchingType, data}, err == nil
	}), nil
}
