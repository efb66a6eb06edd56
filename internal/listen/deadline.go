package listen

import "time"

// deadline is what the server asked for. With rolling deadlines the distance
// counts, from the last byte that moved.
type deadline struct {
	at  time.Time     // as asked for, or as last renewed; zero is none
	gap time.Duration // rolling only: at's distance when it was asked for
}

func newDeadline(t time.Time, rolling bool, now time.Time) deadline {
	d := deadline{at: t}
	if rolling && !t.IsZero() {
		d.gap = t.Sub(now) // not positive: due already, never renewed
	}
	return d
}

// renewed moves the deadline away from now. It spares the timer when hardly
// any time has passed since the last time.
func (d *deadline) renewed(now time.Time) bool {
	if d.gap <= 0 {
		return false
	}
	if d.at.Sub(now) > d.gap-d.gap/16 {
		return false
	}
	d.at = now.Add(d.gap)
	return true
}

// SetDeadline implements net.Conn; see Options.RollingDeadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn. On an idle connection that drains the
// read stays due.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = newDeadline(t, c.l.options.RollingDeadlines, time.Now())
	return c.applyRead()
}

// applyRead passes the read deadline on; c.mu is held.
func (c *Conn) applyRead() error {
	if c.idle && c.draining {
		return c.Conn.SetReadDeadline(time.Unix(1, 0)) // long ago: due at once
	}
	return c.Conn.SetReadDeadline(c.read.at)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write = newDeadline(t, c.l.options.RollingDeadlines, time.Now())
	return c.Conn.SetWriteDeadline(t)
}

// renew moves both deadlines after traffic: a peer that takes our bytes is
// alive although it says nothing, and the other way round.
func (c *Conn) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.read.renewed(now) {
		c.applyRead()
	}
	if c.write.renewed(now) {
		c.Conn.SetWriteDeadline(c.write.at)
	}
}

// writePiece is how much a rolling write hands to the kernel at a time, so
// that a slow peer's progress is seen.
const writePiece = 64 << 10

func (c *Conn) writeRolling(p []byte) (written int, err error) {
	for {
		piece := p[:min(len(p), writePiece)]
		n, err := c.Conn.Write(piece)
		written += n
		if n > 0 {
			c.renew()
		}
		if p = p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}
