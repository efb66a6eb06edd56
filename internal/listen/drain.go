package listen

import (
	"context"
	"fmt"
)

// Drain ends the Listener in order: it stops accepting, wakes idle connections
// (see Conn.SetIdle) and waits for all to close. When ctx ends first, the rest
// are closed by force and its error is returned. A second call waits as well.
func (l *Listener) Drain(ctx context.Context) error {
	err := l.Close()
	empty := l.startDraining()
	select {
	case <-empty:
		return err
	case <-ctx.Done():
	}
	n := l.cut()
	if n == 0 {
		return err
	}
	return fmt.Errorf("%d connections closed by force: %w", n, context.Cause(ctx))
}

// startDraining wakes what is idle and returns a channel that closes with the
// last connection.
func (l *Listener) startDraining() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.empty == nil {
		l.empty = make(chan struct{})
	}
	empty := l.empty
	for c := range l.conns {
		c.drain()
	}
	if len(l.conns) == 0 {
		close(l.empty)
		l.empty = nil
	}
	return empty
}

// cut closes all connections and says how many there were.
func (l *Listener) cut() int {
	conns := l.Conns()
	for _, c := range conns {
		c.Close()
	}
	return len(conns)
}

// Conns returns the connections that are open now, in no order.
func (l *Listener) Conns() []*Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := make([]*Conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	return conns
}
