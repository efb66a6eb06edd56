package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
)

// Net is a Resolver in the shape of net.Resolver, for libraries that want that
// (SPF). Its errors are *net.DNSError with IsNotFound or IsTemporary set.
type Net struct{ r *Resolver }

// Net gives this Resolver the methods of net.Resolver.
func (r *Resolver) Net() Net { return Net{r} }

// LookupTXT is net.Resolver.LookupTXT.
func (n Net) LookupTXT(ctx context.Context, name string) ([]string, error) {
	txt, err := n.r.TXT(ctx, name)
	return txt, netError(err, name)
}

// LookupMX is net.Resolver.LookupMX. A null MX comes as the host ".".
func (n Net) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	a, err := n.r.MX(ctx, name)
	if errors.Is(err, ErrNullMX) {
		return []*net.MX{{Host: "."}}, nil
	}
	var out []*net.MX
	for _, m := range a.Records {
		out = append(out, &net.MX{Host: m.Host + ".", Pref: m.Preference})
	}
	return out, netError(err, name)
}

// LookupIPAddr is net.Resolver.LookupIPAddr.
func (n Net) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	a, err := n.r.Addrs(ctx, host)
	var out []net.IPAddr
	for _, addr := range a.Records {
		out = append(out, net.IPAddr{IP: addr.AsSlice()})
	}
	return out, netError(err, host)
}

// LookupAddr is net.Resolver.LookupAddr.
func (n Net) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, &net.DNSError{Err: err.Error(), Name: addr, IsNotFound: true}
	}
	names, err := n.r.PTR(ctx, ip)
	for i := range names {
		names[i] += "."
	}
	return names, netError(err, addr)
}

func netError(err error, name string) error {
	if err == nil {
		return nil
	}
	return &net.DNSError{
		UnwrapErr:   err,
		Err:         err.Error(),
		Name:        name,
		IsTemporary: errors.Is(err, ErrTemporary),
		IsNotFound:  errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalidName),
	}
}
