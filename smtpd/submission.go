package smtpd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// author is who stands in the From field of a submitted message.
type author struct {
	domain string // of the first address, for DKIM
}

// complete makes the header of a submitted message what RFC 6409 section 8
// asks for: the author is checked, Date, Message-ID and From are added where
// they miss, Bcc and what only a receiver may write are taken away. junk is
// what stands in the block but is no field; it becomes part of the body.
func (s *session) complete(tx *transaction, fields []field, junk []byte, now time.Time) (header []byte, who author, err error) {
	if len(junk) > 0 && bytes.HasPrefix(bytes.TrimPrefix(junk, []byte(">")), []byte("From ")) && len(fields) == 0 {
		// The first line of an mbox entry, as old programs send it.
		fields, junk = parseFields(junk[lineLength(junk):])
	}
	var added bytes.Buffer
	if who, err = s.checkAuthor(tx, fields, &added); err != nil {
		return nil, author{}, err
	}
	tx.env.TLSOptional = !tx.env.RequireTLS && tlsOptional(fields)
	if count(fields, "date") == 0 {
		added.WriteString("Date: " + now.Format("Mon, 2 Jan 2006 15:04:05 -0700") + "\r\n")
	}
	if count(fields, "message-id") == 0 {
		added.WriteString("Message-ID: <" + tx.env.Trace + "@" + s.server.o.Hostname + ">\r\n")
	}
	for _, f := range fields {
		if !slices.Contains([]string{"bcc", "resent-bcc", "return-path"}, f.name) {
			added.Write(f.raw)
		}
	}
	if len(junk) > 0 {
		added.WriteString("\r\n")
		added.Write(junk)
	}
	return added.Bytes(), who, nil
}

// tlsOptional reports whether the author would rather have the message arrive
// without TLS than not at all (RFC 8689 section 5).
func tlsOptional(fields []field) bool {
	return slices.ContainsFunc(fields, func(f field) bool {
		return f.name == "tls-required" && strings.EqualFold(f.body(), "No")
	})
}

// checkAuthor refuses a From field that names somebody else. Readers show it,
// so the parser is a strict one: what it cannot read, nobody shall guess at.
func (s *session) checkAuthor(tx *transaction, fields []field, added *bytes.Buffer) (author, error) {
	var from string
	switch n := count(fields, "from"); {
	case n > 1:
		return author{}, status.New(550, 6, 0, "More than one From field")
	case n == 1:
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == "from" })
		from = fields[i].body()
	case tx.env.ReversePath != "":
		from = "<" + tx.env.ReversePath + ">"
		added.WriteString("From: " + from + "\r\n")
	}
	list, err := addressParser.ParseList(from)
	if err != nil || len(list) == 0 {
		return author{}, status.Wrap(err, 550, 6, 0, "The From field has no valid address")
	}
	var who author
	for i, m := range list {
		a, err := parseAddress(m.Address)
		if err != nil {
			return author{}, status.Wrap(err, 550, 6, 0, "The From field has no valid address")
		}
		if !s.server.maySend(tx.peer, a) {
			return author{}, status.New(553, 7, 1, "<"+a.String()+">: not a From address of this user")
		}
		if i == 0 {
			who.domain = strings.ToLower(a.domain)
		}
	}
	return who, nil
}

// addressParser takes display names in any charset: only the addresses count.
var addressParser = mail.AddressParser{WordDecoder: &mime.WordDecoder{
	CharsetReader: func(_ string, r io.Reader) (io.Reader, error) { return r, nil },
}}

// sign puts the DKIM signature before the message. Nothing may change after
// it. A message that cannot be signed is not sent unsigned.
func (s *session) sign(ctx context.Context, who author, c *message.Content) (*message.Content, error) {
	if s.server.o.Signer == nil {
		return c, nil
	}
	signAs, ok := s.server.o.Signer.Match(who.domain)
	if !ok {
		return c, nil
	}
	fields, err := s.server.o.Signer.Sign(ctx, signAs, c)
	switch {
	case errors.Is(err, dkim.ErrHeader):
		return nil, status.Wrap(err, 550, 6, 0, "The header of the message cannot be signed")
	case err != nil:
		return nil, status.Wrap(err, 451, 3, 0, "Signing failed, try again later")
	}
	return c.WithPrefix(fields), nil
}
