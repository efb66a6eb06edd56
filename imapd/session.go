package imapd

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/maildir"
)

// session is the state of one connection. Only its own goroutine touches it,
// except wake and raw.
type session struct {
	// For the life of the connection.
	srv    *Server
	raw    net.Conn // as it was accepted; Shutdown closes it
	began  time.Time
	trace  string     // names the session in the log
	remote netip.Addr // invalid for a local socket
	wake   waker
	counts struct {
		commands int
		bad      int // in a row
		failures int // of login
		out      int64
	}

	// Until STARTTLS or COMPRESS replaces them.
	conn   net.Conn
	secure bool // by TLS
	dec    *wire.Decoder
	enc    *wire.Encoder
	// deflate is in the encoder's way with COMPRESS.
	deflate *deflater

	// then is run once the tagged reply of the command at hand is written.
	then func() error
	// pushes are the reasons, beside the end of the server, to interrupt a wait
	// for the client: IDLE, which idling tells, and NOTIFY.
	pushes wakeReason
	idling bool
	// armed are those that may interrupt the read at hand.
	armed wakeReason

	// loginBy is when a client that has not logged in has had its time.
	loginBy time.Time

	// What is offered: to everybody, and from login on to this user.
	*profile

	// From login on, until UNAUTHENTICATE.
	state   state
	account auth.Account
	store   *maildir.Store
	enabled enabled
	note    *notification // NOTIFY; nil without

	// From SELECT on.
	view *view
}

// enabled is what ENABLE, or a command that implies it, has switched on (RFC
// 5161).
type enabled struct {
	rev2      bool // IMAP4rev2
	utf8      bool // UTF8=ACCEPT
	condstore bool
	qresync   bool // implies condstore
	uidOnly   bool // UIDONLY
}

// errLogout ends a session that the client has ended.
var errLogout = errors.New("logout")

// noop runs NOOP (RFC 9051 section 6.1.2).
func (s *session) noop(*call) error { return s.dec.End() }

// logout runs LOGOUT (RFC 9051 section 6.1.3).
func (s *session) logout(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.status("*", "BYE", "", "Logging out")
	s.then = func() error { return errLogout }
	return nil
}

// startTLS runs STARTTLS (RFC 9051 section 6.2.1).
func (s *session) startTLS(*call) error {
	switch err := s.dec.End(); {
	case err != nil:
		return err
	case s.secure:
		return bad("TLS is active already")
	case s.srv.options.TLS == nil:
		return no("UNAVAILABLE", "TLS is not configured")
	}
	s.then = s.upgrade
	return nil
}

// upgrade puts TLS on the connection. What the client has sent behind STARTTLS
// was in the clear and is dropped (CVE-2011-0411 and its kin).
func (s *session) upgrade() error {
	if err := s.enc.Flush(); err != nil {
		return err
	}
	if err := s.wake.arm(0, time.Time{}); err != nil {
		return err
	}
	s.dec.Replace(nil)
	t, err := listen.Upgrade(s.srv.ctx, s.conn, s.srv.options.TLS, s.srv.limits.Handshake)
	if err != nil {
		return err
	}
	s.conn, s.secure = t, true
	s.wake.use(t)
	s.dec.Replace((*connReader)(s))
	return nil
}
