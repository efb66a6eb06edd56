package smtpd

import (
	"github.com/emersion/go-sasl"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/status"
)

// AuthMechanisms implements smtp.AuthSession: what EHLO announces (RFC 4954).
func (s *session) AuthMechanisms() []string {
	if s.server.o.Mode != Submission || s.wire.tls == nil {
		return nil
	}
	return []string{"PLAIN", "LOGIN"}
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	switch {
	case s.server.o.Mode != Submission:
		return nil, reply(status.New(502, 5, 1, "AUTH is not offered"))
	case s.wire.tls == nil:
		return nil, reply(status.New(538, 7, 11, "Encryption required for authentication"))
	case s.open() != nil:
		return nil, reply(status.New(503, 5, 1, "AUTH is not allowed during a mail transaction"))
	}
	switch mechanism {
	case "PLAIN":
		return &saslServer{s, auth.NewPlain(s.login)}, nil
	case "LOGIN":
		return &saslServer{s, auth.NewLogin(s.login)}, nil
	}
	return nil, reply(status.New(504, 5, 4, "Unrecognized authentication mechanism"))
}

// login is the end of either mechanism.
func (s *session) login(name, password string) error {
	account, err := s.server.o.Auth.Authenticate(s.wire.ctx, auth.Credentials{
		Login:    name,
		Password: password,
		Remote:   s.wire.remote,
		Service:  "submission",
		TLS:      s.wire.tls != nil,
	})
	if err != nil {
		return err
	}
	s.wire.account = account.Name
	return nil
}

// saslServer turns the errors of a mechanism into replies, and counts them.
type saslServer struct {
	session *session
	sasl.Server
}

// Next implements sasl.Server.
func (s *saslServer) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, done, err = s.Server.Next(response)
	if err == nil {
		return challenge, done, nil
	}
	return nil, true, s.session.authFailed(auth.AsError(err))
}

// authFailed ends the connection after a few wrong passwords; the throttle of
// package auth remembers them beyond it.
func (s *session) authFailed(e *auth.Error) error {
	if !e.Temporary() {
		s.authFailures++
	}
	if s.authFailures >= s.server.o.Limits.AuthFailures {
		s.wire.hangUp("421 4.7.0 Too many failed logins")
	}
	return reply(e.Status())
}
