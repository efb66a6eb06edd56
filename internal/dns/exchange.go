package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
)

// udpSize is the answer size we offer to take over UDP: one that is never
// fragmented on the way (DNS flag day 2020).
const udpSize = 1232

// reply is one usable answer: NOERROR or NXDOMAIN to the question asked.
type reply struct {
	msg *mdns.Msg
	// local says that it came over loopback, so that its AD bit counts.
	local bool
}

// client asks recursive resolvers, in order, until one answers.
type client struct {
	conf func() resolvConf
	turn atomic.Uint32 // for options rotate
}

// exchange returns the first usable answer, or why there is none.
func (c *client) exchange(ctx context.Context, q mdns.Question) (reply, error) {
	conf := c.conf()
	start := 0
	if conf.rotate {
		start = int(c.turn.Add(1))
	}
	var errs []error
	for range conf.attempts {
		for i := range conf.servers {
			server := conf.servers[(start+i)%len(conf.servers)]
			msg, err := c.ask(ctx, q, server, conf.timeout)
			if err == nil {
				return reply{msg: msg, local: loopback(server)}, nil
			}
			errs = append(errs, fmt.Errorf("asking %s: %w", server, err))
			if ctx.Err() != nil {
				return reply{}, errors.Join(errs...)
			}
		}
	}
	return reply{}, errors.Join(errs...)
}

// ask puts the question to one server: by UDP, by TCP when the answer was cut,
// and without EDNS when the server does not know it.
func (c *client) ask(ctx context.Context, q mdns.Question, server string, timeout time.Duration) (*mdns.Msg, error) {
	m := query(q)
	r, err := roundTrip(ctx, "udp", m, server, timeout)
	if err == nil && r.Truncated {
		r, err = roundTrip(ctx, "tcp", m, server, timeout)
	}
	if err == nil && (r.Rcode == mdns.RcodeFormatError || r.Rcode == mdns.RcodeNotImplemented) {
		m.Extra = nil
		r, err = roundTrip(ctx, "udp", m, server, timeout)
	}
	if err != nil {
		return nil, err
	}
	return r, usable(r, q)
}

func query(q mdns.Question) *mdns.Msg {
	m := new(mdns.Msg)
	m.Id = mdns.Id()
	m.RecursionDesired = true
	m.AuthenticatedData = true // asks for the AD bit, RFC 6840 section 5.7
	m.Question = []mdns.Question{q}
	m.SetEdns0(udpSize, false)
	return m
}

func roundTrip(ctx context.Context, network string, m *mdns.Msg, server string, timeout time.Duration) (*mdns.Msg, error) {
	c := mdns.Client{Net: network, Timeout: timeout, UDPSize: udpSize}
	r, _, err := c.ExchangeContext(ctx, m, server)
	if err != nil {
		return nil, err
	}
	if r.Id != m.Id {
		return nil, errors.New("answer to another question")
	}
	return r, nil
}

// usable tells an answer from an excuse.
func usable(r *mdns.Msg, q mdns.Question) error {
	if !r.Response || len(r.Question) != 1 || r.Question[0].Qtype != q.Qtype || !strings.EqualFold(r.Question[0].Name, q.Name) {
		return errors.New("answer to another question")
	}
	if r.Truncated {
		return errors.New("answer is cut off")
	}
	if r.Rcode != mdns.RcodeSuccess && r.Rcode != mdns.RcodeNameError {
		return fmt.Errorf("resolver said %s", mdns.RcodeToString[r.Rcode])
	}
	return nil
}

func loopback(server string) bool {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
