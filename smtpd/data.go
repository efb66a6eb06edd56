package smtpd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/emersion/go-smtp"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
	"svc.plus/mailsrvd/smtpd/inbound"
)

// Data implements smtp.Session: the message of DATA or BDAT. It returns nil
// never: a success has our text too.
func (s *session) Data(r io.Reader) error {
	began := time.Now()
	src, done := s.source(r)
	tx, err := s.take()
	if err != nil {
		done()
		return err
	}
	c, err := s.receive(tx, src)
	done()
	var size int64
	if err == nil {
		defer c.Close()
		size = c.Size()
		if s.limited(tx) {
			err = s.server.o.Allowance.Take(tx.peer.account, len(tx.recipients))
		}
		if err == nil {
			err = s.hand(tx, c)
		}
	}
	s.report(tx, size, began, err)
	if err != nil {
		return reply(err)
	}
	s.wire.accepted()
	return tx.success()
}

// success is the reply that passes responsibility to us.
func (tx *transaction) success() error {
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "Ok: queued as " + tx.env.Trace}
}

// source is where the message comes from: for BDAT go-smtp's pipe, for DATA the
// wire, which then has to be told when it was read as far as we wanted.
func (s *session) source(r io.Reader) (src io.Reader, done func()) {
	if _, chunks := r.(*io.PipeReader); chunks {
		return r, func() {}
	}
	return s.wire.openBody(), func() { s.wire.closeBody(2 * s.server.o.Limits.MessageSize) }
}

// receive reads a message to its end and makes it ready for delivery. The
// caller closes the content.
func (s *session) receive(tx *transaction, src io.Reader) (*message.Content, error) {
	o := &s.server.o
	lines := newLineReader(src, o.LineEnds == RepairLineEnds)
	defer lines.free()
	block, rest, err := readHeader(lines, o.Limits.HeaderBlock)
	if err != nil {
		return nil, readError(err)
	}
	fields, junk := parseFields(block)
	if longest(fields) > o.Limits.HeaderField {
		return nil, readError(errHeaderTooBig)
	}
	if count(fields, "received") >= o.Limits.Received {
		return nil, status.New(554, 4, 6, "Too many hops, this message is in a loop")
	}
	now := time.Now()
	var who author
	if o.Mode.submits() {
		if block, who, err = s.complete(tx, fields, junk, now); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Inbound != nil:
		block = o.Inbound.Clean(block)
	case o.Mode.submits() && o.AuthservID != "":
		block = inbound.CleanResults(block, o.AuthservID)
	}
	c, err := message.Spool(io.MultiReader(bytes.NewReader(block), bytes.NewReader(rest), lines), o.SpoolDir, o.Limits.Memory, o.Limits.MessageSize)
	if err != nil {
		return nil, readError(err)
	}
	tx.env.EightBit = tx.env.EightBit || lines.eightBit
	trace := []byte(s.server.receivedField(tx, now))
	results, judged, err := s.judge(tx, block, c)
	if err != nil {
		c.Close()
		return nil, err
	}
	c = judged.WithPrefix(append(results, trace...))
	if !o.Mode.submits() {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(s.wire.ctx, o.Limits.Delivery)
	defer cancel()
	signed, err := s.sign(ctx, who, c)
	if err != nil {
		c.Close()
	}
	return signed, err
}

// readError makes a reply of what went wrong while a message came.
func readError(err error) error {
	var known *smtp.SMTPError
	switch {
	case errors.Is(err, errBareLineEnd):
		return status.Wrap(err, 550, 6, 11, "Lines must end in CRLF, and CR and LF stand nowhere else")
	case errors.Is(err, errNUL):
		return status.Wrap(err, 550, 6, 11, "The message has a NUL character")
	case errors.Is(err, errHeaderTooBig):
		return status.Wrap(err, 552, 3, 4, "The header of the message is too big")
	case errors.Is(err, message.ErrTooBig):
		return status.Wrap(err, 552, 3, 4, "Message is too big")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, smtp.ErrDataReset):
		return status.Wrap(err, 421, 4, 2, "The message came only in part")
	case errors.As(err, &known):
		return status.Wrap(err, known.Code, known.EnhancedCode[1], known.EnhancedCode[2], known.Message)
	}
	return status.Wrap(err, 451, 3, 0, "Local error, try again later")
}
