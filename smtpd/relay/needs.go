package relay

import (
	"errors"
	"strconv"
	"strings"
	"time"

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
	if fail := s.inTime(env.DeliverBy, time.Now()); fail != nil {
		return false, fail
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

// inTime refuses a host that does not return what it could not deliver in time, if
// that is what the sender wants (RFC 2852 section 4.1.4).
func (s *session) inTime(by message.DeliverBy, now time.Time) *failure {
	if !by.Return {
		return nil
	}
	least, err := strconv.Atoi(strings.TrimSpace(s.offers["DELIVERBY"]))
	switch {
	case !s.offersTo("DELIVERBY"):
		return lacking(s.remote, 554, 3, 3, "%s does not support DELIVERBY, and the message is to come back if it is not delivered in time", s.remote)
	case err == nil && by.At.Sub(now) < time.Duration(least)*time.Second:
		return lacking(s.remote, 554, 4, 7, "%s wants %d seconds to deliver, and fewer are left", s.remote, least)
	}
	return nil
}

// byValue is the value of BY: the seconds that are left, at least one for a message
// that is to come back then.
func byValue(by message.DeliverBy, now time.Time) string {
	left := int64(by.At.Sub(now) / time.Second)
	mode := ";N"
	if by.Return {
		left, mode = max(left, 1), ";R"
	}
	if by.Trace {
		mode += "T"
	}
	return strconv.FormatInt(max(left, -maxBy), 10) + mode
}

// maxBy is the largest number of BY, nine digits.
const maxBy = 999_999_999
