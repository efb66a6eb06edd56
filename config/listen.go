package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Listen is [listen]. Each value is a list of "host:port", ":port" or absolute
// paths of UNIX sockets; empty means off.
type Listen struct {
	MX, Submission, Submissions []string
	IMAP, IMAPS                 []string
	LMTP                        []string
	ManageSieve                 []string
	HTTPS, HTTP                 []string
	Metrics, Status             []string
}

func (s *Listen) section() section {
	return section{name: "listen", doc: `Where the server listens: "host:port", ":port" for all addresses, the path of a UNIX socket, or "" for off. Each may be a list. Sockets handed over by systemd (LISTEN_FDS) with the name of a key are used in its place.`, keys: []key{
		{name: "mx", def: `":25"`, value: addresses(&s.MX),
			doc: "SMTP from other servers, STARTTLS offered. Only mail for local domains is accepted."},
		{name: "submission", def: `":587"`, value: addresses(&s.Submission),
			doc: "SMTP from mail programs, with STARTTLS and a login (RFC 6409)."},
		{name: "submissions", def: `":465"`, value: addresses(&s.Submissions),
			doc: "The same with TLS from the first byte (RFC 8314), which is to be preferred."},
		{name: "imap", def: `":143"`, value: addresses(&s.IMAP),
			doc: "IMAP with STARTTLS; no login before TLS."},
		{name: "imaps", def: `":993"`, value: addresses(&s.IMAPS),
			doc: "IMAP with TLS from the first byte (RFC 8314)."},
		{name: "lmtp", def: `""`, example: `"/run/mailsrvd/lmtp.sock"`, value: addresses(&s.LMTP),
			doc: "LMTP for another mail server on this machine (RFC 2033). Whoever may connect may deliver, so use a socket or a loopback address. That server has judged the mail: [inbound] does not, and a content filter sees it only with its key lmtp."},
		{name: "managesieve", def: `""`, example: `":4190"`, value: addresses(&s.ManageSieve),
			doc: "ManageSieve (RFC 5804), by which mail programs upload filter scripts and switch them on; STARTTLS, and no login before TLS. See [sieve]."},
		{name: "https", def: `""`, example: `":443"`, value: addresses(&s.HTTPS),
			doc: "HTTPS with what mail programs ask for to set themselves up (autoconfig, Autodiscover, an Apple profile), the MTA-STS policy, and proofs for [acme]. Nothing on it tells which accounts exist."},
		{name: "http", def: `""`, example: `":80"`, value: addresses(&s.HTTP),
			doc: "The same without TLS, for proofs of [acme] and for mail programs that ask autoconfig by HTTP; all else is sent on to https, if that is on."},
		{name: "metrics", def: `""`, example: `"127.0.0.1:9925"`, value: addresses(&s.Metrics),
			doc: "HTTP with /metrics for Prometheus, /healthz (200 if mail can be taken and users can log in, else 503 and the reason) and /livez (200 as long as the process answers). It needs no password: keep it on a loopback address."},
		{name: "status", def: `""`, example: `"127.0.0.1:9926"`, value: addresses(&s.Status),
			doc: "HTTP with a status page for the administrator's browser: queue, recent mail and failures, certificates, DNS. It changes nothing, but shows addresses to whoever may connect: use a loopback address, or, where others have accounts on the host, a socket that ssh -L leads to."},
	}}
}

// addresses is a list of listening addresses.
func addresses(p *[]string) value {
	var list []string
	t := texts(&list)
	return value{"address or list of addresses", func(e env, v any) error {
		if err := t.set(e, v); err != nil {
			return err
		}
		out := []string{}
		for _, s := range list {
			if strings.Contains(s, "/") {
				out = append(out, e.path(s))
				continue
			}
			if err := hostPort(s); err != nil {
				return err
			}
			out = append(out, s)
		}
		*p = out
		return nil
	}}
}

// Each calls fn for every listener with the name of its key.
func (s *Listen) Each(fn func(key string, addresses []string)) {
	fn("mx", s.MX)
	fn("submission", s.Submission)
	fn("submissions", s.Submissions)
	fn("imap", s.IMAP)
	fn("imaps", s.IMAPS)
	fn("lmtp", s.LMTP)
	fn("managesieve", s.ManageSieve)
	fn("https", s.HTTPS)
	fn("http", s.HTTP)
	fn("metrics", s.Metrics)
	fn("status", s.Status)
}

// check finds addresses that two listeners want.
func (s *Listen) check() Problems {
	var ps Problems
	owner, any := map[string]string{}, false
	s.Each(func(key string, list []string) {
		for _, a := range list {
			any = any || !slices.Contains([]string{"https", "http", "metrics", "status"}, key)
			if other, taken := owner[a]; taken && !strings.HasSuffix(a, ":0") {
				ps = append(ps, Problem{Key: "listen." + key,
					Text: fmt.Sprintf("%s is already taken by listen.%s", a, other), Mend: `give it another port, or "" to switch it off`})
			}
			owner[a] = key
		}
	})
	if !any {
		ps = append(ps, Problem{Key: "listen", Warning: true,
			Text: "everything is switched off: the server only sends what is in the queue", Mend: "give at least one listener an address"})
	}
	return append(ps, s.open()...)
}

// open warns of listeners that ask nobody for a password and can be reached from
// the Internet.
func (s *Listen) open() Problems {
	var ps Problems
	for _, l := range []struct {
		key, who  string
		addresses []string
	}{
		{"lmtp", "delivers without any check", s.LMTP},
		{"metrics", "reads the metrics", s.Metrics},
		{"status", "sees who writes to whom", s.Status},
	} {
		for _, a := range l.addresses {
			if public(a) {
				ps = append(ps, Problem{Key: "listen." + l.key, Warning: true,
					Text: fmt.Sprintf("%s may be reached from the Internet, and whoever connects %s", a, l.who),
					Mend: `use a loopback address, as in "127.0.0.1` + a[strings.LastIndexByte(a, ':'):] + `", one of a private network, or a socket`})
			}
		}
	}
	return ps
}

// public reports whether an address to listen on may be reached from the Internet:
// all addresses of the host, or one that is neither loopback nor private.
func public(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false // a path
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "":
		return true
	case err != nil:
		return false // a name, of which we know nothing
	}
	ip = ip.Unmap()
	return ip.IsUnspecified() || ip.IsGlobalUnicast() && !ip.IsPrivate()
}

// NeedTLS reports whether any listener is of no use without a certificate.
func (s *Listen) NeedTLS() bool {
	return len(s.Submission)+len(s.Submissions)+len(s.IMAP)+len(s.IMAPS)+len(s.ManageSieve)+len(s.HTTPS) > 0
}

// Port is that of the first of the addresses that has one, 0 if none has.
func Port(addresses []string) int {
	for _, a := range addresses {
		if i := strings.LastIndexByte(a, ':'); i >= 0 {
			if n, err := strconv.Atoi(a[i+1:]); err == nil {
				return n
			}
		}
	}
	return 0
}
