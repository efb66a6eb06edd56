package smtpd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/internal/listen"
)

// Server serves one Mode on any number of listeners. It is safe for concurrent
// use.
type Server struct {
	o       Options
	domains map[string]bool // lower case
	smtp    *smtp.Server
	metrics *metrics

	ctx    context.Context // of all work; ends when Shutdown loses patience
	cancel context.CancelFunc

	listeners listen.Group
}

// New returns a Server, or all that Options.Check finds wrong.
func New(o Options) (*Server, error) {
	if err := o.Check(context.Background()); err != nil {
		return nil, err
	}
	s := &Server{o: o.withDefaults(), domains: make(map[string]bool)}
	for _, d := range s.o.Domains {
		s.domains[strings.ToLower(d)] = true
	}
	s.metrics = newMetrics(s.o.Registerer, s.o.Mode)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.smtp = s.engine()
	return s, nil
}

// engine sets go-smtp up. It has no timeouts, no limit of lines and no TLS: the
// wire has them. AllowInsecureAuth, since it never sees TLS: the session
// refuses.
func (s *Server) engine() *smtp.Server {
	e := smtp.NewServer(smtp.BackendFunc(s.newSession))
	e.Domain = s.o.Hostname
	e.LMTP = s.o.Mode == LMTP
	e.MaxRecipients = s.o.Limits.Recipients
	e.MaxMessageBytes = s.o.Limits.MessageSize
	e.MaxLineLength = 0
	e.AllowInsecureAuth = true
	e.EnableSMTPUTF8 = true
	e.EnableREQUIRETLS = true
	e.EnableDSN = true
	e.ErrorLog = engineLog{s.o.Logger}
	return e
}

// Serve accepts from l until it is closed or Shutdown is called, and then
// returns nil; connections may outlive it, Shutdown waits for them. When ctx
// ends, it stops accepting and ends all connections by force. If l is no
// *listen.Listener, it is wrapped into one without limits.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	tracked, ok := l.(*listen.Listener)
	if !ok {
		tracked = listen.New(l, listen.Options{Name: s.o.Mode.String(), Logger: s.o.Logger})
	}
	if !s.listeners.Add(tracked) {
		tracked.Close()
		return nil
	}
	defer context.AfterFunc(ctx, func() {
		s.cancel()
		tracked.Drain(ctx)
	})()
	err := s.smtp.Serve(&wireListener{Listener: tracked, server: s})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown stops accepting, says 421 to clients that wait between messages and
// lets running transactions end. When ctx ends first, the work is cancelled,
// the connections are closed, and the error says how many there were.
func (s *Server) Shutdown(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	if err := s.listeners.Drain(ctx); err != nil {
		return fmt.Errorf("shutting down %s: %w", s.o.Mode, err)
	}
	return nil
}

// Refusal is the line for listen.Options.Refusal: what a client over a limit
// hears in place of the greeting.
func Refusal(hostname string) string {
	return "421 4.7.0 " + hostname + " Too many connections, try again later\r\n"
}

// wireListener gives go-smtp its connections.
type wireListener struct {
	*listen.Listener
	server *Server
}

// Accept implements net.Listener.
func (l *wireListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.server.newWire(c), nil
}

// isLocal reports whether the domain is one of ours.
func (s *Server) isLocal(domain string) bool { return s.domains[strings.ToLower(domain)] }
