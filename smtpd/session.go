package smtpd

import (
	"crypto/tls"
	"net/netip"
	"sync"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/observe"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/smtpd/inbound"
)

// session is the policy of one connection, called by go-smtp.
type session struct {
	server *Server
	wire   *wire

	authFailures int // of this connection
	unknown      int // recipients that do not exist

	client *inbound.Client // what is known of a stranger, from the first MAIL on; nil if nothing

	mu sync.Mutex   // guards tx: with BDAT, Data runs beside the reader of commands
	tx *transaction // from MAIL to RSET or the end of DATA; nil outside
}

// transaction is one message from MAIL on. It belongs to the goroutine that
// took it; nobody changes it after that.
type transaction struct {
	peer       peer
	env        message.Envelope // without Recipients
	size       int64            // as MAIL has announced it; 0 if it has not
	recipients []recipient
	checks     []any // results of inbound checks, for the log
}

// peer is what was known of the client when it sent MAIL. With BDAT, the wire
// may learn more while the message is still being delivered.
type peer struct {
	account  string
	uid      int
	helo     string
	extended bool
	tls      *tls.ConnectionState
	remote   netip.Addr
}

// recipient is one accepted RCPT.
type recipient struct {
	message.Recipient
	key   string // as go-smtp knows it, for LMTP's statuses
	route message.Route
}

// maySend reports whether the client may use the address as sender.
func (s *Server) maySend(p peer, a address) bool {
	switch {
	case !s.o.Mode.submits():
		return true
	case s.o.Mode == Local && p.uid == 0:
		return true
	}
	return s.o.SenderAllowed(p.account, a.folded())
}

// newSession is called by go-smtp at the first EHLO.
func (s *Server) newSession(c *smtp.Conn) (smtp.Session, error) {
	w := c.Conn().(*wire)
	return &session{server: s, wire: w}, nil
}

// Reset implements smtp.Session: RSET, EHLO, the end of a message.
func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx = nil
	s.wire.message = false
}

// Logout implements smtp.Session. The wire ends the connection.
func (s *session) Logout() error {
	s.client.Close()
	return nil
}

// begin opens a transaction.
func (s *session) begin(env message.Envelope, p peer, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	env.Trace = observe.NewTrace()
	s.tx = &transaction{env: env, size: size, peer: p}
	s.wire.message = true
}

// open is the transaction that RCPT adds to, or nil.
func (s *session) open() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx
}

// take hands the transaction over to the goroutine that reads its message.
func (s *session) take() (*transaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tx == nil || len(s.tx.recipients) == 0 {
		return nil, reply(status.New(503, 5, 1, "No valid recipients"))
	}
	return s.tx, nil
}

// reply gives go-smtp the error type that it passes on faithfully; any other
// would become a permanent failure with Go's text.
func reply(err error) error {
	e := status.From(err)
	if e == nil {
		return nil
	}
	return &smtp.SMTPError{Code: e.Code, EnhancedCode: smtp.EnhancedCode(e.Enhanced), Message: e.Text}
}
