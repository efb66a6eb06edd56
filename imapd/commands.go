package imapd

import (
	"errors"

	"github.com/emersion/go-imap/v2"
	"github.com/prometheus/client_golang/prometheus"

	"svc.plus/mailsrvd/imapd/wire"
)

// state is where a session stands (RFC 9051 section 3); several may be joined.
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selected

	loggedIn = authenticated | selected
	anyState = notAuthenticated | loggedIn
)

// flags of a command tell what else may happen while it runs.
type flags uint8

const (
	// usesSeq: its arguments or answers hold sequence numbers, so that none may
	// change: EXPUNGE waits (RFC 9051 section 7.5.1).
	usesSeq flags = 1 << iota
	// takesSeq: its arguments are sequence numbers, which UIDONLY forbids.
	takesSeq
	// quiet: the mailbox says nothing at its end: it is about to change, or
	// none is open.
	quiet
	// looks: look for changes that others made on disk, before reporting.
	looks
	// slow: it may take long, so that earlier answers are flushed first.
	slow
)

// commandRow is a row of the command table.
type commandRow struct {
	name       string
	states     state
	flags      flags
	capability string // without which it is unknown; "" is always there
	run        func(*session, *call) error
}

// command is a row with what every answer needs, made once.
type command struct {
	commandRow
	done        string // the text of OK
	ok, no, bad prometheus.Counter
}

// prepare fills in what every answer needs.
func (c *command) prepare(m *metrics) {
	c.done = c.name + " completed."
	c.ok = m.commands.WithLabelValues(c.name, "ok")
	c.no = m.commands.WithLabelValues(c.name, "no")
	c.bad = m.commands.WithLabelValues(c.name, "bad")
}

// call is one command of a client as it runs.
type call struct {
	*command
	tag string
	uid bool // the UID form

	// What the tagged OK says, beside "done".
	code, text string
}

// ok sets what the tagged OK says.
func (c *call) ok(code, text string) { c.code, c.text = code, text }

// commandTable is every command of the server, by name.
func commandTable(caps *capabilities, m *metrics) map[string]*command {
	table := make(map[string]*command)
	for _, row := range []commandRow{
		{"CAPABILITY", anyState, 0, "", (*session).capability},
		{"NOOP", anyState, looks, "", (*session).noop},
		{"LOGOUT", anyState, quiet, "", (*session).logout},
		{"ID", anyState, 0, "ID", (*session).id},

		{"STARTTLS", notAuthenticated, quiet, "", (*session).startTLS},
		{"LOGIN", notAuthenticated, quiet | slow, "", (*session).login},
		{"AUTHENTICATE", notAuthenticated, quiet | slow, "", (*session).authenticate},

		{"COMPRESS", loggedIn, quiet, "COMPRESS=DEFLATE", (*session).compress},
		{"ENABLE", loggedIn, 0, "ENABLE", (*session).enable},
		{"NAMESPACE", loggedIn, 0, "NAMESPACE", (*session).namespace},
		{"LIST", loggedIn, 0, "", (*session).list},
		{"LSUB", loggedIn, 0, "", (*session).lsub},
		{"SUBSCRIBE", loggedIn, 0, "", (*session).subscribe},
		{"UNSUBSCRIBE", loggedIn, 0, "", (*session).unsubscribe},
		{"CREATE", loggedIn, 0, "", (*session).create},
		{"DELETE", loggedIn, 0, "", (*session).delete},
		{"RENAME", loggedIn, 0, "", (*session).rename},
		{"STATUS", loggedIn, 0, "", (*session).statusMailbox},
		{"SELECT", loggedIn, quiet, "", (*session).selectMailbox},
		{"EXAMINE", loggedIn, quiet, "", (*session).examine},
		{"GETQUOTA", loggedIn, slow, "QUOTA", (*session).getQuota},
		{"GETQUOTAROOT", loggedIn, slow, "QUOTA", (*session).getQuotaRoot},
		{"SETQUOTA", loggedIn, 0, "QUOTA", (*session).setQuota},
		{"GETMETADATA", loggedIn, 0, "METADATA", (*session).getMetadata},
		{"SETMETADATA", loggedIn, 0, "METADATA", (*session).setMetadata},
		{"MYRIGHTS", loggedIn, 0, "LIST-MYRIGHTS", (*session).myRights},
		{"APPEND", loggedIn, 0, "", (*session).append},
		{"IDLE", loggedIn, looks, "IDLE", (*session).idle},

		{"CHECK", selected, looks, "", (*session).check},
		{"CLOSE", selected, quiet, "", (*session).closeMailbox},
		{"UNSELECT", selected, quiet, "UNSELECT", (*session).unselect},
		{"EXPUNGE", selected, 0, "", (*session).expunge},
		{"UID EXPUNGE", selected, 0, "UIDPLUS", (*session).uidExpunge},
		{"FETCH", selected, usesSeq | takesSeq, "", (*session).fetch},
		{"UID FETCH", selected, 0, "", (*session).fetch},
		{"STORE", selected, usesSeq | takesSeq, "", (*session).storeFlags},
		{"UID STORE", selected, 0, "", (*session).storeFlags},
		{"SEARCH", selected, usesSeq | takesSeq, "", (*session).search},
		{"UID SEARCH", selected, 0, "", (*session).search},
		{"SORT", selected, usesSeq | takesSeq, "SORT", (*session).sort},
		{"UID SORT", selected, 0, "SORT", (*session).sort},
		{"CANCELUPDATE", selected, 0, "CONTEXT=SEARCH", (*session).cancelUpdate},
		{"THREAD", selected, usesSeq | takesSeq, "THREAD=REFERENCES", (*session).thread},
		{"UID THREAD", selected, 0, "THREAD=REFERENCES", (*session).thread},
		{"COPY", selected, takesSeq, "", (*session).copyMessages},
		{"UID COPY", selected, 0, "", (*session).copyMessages},
		{"REPLACE", selected, takesSeq, "REPLACE", (*session).replace},
		{"UID REPLACE", selected, 0, "REPLACE", (*session).replace},
		{"MOVE", selected, takesSeq, "MOVE", (*session).moveMessages},
		{"UID MOVE", selected, 0, "MOVE", (*session).moveMessages},

		{"NOTIFY", loggedIn, slow, "NOTIFY", (*session).notify},
		{"UNAUTHENTICATE", loggedIn, quiet, "UNAUTHENTICATE", (*session).unauthenticate},
	} {
		if row.capability == "" || caps.on(row.capability) {
			c := &command{commandRow: row}
			c.prepare(m)
			table[c.name] = c
		}
	}
	return table
}

// next reads one command and answers it. An error ends the connection.
func (s *session) next() error {
	if err := s.dec.Start(); err != nil {
		return err
	}
	s.wake.disarm()
	s.counts.commands++
	tag := s.dec.Tag()
	if s.dec.Err() != nil {
		return s.reject("*", s.srv.unknown, s.dec.Err())
	}
	c, err := s.lookUp(tag)
	if err != nil {
		return s.reject(tag, s.srv.unknown, err)
	}
	if c.flags&slow != 0 {
		if err := s.enc.Flush(); err != nil {
			return err
		}
	}
	return s.finish(c, c.run(s, c))
}

// lookUp parses the name of a command and finds it, if it is allowed now.
func (s *session) lookUp(tag string) (*call, error) {
	s.dec.SP()
	name := s.dec.Word()
	c := &call{tag: tag}
	if name == "UID" && s.state&loggedIn != 0 {
		s.dec.SP()
		name = s.dec.Word()
		c.uid = true
	}
	if err := s.dec.Err(); err != nil {
		return nil, err
	}
	key := name
	if c.uid {
		key = "UID " + name
	}
	c.command = s.commands[key]
	if c.command == nil {
		return nil, bad("Unknown command")
	}
	if c.states&s.state == 0 {
		return nil, bad("Command not allowed now: " + s.state.String())
	}
	if c.flags&takesSeq != 0 && s.enabled.uidOnly {
		return nil, errUIDRequired
	}
	return c, nil
}

func (st state) String() string {
	switch st {
	case notAuthenticated:
		return "log in first"
	case authenticated:
		return "no mailbox is selected"
	}
	return "already logged in"
}

// finish answers a command that has run, and reports what is new.
func (s *session) finish(c *call, err error) error {
	if err != nil {
		return s.reject(c.tag, c.command, err)
	}
	if err := s.dec.Discard(); err != nil {
		return err
	}
	s.counts.bad = 0
	if err := s.report(c); err != nil {
		return err
	}
	text := c.text
	if text == "" {
		text = c.done
	}
	c.command.ok.Inc()
	s.status(c.tag, "OK", c.code, text)
	return s.after()
}

// after runs what a handler has put off until its tagged reply is written.
func (s *session) after() error {
	then := s.then
	s.then = nil
	if then != nil {
		return then()
	}
	return s.enc.Err()
}

// reject answers a command that failed, or never ran.
func (s *session) reject(tag string, c *command, err error) error {
	if err := s.dec.Discard(); err != nil {
		return err
	}
	if err := s.enc.Err(); err != nil {
		return err
	}
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return fatal.cause
	}
	s.then = nil
	var last *lastError
	if errors.As(err, &last) {
		err = last.reply
	}
	answer := s.answer(err)
	if answer.Type == imap.StatusResponseTypeBad {
		c.bad.Inc()
		s.counts.bad++
	} else {
		c.no.Inc()
	}
	s.status(tag, string(answer.Type), string(answer.Code), answer.Text)
	if last != nil {
		return last.then
	}
	if s.counts.bad >= s.badLimit() {
		return &closeError{text: "Too many invalid commands"}
	}
	return s.enc.Err()
}

// badLimit is how many bad commands are borne: few from a client that has not
// logged in, which may be no mail client at all.
func (s *session) badLimit() int {
	if s.state == notAuthenticated {
		return min(s.srv.limits.BadCommands, 5)
	}
	return s.srv.limits.BadCommands
}

// answer turns any error of a handler into the reply.
func (s *session) answer(err error) *imap.Error {
	var reply *imap.Error
	var syntax *wire.SyntaxError
	switch {
	case errors.As(err, &reply):
		return reply
	case errors.As(err, &syntax) && syntax.TooBig:
		return &imap.Error{Type: imap.StatusResponseTypeBad, Code: imap.ResponseCodeTooBig, Text: syntax.Text}
	case errors.As(err, &syntax):
		return bad(syntax.Text)
	}
	return s.storeError(err)
}
