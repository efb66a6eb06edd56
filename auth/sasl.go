package auth

import (
	"bytes"
	"unicode/utf8"

	"github.com/emersion/go-sasl"
)

// maxResponse bounds one SASL response in bytes.
const maxResponse = 2*maxLogin + maxPassword + 2

// plainServer is the server of PLAIN (RFC 4616).
type plainServer struct {
	verify func(login, password string) error
	asked  bool // the empty challenge was sent
	done   bool
}

// NewPlain returns a server for one PLAIN exchange (RFC 4616) that gives login
// name and password to verify and passes its error on. Other failures are an
// *Error of kind Malformed or, for an authorization identity that is not the
// login name itself, Disabled. The empty first challenge is nil.
func NewPlain(verify func(login, password string) error) sasl.Server {
	return &plainServer{verify: verify}
}

// Next implements sasl.Server.
func (p *plainServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if p.done {
		return nil, true, sasl.ErrUnexpectedClientResponse
	}
	if response == nil && !p.asked {
		p.asked = true
		return nil, false, nil
	}
	p.done = true
	if len(response) > maxResponse {
		return nil, true, Fail(Malformed, "PLAIN: %d bytes are too many", len(response))
	}
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 {
		return nil, true, Fail(Malformed, "PLAIN: %d parts instead of 3", len(parts))
	}
	identity, login, password := string(parts[0]), string(parts[1]), string(parts[2])
	if err := checkResponse("PLAIN", login, password); err != nil {
		return nil, true, err
	}
	if identity != "" && identity != login {
		return nil, true, Fail(Disabled, "PLAIN: %q asks to act as %q", clip(login), clip(identity))
	}
	return nil, true, p.verify(login, password)
}

// loginServer is the server of LOGIN, as draft-murchison-sasl-login-00 describes it.
type loginServer struct {
	verify func(login, password string) error
	step   loginStep
	name   string
}

type loginStep int

const (
	loginStart loginStep = iota
	loginName
	loginPassword
	loginDone
)

// NewLogin returns a server for one exchange of LOGIN: user name and password
// in two responses. A user name as initial response is taken. Failures are as
// for NewPlain.
func NewLogin(verify func(login, password string) error) sasl.Server {
	return &loginServer{verify: verify}
}

// Next implements sasl.Server.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if len(response) > maxResponse {
		l.step = loginDone
		return nil, true, Fail(Malformed, "LOGIN: %d bytes are too many", len(response))
	}
	switch l.step {
	case loginStart:
		if response == nil {
			l.step = loginName
			return []byte("Username:"), false, nil
		}
		fallthrough
	case loginName:
		l.name, l.step = string(response), loginPassword
		return []byte("Password:"), false, nil
	case loginPassword:
		l.step = loginDone
		if err := checkResponse("LOGIN", l.name, string(response)); err != nil {
			return nil, true, err
		}
		return nil, true, l.verify(l.name, string(response))
	}
	return nil, true, sasl.ErrUnexpectedClientResponse
}

// checkResponse refuses what the mechanisms forbid (RFC 4616 section 2): empty
// names, text that is not UTF-8, NULs.
func checkResponse(mech, name, password string) error {
	switch {
	case name == "":
		return Fail(Malformed, "%s: the name is empty", mech)
	case len(name) > maxLogin:
		return Fail(Malformed, "%s: the name has %d bytes", mech, len(name))
	case !utf8.ValidString(name):
		return Fail(Malformed, "%s: the name is not UTF-8", mech)
	case bytes.ContainsRune([]byte(name), 0) || bytes.ContainsRune([]byte(password), 0):
		return Fail(Malformed, "%s: a NUL", mech)
	case len(password) > maxPassword:
		return Fail(Malformed, "%s: the password has %d bytes", mech, len(password))
	}
	return nil
}
