package imapd

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"svc.plus/mailsrvd/auth"
)

// mayLogIn refuses passwords in the clear, before one is asked for.
func (s *session) mayLogIn() error {
	if !s.secure && !s.srv.options.InsecureAuth {
		return no(imap.ResponseCodePrivacyRequired, "Log in under TLS only")
	}
	return nil
}

// login runs LOGIN (RFC 9051 section 6.2.3).
func (s *session) login(c *call) error {
	if err := s.mayLogIn(); err != nil {
		return err
	}
	s.dec.SP()
	user := s.dec.AString()
	s.dec.SP()
	password := s.dec.AString()
	if err := s.dec.End(); err != nil {
		return err
	}
	return s.loggedIn(c, s.verify(user, password))
}

// authenticate runs AUTHENTICATE (RFC 9051 section 6.2.2) with an initial
// response if there is one (RFC 4959).
func (s *session) authenticate(c *call) error {
	if err := s.mayLogIn(); err != nil {
		return err
	}
	s.dec.SP()
	name := s.dec.Word()
	var response []byte
	if s.dec.AcceptSP() {
		response = s.decodeResponse(s.dec.Rest())
	}
	if err := s.dec.End(); err != nil {
		return err
	}
	mechanism := s.mechanism(name)
	if mechanism == nil {
		return no(imap.ResponseCodeCannot, "Unsupported authentication mechanism")
	}
	for {
		challenge, done, err := mechanism.Next(response)
		if err != nil || done {
			return s.loggedIn(c, err)
		}
		if response, err = s.challenge(challenge); err != nil {
			return err
		}
	}
}

// mechanism returns the server's side of an exchange, or nil.
func (s *session) mechanism(name string) sasl.Server {
	switch {
	case !s.caps.mechanism(name):
		return nil
	case name == "PLAIN":
		return auth.NewPlain(s.verify)
	}
	return auth.NewLogin(s.verify)
}

// challenge sends a challenge and returns the client's response.
func (s *session) challenge(challenge []byte) ([]byte, error) {
	s.enc.Raw("+ ").Raw(base64.StdEncoding.EncodeToString(challenge)).CRLF()
	if err := s.dec.Start(); err != nil {
		return nil, &fatalError{err}
	}
	s.wake.disarm()
	line := s.dec.Rest()
	if string(line) == "*" {
		return nil, bad("Authentication cancelled")
	}
	if len(line) == 0 {
		return []byte{}, nil
	}
	response := s.decodeResponse(line)
	return response, s.dec.Err()
}

// decodeResponse decodes a SASL response; "=" is an empty one.
func (s *session) decodeResponse(line []byte) []byte {
	if string(line) == "=" {
		return []byte{}
	}
	response := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
	n, err := base64.StdEncoding.Decode(response, line)
	if err != nil || len(line) == 0 {
		s.dec.Failf("Invalid base64 in the response")
		return nil
	}
	return response[:n]
}

// verify checks a login. It takes as long as it takes, with nothing locked.
func (s *session) verify(login, password string) error {
	if err := s.enc.Flush(); err != nil {
		return err
	}
	account, err := s.srv.options.Auth.Authenticate(s.srv.ctx, auth.Credentials{
		Login: login, Password: password, Remote: s.remote, Service: "imap", TLS: s.secure,
	})
	if err == nil {
		s.account = account
	}
	return err
}

// loggedIn ends a login that verify has judged.
func (s *session) loggedIn(c *call, err error) error {
	if err != nil {
		return s.refused(err)
	}
	if !s.srv.enter(s.account.Name) {
		s.account = auth.Account{}
		return no(imap.ResponseCodeLimit, "Too many connections of this user")
	}
	s.store = s.srv.options.Stores.Store(s.account.Owner, s.account.MaildirPath(s.srv.options.Location))
	if err := s.store.Prepare(s.srv.ctx); err != nil {
		s.logger().Error("opening the mailboxes failed", "err", err)
		s.srv.leave(s.account.Name)
		s.store, s.account = nil, auth.Account{}
		return no(imap.ResponseCodeUnavailable, "The mailboxes cannot be opened now")
	}
	s.state, s.profile = authenticated, s.srv.profileOf(s.account.Name)
	s.counts.failures = 0
	s.srv.metrics.loggedIn.Inc()
	s.dec.SetLimits(limitsAfterLogin(s.srv.limits))
	c.ok("CAPABILITY "+s.capabilityList(), "Logged in")
	return nil
}

// refused answers a failed login, and ends the connection after too many.
func (s *session) refused(err error) error {
	if s.enc.Err() != nil {
		return s.enc.Err()
	}
	failure := auth.AsError(err)
	s.counts.failures++
	reply := no(imap.ResponseCode(failure.IMAPCode()), failure.Text())
	if failure.Kind == auth.Malformed {
		reply.Type = imap.StatusResponseTypeBad
	}
	if errors.Is(err, sasl.ErrUnexpectedClientResponse) {
		reply = bad("Unexpected response")
	}
	if s.counts.failures >= s.srv.limits.LoginFailures {
		return &lastError{reply: reply, then: &closeError{text: "Too many failed logins"}}
	}
	return reply
}

// signOff undoes loggedIn.
func (s *session) signOff() {
	if s.state == notAuthenticated {
		return
	}
	s.state = notAuthenticated
	s.srv.metrics.loggedIn.Dec()
	s.srv.leave(s.account.Name)
}

// unauthenticate runs UNAUTHENTICATE (RFC 8437): back to the state after the
// greeting, TLS kept.
func (s *session) unauthenticate(*call) error {
	if err := s.dec.End(); err != nil {
		return err
	}
	s.stopNotify()
	s.deselect()
	s.logger().Info("imap user unauthenticated")
	s.signOff()
	s.account, s.store, s.enabled, s.profile = auth.Account{}, nil, enabled{}, s.srv.profile
	s.enc.SetUTF8(false)
	s.dec.SetLimits(limitsBeforeLogin(s.srv.limits))
	s.loginBy = time.Now().Add(s.srv.limits.LoginTime)
	return nil
}

// fatalError ends the connection although a handler returned it.
type fatalError struct{ cause error }

func (e *fatalError) Error() string { return e.cause.Error() }
func (e *fatalError) Unwrap() error { return e.cause }

// lastError is a reply after which the connection ends.
type lastError struct {
	reply error
	then  error
}

func (e *lastError) Error() string { return fmt.Sprintf("%v, %v", e.reply, e.then) }
