package managesieve

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/lda/sieve"
)

// state is where a session stands; both may be joined.
type state uint8

const (
	beforeLogin state = 1 << iota
	afterLogin
	anyState = beforeLogin | afterLogin
)

// command is a row of the command table.
type command struct {
	states state
	// args has a letter for each argument, see kind; those after "?" may be left
	// out.
	args string
	run  func(*session, []word) reply
}

// commandTable is every command of the server, by name in capitals (RFC 5804
// section 2).
func commandTable() map[string]command {
	return map[string]command{
		"CAPABILITY": {anyState, "", (*session).capability},
		"NOOP":       {anyState, "?t", (*session).noop},
		"LOGOUT":     {anyState, "", (*session).logout},

		"STARTTLS":     {beforeLogin, "", (*session).startTLS},
		"AUTHENTICATE": {beforeLogin, "t?t", (*session).authenticate},

		"HAVESPACE":      {afterLogin, "tn", (*session).haveSpace},
		"PUTSCRIPT":      {afterLogin, "tt", (*session).putScript},
		"CHECKSCRIPT":    {afterLogin, "t", (*session).checkScript},
		"LISTSCRIPTS":    {afterLogin, "", (*session).listScripts},
		"SETACTIVE":      {afterLogin, "t", (*session).setActive},
		"GETSCRIPT":      {afterLogin, "t", (*session).getScript},
		"DELETESCRIPT":   {afterLogin, "t", (*session).deleteScript},
		"RENAMESCRIPT":   {afterLogin, "tt", (*session).renameScript},
		"UNAUTHENTICATE": {afterLogin, "", (*session).unauthenticate},
	}
}

// next reads one command and answers it. An error ends the connection.
func (s *session) next() error {
	if s.track.Draining() {
		return errShutdown
	}
	words, err := s.in.command()
	var wrong *syntaxError
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	s.counts.commands++
	name := "unknown"
	c, err := s.lookUp(words)
	if err == nil {
		name = strings.ToUpper(string(words[0].text))
	}
	if wrong != nil {
		err = wrong
	}
	if err != nil {
		s.counts.bad++
		s.srv.metrics.commands.WithLabelValues(name, "no").Inc()
		s.refuse(err).write(s.out)
		if s.counts.bad >= s.badLimit() {
			return &goodbye{text: "Too many invalid commands"}
		}
		return nil
	}
	s.counts.bad = 0
	r := c.run(s, words[1:])
	s.srv.metrics.commands.WithLabelValues(name, strings.ToLower(r.word)).Inc()
	r.write(s.out)
	if r.then != nil {
		return r.then()
	}
	return nil
}

// lookUp finds the command that words call, if it is allowed now and they have its
// form.
func (s *session) lookUp(words []word) (command, error) {
	if len(words) == 0 || words[0].kind != atom {
		return command{}, &syntaxError{text: "There is no command"}
	}
	c, known := s.srv.commands[strings.ToUpper(string(words[0].text))]
	switch {
	case !known:
		return command{}, &syntaxError{text: "Unknown command"}
	case c.states&s.state() == 0 && s.user == nil:
		return command{}, &refusal{"", "Log in first"}
	case c.states&s.state() == 0:
		return command{}, &refusal{"", "You are logged in already"}
	}
	return c, c.check(words[1:])
}

// check compares arguments with what the command takes.
func (c command) check(words []word) error {
	needed, optional, _ := strings.Cut(c.args, "?")
	all := needed + optional
	switch {
	case len(words) < len(needed):
		return &syntaxError{text: "Too few arguments"}
	case len(words) > len(all):
		return &syntaxError{text: "Too many arguments"}
	}
	for i, w := range words {
		if w.kind == kind(all[i]) {
			continue
		}
		if kind(all[i]) == number {
			return &syntaxError{text: "Argument " + strconv.Itoa(i+1) + " must be a number"}
		}
		return &syntaxError{text: "Argument " + strconv.Itoa(i+1) + " must be a string, in quotes or as a literal"}
	}
	return nil
}

// badLimit is how many bad commands are borne: few from a client that has not
// logged in, which may be none of ManageSieve at all.
func (s *session) badLimit() int {
	if s.user == nil {
		return min(s.srv.limits.BadCommands, 5)
	}
	return s.srv.limits.BadCommands
}

// refuse is the reply to an error. What is no business of the client's goes to the
// log.
func (s *session) refuse(err error) reply {
	if e, ok := errors.AsType[*refusal](err); ok {
		return no(e.code, e.text)
	}
	if e, ok := errors.AsType[*syntaxError](err); ok {
		return no(e.code, e.text)
	}
	if e, ok := errors.AsType[sieve.Problems](err); ok {
		return no("", told(e))
	}
	s.logger().Warn("managesieve: the scripts cannot be reached", "err", err)
	return no("TRYLATER", "The scripts cannot be reached now; the server's log has the reason")
}

// capability runs CAPABILITY (RFC 5804 section 2.4).
func (s *session) capability([]word) reply {
	s.writeCapabilities()
	return ok("", "Capability completed.")
}

// writeCapabilities writes what RFC 5804 section 1.7 lists, of the moment.
func (s *session) writeCapabilities() {
	line := func(words ...string) {
		for i, w := range words {
			if i > 0 {
				s.out.WriteByte(' ')
			}
			s.out.WriteString(quote(w))
		}
		s.out.WriteString("\r\n")
	}
	language := s.srv.language()
	line("IMPLEMENTATION", "mailsrvd")
	line("SASL", strings.Join(s.mechanisms(), " "))
	line("SIEVE", strings.Join(language.Extensions(), " "))
	line("MAXREDIRECTS", strconv.Itoa(max(0, language.Limits.Redirects)))
	if s.srv.options.TLS != nil && !s.secure {
		line("STARTTLS")
	}
	if s.user != nil {
		line("OWNER", s.account.Name)
	}
	line("UNAUTHENTICATE")
	line("VERSION", "1.0")
}

// noop runs NOOP (RFC 5804 section 2.13).
func (s *session) noop(args []word) reply {
	if len(args) == 0 {
		return ok("", "NOOP completed.")
	}
	return ok("TAG "+quote(string(args[0].text)), "Done")
}

// logout runs LOGOUT (RFC 5804 section 2.3).
func (s *session) logout([]word) reply {
	r := ok("", "Logout completed.")
	r.then = func() error { return errLogout }
	return r
}

// startTLS runs STARTTLS (RFC 5804 section 2.2).
func (s *session) startTLS([]word) reply {
	switch {
	case s.secure:
		return no("", "TLS is active already")
	case s.srv.options.TLS == nil:
		return no("", "TLS is not configured")
	}
	r := ok("", "Begin TLS negotiation now.")
	r.then = s.upgrade
	return r
}

// upgrade puts TLS on the connection, and tells the capabilities again. What the
// client has sent behind STARTTLS was in the clear and is dropped (CVE-2011-0411
// and its kin).
func (s *session) upgrade() error {
	if err := s.out.Flush(); err != nil {
		return err
	}
	if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	t, err := listen.Upgrade(s.srv.ctx, s.conn, s.srv.options.TLS, s.srv.limits.Handshake)
	if err != nil {
		return err
	}
	s.use(t)
	s.writeCapabilities()
	ok("", "TLS negotiation successful.").write(s.out)
	return nil
}

// unauthenticate runs UNAUTHENTICATE (RFC 5804 section 2.14): back to the state
// after the greeting, TLS kept.
func (s *session) unauthenticate([]word) reply {
	s.logger().Info("managesieve user unauthenticated")
	s.signOff()
	s.account, s.scripts = auth.Account{}, nil
	s.in.bounds = boundsBeforeLogin
	s.loginBy = time.Now().Add(s.srv.limits.LoginTime)
	return ok("", "Unauthenticated.")
}
