package imapd

import (
	"net"
	"sync"
	"time"
)

// wakeReason is why a blocked read is interrupted; several may be joined.
type wakeReason uint8

const (
	// wakeShutdown is the end of the server.
	wakeShutdown wakeReason = 1 << iota
	// wakeChange is news of the selected mailbox, for IDLE.
	wakeChange
	// wakeNotify is news of other mailboxes, for NOTIFY.
	wakeNotify
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// waker interrupts a connection's read from another goroutine, by moving its
// deadline into the past. A timeout leaves a *tls.Conn usable for reading, so
// that the connection can tell the client the news and read on: no second
// goroutine is needed to wait for both.
//
// No wake-up is lost: what fires while no read is under way makes the next
// armed read due at once.
type waker struct {
	mu    sync.Mutex // guards what follows, and the order of SetReadDeadline calls
	conn  net.Conn
	armed wakeReason // may interrupt the read that is under way
	fired wakeReason // has happened and was not taken
}

// arm sets the deadline of the next read, which any of reasons may interrupt;
// none means that it is not interrupted.
func (w *waker) arm(reasons wakeReason, deadline time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = reasons
	if w.fired&reasons != 0 {
		deadline = longAgo
	}
	return w.conn.SetReadDeadline(deadline)
}

// disarm says that the read is over.
func (w *waker) disarm() {
	w.mu.Lock()
	w.armed = 0
	w.mu.Unlock()
}

// fire interrupts the read if it is armed for reason, or the next one that is.
// It does not block.
func (w *waker) fire(reason wakeReason) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fired |= reason
	if w.armed&reason != 0 {
		w.conn.SetReadDeadline(longAgo)
	}
}

// take returns which of reasons have fired, and forgets them.
func (w *waker) take(reasons wakeReason) wakeReason {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.fired & reasons
	w.fired &^= taken
	return taken
}

// use goes on with another connection.
func (w *waker) use(conn net.Conn) {
	w.mu.Lock()
	w.conn = conn
	w.mu.Unlock()
}
