package smtpd

import (
	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// Mail implements smtp.Session: MAIL FROM (RFC 5321 section 4.1.1.2).
func (s *session) Mail(from string, o *smtp.MailOptions) error {
	return reply(s.mail(from, o))
}

func (s *session) mail(from string, o *smtp.MailOptions) error {
	if s.open() != nil {
		return status.New(503, 5, 1, "MAIL was given already")
	}
	if s.server.o.Mode == Submission && s.wire.account == "" {
		if s.wire.tls == nil {
			return status.New(530, 7, 0, "Must issue a STARTTLS command first")
		}
		return status.New(530, 7, 0, "Authentication required")
	}
	if o.RequireTLS && s.wire.tls == nil && s.server.o.Mode != LMTP && s.server.o.Mode != Local {
		return status.New(530, 7, 10, "REQUIRETLS needs TLS") // RFC 8689 section 4.2
	}
	env := message.Envelope{
		User:       s.wire.account,
		Trusted:    s.server.o.Mode.submits(),
		EightBit:   o.Body == smtp.Body8BitMIME,
		SMTPUTF8:   o.UTF8,
		RequireTLS: o.RequireTLS,
		Ret:        string(o.Return),
		EnvID:      o.EnvelopeID,
	}
	w := s.wire
	env.ReleaseAt, env.DeliverBy = w.times.release, w.times.by
	p := peer{w.account, w.uid, w.helo, w.extended, w.tls, w.remote}
	if err := s.reversePath(&env, p, from); err != nil {
		return err
	}
	if i := s.server.o.Inbound; i != nil && s.client == nil {
		s.client = i.Client(w.ctx, w.remote, w.track.Allowed())
	}
	s.begin(env, p, o.Size)
	return nil
}

// reversePath checks the address and sets it.
func (s *session) reversePath(env *message.Envelope, p peer, from string) error {
	if from == "" {
		return nil // the null reverse-path, RFC 5321 section 4.5.5
	}
	a, err := parseAddress(from)
	if err != nil {
		return status.Wrap(err, 501, 1, 7, "Bad sender address: "+err.Error())
	}
	if !a.ascii() && !env.SMTPUTF8 {
		return status.New(553, 6, 7, "The sender address needs SMTPUTF8")
	}
	env.ReversePath = a.String()
	if !s.server.maySend(p, a) {
		return status.New(553, 7, 1, "<"+env.ReversePath+">: not a sender address of this user")
	}
	return nil
}
