package managesieve

import (
	"bufio"
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

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/internal/observe"
)

// session is the state of one connection. Only its own goroutine touches it.
type session struct {
	// For the life of the connection.
	srv    *Server
	track  *listen.Conn // the transport below TLS
	began  time.Time
	trace  string     // names the session in the log
	remote netip.Addr // invalid for a local socket
	counts struct {
		commands int
		bad      int // in a row
		failures int // of login
	}

	// Until STARTTLS replaces them.
	conn   net.Conn
	secure bool // by TLS
	in     *lexer
	out    *bufio.Writer

	// loginBy is when a client that has not logged in has had its time.
	loginBy time.Time

	// From login on, until UNAUTHENTICATE.
	account auth.Account
	user    *user // nil before login
	scripts *store
}

// Why a session ends, beside the errors of its connection.
var (
	errLogout   = errors.New("logout")
	errShutdown = errors.New("server is shutting down")
)

// goodbye is an end that the client hears of by BYE.
type goodbye struct{ code, text string }

func (e *goodbye) Error() string { return e.text }

// newSession makes the session for a connection that was just accepted.
func newSession(srv *Server, conn net.Conn) *session {
	s := &session{srv: srv, track: listen.Of(conn), began: time.Now(), trace: observe.NewTrace()}
	s.loginBy = s.began.Add(srv.limits.LoginTime)
	s.remote = s.track.RemoteIP()
	s.in = &lexer{bounds: boundsBeforeLogin}
	s.use(conn)
	return s
}

// use goes on with another connection, with nothing of the old one's input.
func (s *session) use(conn net.Conn) {
	s.conn = conn
	_, s.secure = conn.(*tls.Conn)
	s.in.r = bufio.NewReader((*reader)(s))
	s.out = bufio.NewWriter((*writer)(s))
}

func (s *session) state() state {
	if s.user == nil {
		return beforeLogin
	}
	return afterLogin
}

// reader reads from the session's connection. It is where a session waits: replies
// are sent before, and the end of the server wakes it between commands.
type reader session

func (r *reader) Read(p []byte) (int, error) {
	s := (*session)(r)
	if err := s.out.Flush(); err != nil {
		return 0, err
	}
	l, now := s.srv.limits, time.Now()
	deadline := now.Add(l.Stall)
	if !s.in.begun && s.user != nil {
		deadline = now.Add(l.Idle)
	}
	if s.user == nil && deadline.After(s.loginBy) {
		deadline = s.loginBy
	}
	if err := s.conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	s.track.SetIdle(!s.in.begun)
	defer s.track.SetIdle(false)
	return s.conn.Read(p)
}

// writer writes to the session's connection. Each write has the stall limit to
// itself: a long script to a slow client may take its time as long as it moves.
type writer session

func (w *writer) Write(p []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.srv.limits.Stall)); err != nil {
		return 0, err
	}
	return w.conn.Write(p)
}

// serve is the life of the connection.
func (s *session) serve() {
	s.srv.metrics.connections.Inc()
	defer s.srv.metrics.connections.Dec()
	err := s.run()
	s.signOff()
	s.goodbye(err)
	s.conn.Close()
	s.logEnd(err)
}

// run greets and serves commands until the end, which is always an error. A panic
// ends this connection only.
func (s *session) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.srv.metrics.panics.Inc()
			s.logger().Error("managesieve session panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = &goodbye{"TRYLATER", "Internal error, see the server's log"}
		}
	}()
	s.writeCapabilities()
	ok("", s.srv.options.Hostname+" mailsrvd ready.").write(s.out)
	for {
		if err := s.next(); err != nil {
			return err
		}
	}
}

// goodbye says BYE where the client has not been told and may still hear it.
func (s *session) goodbye(err error) {
	bye := reply{word: "BYE"}
	end, told := errors.AsType[*goodbye](err)
	switch {
	case told:
		bye.code, bye.text = end.code, end.text
	case errors.Is(err, errLost):
		bye.text = "The end of the command cannot be found, or it is too long"
	case errors.Is(err, errShutdown), errors.Is(err, os.ErrDeadlineExceeded) && s.track.Draining():
		bye.code, bye.text = "TRYLATER", "Server is shutting down"
	case errors.Is(err, os.ErrDeadlineExceeded):
		bye.text = "Disconnected for inactivity"
	}
	if bye.text != "" {
		bye.write(s.out)
	}
	if s.out.Flush() == nil && errors.Is(err, errLost) {
		// What the client is still sending: closing a socket with unread input
		// would make the kernel drop the BYE.
		s.conn.SetReadDeadline(time.Now().Add(time.Second))
		io.CopyN(io.Discard, s.conn, 1<<20)
	}
}

// logEnd writes the one line of the session. Who has not logged in is a port scan
// more often than not.
func (s *session) logEnd(err error) {
	reason := err.Error()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		reason = "disconnected"
	}
	level := slog.LevelInfo
	if s.account.Name == "" {
		level = slog.LevelDebug
	}
	s.logger().Log(context.Background(), level, "managesieve session ended", "dur", time.Since(s.began), "commands", s.counts.commands, "reason", reason)
}

// logger returns the log with what names this session.
func (s *session) logger() *slog.Logger {
	remote := "-"
	if s.remote.IsValid() {
		remote = s.remote.String()
	}
	return s.srv.log.With("trace", s.trace, "proto", "managesieve", "remote", remote, "user", s.account.Name)
}
