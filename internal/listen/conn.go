package listen

import (
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
)

// Conn is a tracked connection. For TLS it is the transport below *tls.Conn;
// Of finds it. Its methods are safe for concurrent use as net.Conn's are.
type Conn struct {
	net.Conn
	l      *Listener
	origin netip.Prefix // of one customer
	net    netip.Prefix // the network around it
	exempt bool         // no limit counts it

	mu       sync.Mutex
	closed   bool
	idle     bool
	draining bool
	read     deadline
	write    deadline
}

// Of returns the tracked connection that c is or stands on, or nil.
func Of(c net.Conn) *Conn {
	for {
		switch t := c.(type) {
		case *Conn:
			return t
		case *tls.Conn:
			c = t.NetConn()
		default:
			return nil
		}
	}
}

// RemoteIP is the peer's address, or the zero Addr on a Unix socket.
func (c *Conn) RemoteIP() netip.Addr { return remoteIP(c.Conn.RemoteAddr()) }

// Allowed reports whether the peer is in Options.Allow or on a Unix socket.
func (c *Conn) Allowed() bool { return c.exempt }

// Close implements net.Conn and ends the tracking.
func (c *Conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	err := c.Conn.Close()
	if first {
		c.l.leave(c)
	}
	return err
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.l.options.RollingDeadlines {
		c.renew()
	}
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.l.options.RollingDeadlines {
		return c.Conn.Write(p)
	}
	return c.writeRolling(p)
}

// SetIdle says whether the server waits for the next command and has nothing
// begun: then Drain may wake its Read with os.ErrDeadlineExceeded, upon which
// the server says goodbye and closes. A connection that becomes idle while its
// Listener drains is woken at once.
func (c *Conn) SetIdle(idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = idle
	if c.draining {
		c.applyRead()
	}
}

// Draining reports whether the connection should end with its present work.
func (c *Conn) Draining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// drain wakes the connection if it is idle.
func (c *Conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.idle {
		c.applyRead()
	}
}
