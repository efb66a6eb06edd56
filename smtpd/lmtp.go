package smtpd

import (
	"io"
	"time"

	"github.com/emersion/go-smtp"
)

// LMTPData implements smtp.LMTPSession: a reply for each recipient (RFC 2033
// section 4.2). What fails for a passing reason is the client's to try again;
// we queue nothing that nobody has received.
func (s *session) LMTPData(r io.Reader, statuses smtp.StatusCollector) error {
	began := time.Now()
	src, done := s.source(r)
	tx, err := s.take()
	if err != nil {
		done()
		return err
	}
	c, err := s.receive(tx, src)
	done()
	if err != nil {
		s.report(tx, 0, began, err)
		return reply(err)
	}
	defer c.Close()
	results, err := s.deliver(tx, c)
	if err != nil {
		s.report(tx, c.Size(), began, err)
		return reply(err)
	}
	for i, e := range results {
		if e == nil {
			statuses.SetStatus(tx.recipients[i].key, tx.success())
			continue
		}
		err = e
		statuses.SetStatus(tx.recipients[i].key, reply(e))
	}
	s.report(tx, c.Size(), began, err)
	s.wire.accepted()
	return nil
}
