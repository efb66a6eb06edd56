package relay

import (
	"errors"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/smtpd/relay/sevenbit"
)

// fitting is the message in the form that the host takes. That we cannot read it
// says nothing about the host, and nothing for good.
func (s *session) fitting(b *body) (*body, *failure) {
	if s.offersTo("8BITMIME") {
		return b, nil
	}
	seven, err := b.sevenBit()
	switch {
	case errors.Is(err, sevenbit.ErrStructure):
		return nil, lacking(s.remote, 554, 6, 3, "%s takes no 8-bit text (8BITMIME): %v", s.remote, err)
	case err != nil:
		return nil, &failure{err: status.Wrap(err, 451, 3, 0, "Local error, will try again"), remote: s.remote}
	}
	return seven, nil
}

// able checks what the message as a whole needs of the host, and tells whether
// the transaction must be one with SMTPUTF8 (RFC 6531).
func (s *session) able(env *message.Envelope, b *body, rcpts []message.Recipient) (utf8 bool, fail *failure) {
	if limit := s.offersSize(); limit > 0 && b.size > limit {
		return false, lacking(s.remote, 552, 3, 4, "%s takes messages of up to %d bytes; this one has %d", s.remote, limit, b.size)
	}
	if env.RequireTLS && !(s.secure && s.offersTo("REQUIRETLS")) {
		return false, lacking(s.remote, 550, 7, 30, "%s does not support REQUIRETLS", s.remote)
	}
	utf8 = b.headerEightBit && env.SMTPUTF8 || !ascii(splitAddress(env.ReversePath).local)
	if utf8 && !s.offersTo("SMTPUTF8") {
		return false, s.noUTF8()
	}
	for _, r := range rcpts {
		utf8 = utf8 || !ascii(splitAddress(r.Address).local)
	}
	return utf8 && s.offersTo("SMTPUTF8"), nil
}

func (s *session) noUTF8() *failure {
	return lacking(s.remote, 553, 6, 7, "%s takes no addresses or headers in UTF-8", s.remote)
}
