package relay

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/status"
)

// hop is one host to try.
type hop struct {
	Host
	// addr is set for an address literal, which needs no lookup.
	addr netip.Addr
	port uint16
	// smart says that the host is a smarthost, which knows us, and via which.
	smart bool
	via   Smarthost
	// domain is the destination that led here, for the Policy.
	domain string
}

// candidate is one address of a hop.
type candidate struct {
	hop
	addr netip.Addr
}

// remote names the candidate in logs and reports.
func (c candidate) remote() string {
	if c.Name == c.addr.String() {
		return "[" + c.Name + "]"
	}
	return c.Name + "[" + c.addr.String() + "]"
}

func (c candidate) dialAddr() string {
	return net.JoinHostPort(c.addr.String(), strconv.Itoa(int(c.port)))
}

// host gives the smarthost as a hop.
func (s Smarthost) host() (hop, error) {
	name, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return hop{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return hop{}, errors.New("the port is no number")
	}
	set(&s.TLS, TLSOpportunistic)
	h := hop{port: uint16(n), smart: true, via: s}
	if a, err := netip.ParseAddr(name); err == nil {
		h.addr, h.Name = a, a.String()
		return h, nil
	}
	h.Name, err = dns.ToASCII(name)
	return h, err
}

// Nearest finds what a table has for a domain, or for ".name" of the nearest domain
// above it, as Options.Routes is read.
func Nearest[T any](of map[string]T, domain string) (v T, ok bool) {
	if v, ok = of[domain]; ok || len(of) == 0 {
		return v, ok
	}
	for {
		i := strings.IndexByte(domain, '.')
		if i < 0 {
			return v, false
		}
		if v, ok = of[domain[i:]]; ok {
			return v, true
		}
		domain = domain[i+1:]
	}
}

// route gives the hosts for a domain in the order in which they are tried (RFC
// 5321 section 5.1).
func (r *Relay) route(ctx context.Context, domain string) ([]hop, *failure) {
	via, own := Nearest(r.o.Routes, domain)
	if !own {
		via = r.o.Smarthost
	}
	if via.Addr != "" {
		h, err := via.host()
		if err != nil {
			return nil, ours("", 451, 3, 5, "The smarthost's address is unusable")
		}
		h.domain = domain
		return []hop{h}, nil
	}
	if a, ok := literal(domain); ok {
		return []hop{{Host: Host{Name: a.String()}, addr: a, port: r.o.Port, domain: domain}}, nil
	}
	name, err := dns.ToASCII(domain)
	if err != nil {
		return nil, ours("", 550, 1, 3, "%q is no domain name", domain)
	}
	mx, err := r.o.Resolver.MX(ctx, name)
	var missing *dns.Error
	switch {
	case err == nil:
		return r.exchangers(name, mx)
	case errors.Is(err, dns.ErrNullMX):
		return nil, ours("", 556, 1, 10, "%s accepts no mail (null MX)", domain) // RFC 7505 section 4.2
	case errors.As(err, &missing) && missing.NoName:
		return nil, ours("", 550, 1, 2, "The domain %s does not exist", domain)
	case errors.Is(err, dns.ErrNotFound):
		secure := missing != nil && missing.Secure
		return []hop{{Host: Host{Name: name, SecureMX: secure}, port: r.o.Port, domain: name}}, nil // implicit MX
	}
	return nil, &failure{err: status.Wrap(err, 451, 4, 3, "Cannot look up the mail exchangers of "+domain+" at present")}
}

// exchangers puts MX records in order: by preference, equal ones shuffled, and
// without those that are not better than this host.
func (r *Relay) exchangers(domain string, mx dns.Answer[dns.MX]) ([]hop, *failure) {
	hosts := slices.Clone(mx.Records)
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	slices.SortStableFunc(hosts, func(a, b dns.MX) int { return int(a.Preference) - int(b.Preference) })
	var hops []hop
	for _, h := range hosts {
		if strings.EqualFold(h.Host, r.name) {
			hops = slices.DeleteFunc(hops, func(x hop) bool { return preference(hosts, x.Name) >= h.Preference })
			break
		}
		if !slices.ContainsFunc(hops, func(x hop) bool { return x.Name == h.Host }) {
			hops = append(hops, hop{Host: Host{Name: h.Host, SecureMX: mx.Secure}, port: r.o.Port, domain: domain})
		}
	}
	if len(hops) == 0 && len(hosts) > 0 {
		return nil, loops(domain)
	}
	if len(hops) == 0 {
		return nil, ours("", 550, 4, 4, "%s has no usable mail exchanger", domain)
	}
	return hops, nil
}

func preference(hosts []dns.MX, name string) uint16 {
	for _, h := range hosts {
		if h.Host == name {
			return h.Preference
		}
	}
	return 0
}

func loops(domain string) *failure {
	return ours("", 554, 4, 6, "Mail for %s comes back to this host, which does not take it", domain)
}

// candidates gives the addresses of hops one by one, looking each host up when
// its turn comes; or why a host has none.
func (r *Relay) candidates(ctx context.Context, hops []hop) iter.Seq2[candidate, *failure] {
	return func(yield func(candidate, *failure) bool) {
		for _, h := range hops {
			addrs, fail := r.addrs(ctx, h)
			if fail != nil {
				if !yield(candidate{hop: h}, fail) {
					return
				}
				continue
			}
			if !h.smart && slices.ContainsFunc(addrs, r.o.Self) {
				yield(candidate{hop: h}, loops(h.domain)) // and so would all that come after
				return
			}
			for _, a := range addrs {
				if !yield(candidate{hop: h, addr: a}, nil) {
					return
				}
			}
		}
	}
}

// addrs gives the addresses of one host, families in turn.
func (r *Relay) addrs(ctx context.Context, h hop) ([]netip.Addr, *failure) {
	all := []netip.Addr{h.addr}
	if !h.addr.IsValid() {
		a, err := r.o.Resolver.Addrs(ctx, h.Name)
		switch {
		case err == nil:
			all = slices.Clone(a.Records)
		case errors.Is(err, dns.ErrTemporary):
			return nil, &failure{err: status.Wrap(err, 451, 4, 3, "Cannot look up the address of "+h.Name+" at present"), remote: h.Name}
		default:
			return nil, ours(h.Name, r.noAddrCode(h), 4, 4, "The mail exchanger %s has no address", h.Name)
		}
	}
	all = slices.DeleteFunc(all, func(a netip.Addr) bool {
		return r.o.Network == "tcp4" && !a.Unmap().Is4() || r.o.Network == "tcp6" && a.Unmap().Is4()
	})
	if len(all) == 0 {
		return nil, ours(h.Name, 451, 4, 4, "The mail exchanger %s has no address of a family in use here", h.Name)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return interleave(all), nil
}

// noAddrCode is permanent for a destination, and not for a smarthost: there it
// is our setting that is wrong.
func (r *Relay) noAddrCode(h hop) int {
	if h.smart {
		return 451
	}
	return 550
}

// interleave puts addresses of both families in turn, IPv6 first, so that one
// family without a route costs at most every other try.
func interleave(all []netip.Addr) []netip.Addr {
	var v4, v6, out []netip.Addr
	for _, a := range all {
		if a.Unmap().Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	for len(v4)+len(v6) > 0 {
		if len(v6) > 0 {
			out, v6 = append(out, v6[0]), v6[1:]
		}
		if len(v4) > 0 {
			out, v4 = append(out, v4[0]), v4[1:]
		}
	}
	return out
}
