package managesieve

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"svc.plus/mailsrvd/auth"
)

// mechanisms are the SASL mechanisms that are offered now: none in the clear, which
// keeps clients from trying.
func (s *session) mechanisms() []string {
	if !s.secure && !s.srv.options.InsecureAuth {
		return nil
	}
	return []string{"PLAIN", "LOGIN"}
}

// authenticate runs AUTHENTICATE (RFC 5804 section 2.1).
func (s *session) authenticate(args []word) reply {
	offered := s.mechanisms()
	if len(offered) == 0 {
		return no("ENCRYPT-NEEDED", "Log in under TLS only")
	}
	name := strings.ToUpper(string(args[0].text))
	if !slices.Contains(offered, name) {
		return no("", "Unsupported authentication mechanism")
	}
	mechanism := auth.NewPlain(s.verify)
	if name == "LOGIN" {
		mechanism = auth.NewLogin(s.verify)
	}
	var response []byte
	if len(args) > 1 {
		var err error
		if response, err = decodeResponse(args[1].text); err != nil {
			return s.refuse(err)
		}
	}
	for {
		challenge, done, err := mechanism.Next(response)
		if err != nil || done {
			return s.loggedIn(err)
		}
		if response, err = s.challenge(challenge); err != nil {
			if wrong, is := errors.AsType[*syntaxError](err); is {
				return no("", wrong.text)
			}
			return reply{word: "NO", text: "There was no response", then: func() error { return err }}
		}
	}
}

// challenge sends a challenge and returns the client's response. Another error
// than a syntaxError is the connection's.
func (s *session) challenge(challenge []byte) ([]byte, error) {
	s.out.WriteString(quote(base64.StdEncoding.EncodeToString(challenge)) + "\r\n")
	words, err := s.in.command()
	switch {
	case err != nil:
		return nil, err
	case len(words) != 1 || words[0].kind != text:
		return nil, &syntaxError{text: "The response must be one string"}
	case string(words[0].text) == "*":
		return nil, &syntaxError{text: "Authentication cancelled"}
	}
	return decodeResponse(words[0].text)
}

// decodeResponse decodes a SASL response; "=" is an empty one, as the empty string
// is.
func decodeResponse(b []byte) ([]byte, error) {
	if string(b) == "=" {
		return []byte{}, nil
	}
	response := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Decode(response, b)
	if err != nil {
		return nil, &syntaxError{text: "Invalid base64 in the response"}
	}
	return response[:n], nil
}

// verify checks a login. It takes as long as it takes, with nothing locked.
func (s *session) verify(login, password string) error {
	account, err := s.srv.options.Auth.Authenticate(s.srv.ctx, auth.Credentials{
		Login: login, Password: password, Remote: s.remote, Service: "managesieve", TLS: s.secure,
	})
	if err == nil {
		s.account = account
	}
	return err
}

// loggedIn ends a login that verify has judged. The capabilities are not told
// anew: RFC 5804 section 2.1 wants that after a security layer alone, and no
// mechanism of ours brings one.
func (s *session) loggedIn(err error) reply {
	if err != nil {
		return s.refused(err)
	}
	if s.user = s.srv.enter(s.account.Name); s.user == nil {
		s.account = auth.Account{}
		return no("TRYLATER", "Too many connections of this user")
	}
	s.scripts = &store{owner: s.account.Owner, turn: s.user.turn, most: s.srv.limits.Scripts, log: s.logger()}
	s.in.bounds = boundsAfterLogin(s.srv.language().Limits.ScriptSize)
	s.counts.failures = 0
	s.srv.metrics.loggedIn.Inc()
	return ok("", "Logged in.")
}

// refused answers a failed login, and ends the connection after too many.
func (s *session) refused(err error) reply {
	failure := auth.AsError(err)
	r := no("", failure.Text())
	if failure.Kind == auth.Unavailable || failure.Kind == auth.Throttled {
		r.code = "TRYLATER"
	}
	if errors.Is(err, sasl.ErrUnexpectedClientResponse) {
		r = no("", "Unexpected response")
	}
	if s.counts.failures++; s.counts.failures >= s.srv.limits.LoginFailures {
		r.then = func() error { return &goodbye{text: "Too many failed logins"} }
	}
	return r
}

// signOff undoes loggedIn.
func (s *session) signOff() {
	if s.user == nil {
		return
	}
	s.user = nil
	s.srv.metrics.loggedIn.Dec()
	s.srv.leave(s.account.Name)
}
