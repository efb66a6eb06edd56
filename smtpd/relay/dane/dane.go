// Package dane authenticates mail exchangers by TLSA records (DANE for SMTP, RFC
// 7672), as a relay.Policy.
//
// Only what DNSSEC vouches for counts: the MX records or their absence, the
// addresses of the host and the TLSA records, each with the AD bit of a validating
// resolver on this host (dns.Answer.Secure). Without such a resolver the policy
// never says anything.
//
// Usages 2 (DANE-TA) and 3 (DANE-EE) are followed; 0 and 1 are unusable for
// mail (RFC 7672 section 3.1.3). Where records exist and none is usable, TLS is
// demanded, unauthenticated (section 2.2).
package dane

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/smtpd/relay"
)

// port is where the records of mail exchangers are (RFC 7672 section 2.2.3).
const port = 25

// Policy is a relay.Policy over the records that r finds. A host whose records
// cannot be looked up is unusable for the moment: an attacker who suppresses
// them must not gain by it (RFC 7672 section 2.1.1).
func Policy(r *dns.Resolver) relay.Policy {
	return func(ctx context.Context, domain string, h relay.Host) (relay.Requirement, error) {
		if !h.SecureMX {
			return relay.Requirement{}, nil
		}
		records, base, err := lookup(ctx, r, h.Name)
		q := relay.Requirement{Published: relay.Published{Type: relay.TLSA, Text: texts(records)}, SecureMX: true}
		if err != nil {
			q.Flaw, q.Reason = relay.InvalidDNSSEC, err.Error()
			return q, status.Wrap(err, 451, 7, 5, "Cannot look up the TLSA records of "+h.Name+" at present")
		}
		if len(records) == 0 {
			return relay.Requirement{}, nil
		}
		good := slices.DeleteFunc(slices.Clone(records), func(t dns.TLSA) bool { return !usable(t) })
		if len(good) == 0 {
			q.Level, q.ID = relay.Encrypted, "dane"
			q.Flaw, q.Reason = relay.InvalidTLSA, "none of the TLSA records can be used"
			return q, nil
		}
		a := authority{records: good, names: names(domain, h.Name, base)}
		q.Level, q.Verify, q.ID = relay.Verified, a.verify, a.id()
		q.ServerName = base // RFC 7672 section 8.1
		return q, nil
	}
}

// texts are records in the form of zone files (RFC 6698 section 2.2).
func texts(records []dns.TLSA) []string {
	var list []string
	for _, t := range records {
		list = append(list, fmt.Sprintf("%d %d %d %X", t.Usage, t.Selector, t.MatchingType, t.Data))
	}
	return list
}

// lookup gives the secure records of a host and the name they stand under: the
// host's canonical one if DNSSEC vouches for the way there and it has records,
// else its own (RFC 7672 section 2.2.3).
func lookup(ctx context.Context, r *dns.Resolver, host string) (records []dns.TLSA, base string, err error) {
	addrs, err := r.Addrs(ctx, host)
	if errors.Is(err, dns.ErrNotFound) {
		return nil, host, nil // the relay finds no address either
	}
	if err != nil {
		return nil, "", err
	}
	if !addrs.Secure {
		return nil, host, nil
	}
	for _, base := range slices.Compact([]string{cmp.Or(addrs.Name, host), host}) {
		a, err := r.TLSA(ctx, port, base)
		switch {
		case errors.Is(err, dns.ErrNotFound):
		case err != nil:
			return nil, "", err
		case a.Secure && len(a.Records) > 0:
			return a.Records, base, nil
		}
	}
	return nil, host, nil
}

// names are those that the certificate of a DANE-TA may be issued for (RFC 7672
// section 3.2.2): what was asked for was secure, so the domain itself is good.
func names(domain, host, base string) []string {
	list := []string{base}
	for _, n := range []string{host, domain} {
		if !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// id tells requirements apart, so that a connection is shared only among mail
// that would have verified it alike.
func (a authority) id() string {
	sum := sha256.Sum256(fmt.Append(nil, a.records, a.names))
	return "dane:" + hex.EncodeToString(sum[:8])
}

// verify is relay.Requirement.Verify.
func (a authority) verify(cs tls.ConnectionState) error {
	return a.check(cs.PeerCertificates)
}
