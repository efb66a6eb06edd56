package listen

import (
	"context"
	"errors"
	"sync"
)

// Group is the Listeners of one server, to be ended together. The zero value is
// ready; its methods are safe for concurrent use.
type Group struct {
	mu        sync.Mutex // guards what follows
	draining  bool
	listeners []*Listener
}

// Add takes a Listener in; false once Drain was called: then it must not be served.
func (g *Group) Add(l *Listener) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.draining {
		g.listeners = append(g.listeners, l)
	}
	return !g.draining
}

// Drain drains all Listeners at once, as Listener.Drain does, and returns their
// errors.
func (g *Group) Drain(ctx context.Context) error {
	g.mu.Lock()
	g.draining = true
	listeners := g.listeners
	g.mu.Unlock()
	errs := make([]error, len(listeners))
	var wg sync.WaitGroup
	for i, l := range listeners {
		wg.Go(func() { errs[i] = l.Drain(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Conns returns the connections of all Listeners that are open now, in no order.
func (g *Group) Conns() (conns []*Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.listeners {
		conns = append(conns, l.Conns()...)
	}
	return conns
}
