package smtpd

import (
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/inbound"
)

// inspect has a message from a stranger judged, as it came. It returns our
// field for its top, or the error that refuses it, and notes in the transaction
// what later steps go by.
func (s *session) inspect(tx *transaction, header []byte, c *message.Content) ([]byte, error) {
	r := s.server.o.Inbound.Inspect(s.wire.ctx, inbound.Mail{
		Trace:       tx.env.Trace,
		Remote:      tx.peer.remote,
		HELO:        tx.peer.helo,
		ReversePath: tx.env.ReversePath,
		Header:      header,
		Content:     c,
	})
	tx.checks = r.Attrs()
	tx.env.Trusted = tx.env.Trusted || r.Trusted
	tx.env.Junk = r.Action == inbound.Junk
	if r.Action == inbound.Refuse {
		return nil, r.Err
	}
	return r.Header, nil
}
