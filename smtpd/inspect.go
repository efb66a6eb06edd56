package smtpd

import (
	"bytes"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/smtpd/inbound"
	"svc.plus/mailsrvd/smtpd/inbound/filter"
)

// judge has a message judged as it came: a stranger's by the checks of package
// inbound, then by the filters. It returns our field for its top and the message
// with the header that the filters give it, or the error that refuses it.
func (s *session) judge(tx *transaction, header []byte, c *message.Content) (results []byte, judged *message.Content, err error) {
	client := ""
	if s.server.o.Inbound != nil {
		r, err := s.inspect(tx, header, c)
		if err != nil {
			return nil, nil, err
		}
		results, client = r.Header, r.ClientName()
	}
	if s.server.o.Filters != nil {
		c, err = s.filter(tx, client, header, c)
	}
	return results, c, err
}

// inspect notes in the transaction what later steps go by.
func (s *session) inspect(tx *transaction, header []byte, c *message.Content) (inbound.Report, error) {
	r := s.server.o.Inbound.Inspect(s.wire.ctx, inbound.Mail{
		Trace:       tx.env.Trace,
		Remote:      tx.peer.remote,
		HELO:        tx.peer.helo,
		ReversePath: tx.env.ReversePath,
		Client:      s.client,
		Header:      header,
		Content:     c,
	})
	tx.checks = r.Attrs()
	tx.env.Trusted = tx.env.Trusted || r.Trusted
	tx.env.Junk = r.Action == inbound.Junk
	if r.Action == inbound.Refuse {
		return r, r.Err
	}
	return r, nil
}

// filter asks the content filters. client is the name of the client's address.
func (s *session) filter(tx *transaction, client string, header []byte, c *message.Content) (*message.Content, error) {
	m := filter.Mail{
		Trace: tx.env.Trace, Remote: tx.peer.remote, RemoteName: client, HELO: tx.peer.helo, TLS: tx.peer.tls,
		User: tx.peer.account, LMTP: s.server.o.Mode == LMTP, ReversePath: tx.env.ReversePath, Header: header, Content: c,
	}
	for _, r := range tx.recipients {
		m.Recipients = append(m.Recipients, r.Address)
	}
	r := s.server.o.Filters.Run(s.wire.ctx, m)
	tx.checks = append(tx.checks, r.Attrs...)
	if r.Action >= filter.Defer {
		return nil, r.Err
	}
	tx.env.Junk = tx.env.Junk || r.Action == filter.Junk
	if bytes.Equal(r.Header, header) {
		return c, nil
	}
	return c.WithHeader(r.Header, int64(len(header))), nil
}
