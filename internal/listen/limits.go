package listen

import (
	"net"
	"net/netip"
	"time"
)

// admit counts and tracks raw, or sends the refusal, closes it and returns nil.
func (l *Listener) admit(raw net.Conn) *Conn {
	c := &Conn{Conn: raw, l: l}
	ip := remoteIP(raw.RemoteAddr())
	c.exempt = !ip.IsValid() || l.allowed(ip)
	c.origin, c.net = origin(ip), surroundings(ip)
	if !c.exempt && l.options.Banned != nil && l.options.Banned(ip) {
		l.refuse(raw, "banned")
		return nil
	}
	if reason := l.enter(c); reason != "" {
		l.refuse(raw, reason)
		return nil
	}
	l.metrics.accepted.Inc()
	return c
}

// enter tracks c, or gives the reason why it may not come in.
func (l *Listener) enter(c *Conn) (reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return "closed"
	case c.exempt:
	case l.options.MaxConns > 0 && l.counted >= l.options.MaxConns:
		return "total"
	case l.options.MaxPerIP > 0 && l.perIP[c.origin] >= l.options.MaxPerIP:
		return "per_ip"
	case l.options.MaxPerNetwork > 0 && l.perIP[c.net] >= l.options.MaxPerNetwork:
		return "per_network"
	case !l.rates.take(time.Now(), rate{c.origin, l.options.RatePerIP}, rate{c.net, l.options.RatePerNetwork}):
		return "rate"
	}
	if !c.exempt {
		l.counted++
		l.perIP[c.origin]++
		l.perIP[c.net]++
	}
	l.conns[c] = struct{}{}
	l.metrics.open.Inc()
	return ""
}

// leave forgets c; called once, by Conn.Close.
func (l *Listener) leave(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.metrics.open.Dec()
	if !c.exempt {
		l.counted--
		for _, p := range []netip.Prefix{c.origin, c.net} {
			if l.perIP[p]--; l.perIP[p] <= 0 {
				delete(l.perIP, p)
			}
		}
	}
	if l.empty != nil && len(l.conns) == 0 {
		close(l.empty)
		l.empty = nil
	}
}

// refuse says why, as far as the socket's buffer takes it, and hangs up.
func (l *Listener) refuse(raw net.Conn, reason string) {
	l.metrics.refused.WithLabelValues(l.options.Name, reason).Inc()
	if l.mayWarn() {
		l.options.Logger.Warn("connection refused", "listener", l.options.Name, "remote", raw.RemoteAddr().String(), "reason", reason)
	}
	if l.options.TLS == nil && l.options.Refusal != "" {
		raw.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		raw.Write([]byte(l.options.Refusal))
	}
	raw.Close()
}

// mayWarn lets one warning through every ten seconds: a flood of connections
// must not become a flood of lines. The metric counts them all.
func (l *Listener) mayWarn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.warned) < 10*time.Second {
		return false
	}
	l.warned = now
	return true
}

func (l *Listener) allowed(ip netip.Addr) bool {
	for _, p := range l.options.Allow {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// remoteIP is the address without port and zone, IPv4 in its short form;
// invalid for a Unix socket.
func remoteIP(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(t.IP)
	return ip.Unmap()
}

// origin is what one customer of a network usually holds: an IPv4 address or
// an IPv6 /64.
func origin(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// surroundings is what one network operator usually gives to one site: an IPv4
// /24 or an IPv6 /48.
func surroundings(ip netip.Addr) netip.Prefix {
	bits := 24
	if ip.Is6() {
		bits = 48
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
