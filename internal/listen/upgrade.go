package listen

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// Upgrade runs the server's side of a TLS handshake on c, as STARTTLS needs
// it, within timeout (0 means 30 s). Bytes that the client sent before the
// handshake must not have been read into a buffer that lives on. On failure c
// is closed. The deadlines of c are cleared.
//
// The handshake runs on a goroutine of its own, so that the caller's stack
// stays small for the long time that a connection is idle.
func Upgrade(ctx context.Context, c net.Conn, config *tls.Config, timeout time.Duration) (*tls.Conn, error) {
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	type result struct {
		conn *tls.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		t, err := handshake(ctx, c, config, timeout)
		done <- result{t, err}
	}()
	r := <-done
	if r.err != nil {
		c.Close()
	}
	return r.conn, r.err
}

// handshake is bounded by the context of HandshakeContext, not by deadlines:
// with rolling deadlines a client could stretch them.
func handshake(ctx context.Context, c net.Conn, config *tls.Config, timeout time.Duration) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	t := tls.Server(c, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return t, nil
}
