package dns

import (
	"context"
	"net/netip"
	"strings"

	mdns "github.com/miekg/dns"
)

// Listed asks a DNS list about an address (RFC 5782 section 2): the codes that
// the list gives it, or an error for which errors.Is(err, ErrNotFound) holds when
// it is not there.
func (r *Resolver) Listed(ctx context.Context, addr netip.Addr, zone string) ([]netip.Addr, error) {
	name, err := mdns.ReverseAddr(addr.Unmap().WithZone("").String())
	if err != nil {
		return nil, &Error{Name: addr.String(), Type: "A", Err: ErrInvalidName, Cause: err}
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, "in-addr.arpa."), "ip6.arpa.")
	a, err := r.addrs(ctx, name+zone, mdns.TypeA)
	return a.Records, err
}
