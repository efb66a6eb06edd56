package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// TestGroupDrainsAllAndTakesNoMore: the work of each listener is cut, and what comes
// after that is refused.
func TestGroupDrainsAllAndTakesNoMore(t *testing.T) {
	var g Group
	for range 2 {
		l := newTest(t, Options{})
		if !g.Add(l) {
			t.Fatal("refused before Drain")
		}
		served := make(chan struct{})
		acceptAll(l, func(c net.Conn) { greet(c); close(served); io.Copy(io.Discard, c) })
		readLine(t, dial(t, l))
		<-served
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := g.Drain(ctx)
	if !errors.Is(err, context.Canceled) || strings.Count(err.Error(), "1 connections closed by force") != 2 {
		t.Errorf("Drain = %v", err)
	}
	if g.Add(newTest(t, Options{})) {
		t.Error("taken after Drain")
	}
	if err := g.Drain(context.Background()); err != nil {
		t.Errorf("second Drain = %v", err)
	}
}
