package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/internal/observe"
)

// limitsBeforeLogin are for strangers: enough for a long password, no more.
func limitsBeforeLogin(l Limits) wire.Limits {
	n := l.BeforeLogin
	return wire.Limits{Line: n, Literal: int64(n / 2), Literals: int64(n), NonSync: int64(n / 2), Discard: int64(8 * n), Depth: 2}
}

// limitsAfterLogin are for a user.
func limitsAfterLogin(l Limits) wire.Limits {
	n := int64(l.Literal)
	return wire.Limits{
		Line: l.Line, Literal: n, Literals: 4 * n, NonSync: n,
		Discard: l.AppendSize + 1<<20, Depth: l.Depth,
	}
}

// newSession makes the session for a connection that was just accepted.
func newSession(srv *Server, conn net.Conn) *session {
	s := &session{srv: srv, raw: conn, conn: conn, began: time.Now(), profile: srv.profile, state: notAuthenticated}
	s.loginBy = s.began.Add(srv.limits.LoginTime)
	_, s.secure = conn.(*tls.Conn)
	s.wake.conn = conn
	s.dec = wire.NewDecoder((*connReader)(s), wire.Hooks{BeforeRead: s.beforeRead, Continue: s.goAhead}, limitsBeforeLogin(srv.limits))
	s.enc = wire.NewEncoder((*deadlineWriter)(s))
	return s
}

// deadlineWriter writes to the session's connection. Each write has the stall
// limit to itself: a long answer to a slow client may take its time as long as
// it moves.
type deadlineWriter session

func (w *deadlineWriter) Write(p []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.srv.limits.Stall)); err != nil {
		return 0, err
	}
	n, err := w.conn.Write(p)
	w.counts.out += int64(n)
	return n, err
}

// connReader reads from the session's connection. While a client waits in IDLE,
// or with NOTIFY between commands, news interrupts the read; it is told from here,
// and the read goes on, so that neither the decoder nor a decompressor ever sees
// the interruption.
type connReader session

func (r *connReader) Read(p []byte) (int, error) {
	s := (*session)(r)
	for {
		n, err := s.conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		fired := s.wake.take(s.armed)
		if fired == 0 {
			return n, err
		}
		if err := s.push(fired); err != nil {
			return 0, err
		}
		if err := s.beforeRead(true); err != nil {
			return 0, err
		}
	}
}

// beforeRead flushes and sets the deadline of a read that may block.
func (s *session) beforeRead(idle bool) error {
	if err := s.enc.Flush(); err != nil {
		return err
	}
	l, now := s.srv.limits, time.Now()
	deadline := now.Add(l.Stall)
	if idle && s.state != notAuthenticated {
		deadline = now.Add(l.Idle)
	}
	if s.state == notAuthenticated && deadline.After(s.loginBy) {
		deadline = s.loginBy
	}
	s.armed = 0 // in the middle of a command nothing is told
	if idle {
		s.deflate.release()
		s.armed = s.pushes
		return s.wake.arm(wakeShutdown|s.pushes, deadline)
	}
	return s.wake.arm(0, deadline)
}

// goAhead asks for a literal.
func (s *session) goAhead() error {
	s.enc.Raw("+ OK\r\n")
	return s.enc.Err() // flushed by the read that follows
}

// serve is the life of the connection.
func (s *session) serve() {
	s.setPeer()
	err := s.run()
	s.stopNotify()
	s.deselect()
	s.signOff()
	s.goodbye(err)
	s.conn.Close()
	s.dec.Close()
	s.enc.Close()
	s.deflate.release()
	s.logEnd(err)
}

// setPeer notes who is there, and gives the session a name for the log.
func (s *session) setPeer() {
	if a, ok := s.conn.RemoteAddr().(*net.TCPAddr); ok {
		ip, _ := netip.AddrFromSlice(a.IP)
		s.remote = ip.Unmap()
	}
	s.trace = observe.NewTrace()
}

// run greets and serves commands until the end, which is always an error. A
// panic ends this connection only.
func (s *session) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.srv.metrics.panics.Inc()
			s.logger().Error("imap session panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = &closeError{code: "SERVERBUG", text: "Internal error, see the server's log"}
		}
	}()
	if t, ok := s.conn.(*tls.Conn); ok {
		if err := s.handshake(t); err != nil {
			return err
		}
	}
	s.status("*", "OK", "CAPABILITY "+s.capabilityList(), s.srv.options.Hostname+" mailsrvd ready.")
	for {
		if err := s.next(); err != nil {
			return err
		}
	}
}

// handshake finishes the TLS handshake in bounded time, if the listener has not
// done so.
func (s *session) handshake(t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(s.srv.ctx, s.srv.limits.Handshake)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return nil
}

// goodbye says BYE where the client has not been told and may still hear it.
func (s *session) goodbye(err error) {
	var closing *closeError
	switch {
	case errors.As(err, &closing):
		s.status("*", "BYE", closing.code, closing.text)
	case errors.Is(err, wire.ErrTooLong):
		s.status("*", "BYE", "TOOBIG", "Command line or literal too long")
	case errors.Is(err, os.ErrDeadlineExceeded) && s.enc.Err() == nil:
		if s.wake.take(wakeShutdown) != 0 {
			s.status("*", "BYE", "UNAVAILABLE", "Server is shutting down")
		} else {
			s.status("*", "BYE", "", "Disconnected for inactivity")
		}
	}
	if s.enc.Flush() == nil && errors.Is(err, wire.ErrTooLong) {
		s.linger()
	}
}

// linger reads on for a moment what the client is still sending: closing a
// socket with unread input would make the kernel drop the BYE.
func (s *session) linger() {
	s.wake.arm(0, time.Now().Add(time.Second))
	io.CopyN(io.Discard, s.conn, 1<<20)
}

// cut ends the connection from outside.
func (s *session) cut() { s.raw.Close() }

// logEnd writes the one line of the session. Who has not logged in is a port
// scan more often than not.
func (s *session) logEnd(err error) {
	reason := err.Error()
	switch {
	case errors.Is(err, errLogout):
		reason = "logout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		reason = "disconnected"
	}
	level := slog.LevelInfo
	if s.account.Name == "" {
		level = slog.LevelDebug
	}
	s.logger().Log(context.Background(), level, "imap session ended", "dur", time.Since(s.began),
		"commands", s.counts.commands, "out", s.counts.out, "reason", reason)
}

// logger returns the log with what names this session.
func (s *session) logger() *slog.Logger {
	remote := "-"
	if s.remote.IsValid() {
		remote = s.remote.String()
	}
	return s.srv.log.With("trace", s.trace, "proto", "imap", "remote", remote, "user", s.account.Name)
}
