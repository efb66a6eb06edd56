package relay

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"svc.plus/mailsrvd/internal/message"
)

// transaction sends one message: MAIL, RCPT for each recipient, and the text.
// Either all recipients have an outcome, or the failure is for all.
func (s *session) transaction(env *message.Envelope, b *body, rcpts []message.Recipient) ([]message.Outcome, *failure) {
	utf8, fail := s.needUTF8(env, b, rcpts)
	if fail != nil {
		return nil, fail
	}
	if limit := s.offersSize(); limit > 0 && b.size > limit {
		return nil, ours(s.remote, 552, 3, 4, "%s takes no message of %d bytes, only up to %d", s.remote, b.size, limit)
	}
	if env.RequireTLS && !s.offersTo("REQUIRETLS") {
		return nil, ours(s.remote, 550, 7, 30, "%s does not support REQUIRETLS", s.remote)
	}
	replies, fail := s.envelope(env, b, rcpts, utf8)
	if fail != nil {
		return nil, fail
	}
	out := make([]message.Outcome, len(rcpts))
	accepted := 0
	for i, r := range replies {
		if r.ok() {
			accepted++
			continue
		}
		out[i] = refused(s.remote, "RCPT", r).outcome()
	}
	if accepted == 0 {
		return out, s.reset()
	}
	r, fail := s.text(b)
	if fail != nil {
		return nil, fail
	}
	for i := range out {
		switch {
		case out[i].Err != nil:
		case r.ok():
			out[i] = message.Outcome{Remote: s.remote, Reply: r.String(), Notifies: s.offersTo("DSN") && slices.Contains(rcpts[i].Notify, "SUCCESS")}
		default:
			out[i] = refused(s.remote, "end of message", r).outcome()
		}
	}
	return out, nil
}

// needUTF8 tells whether the transaction must be one with SMTPUTF8 (RFC 6531),
// which the host may lack.
func (s *session) needUTF8(env *message.Envelope, b *body, rcpts []message.Recipient) (bool, *failure) {
	need := b.headerEightBit && env.SMTPUTF8 || !ascii(splitAddress(env.ReversePath).local)
	for _, r := range rcpts {
		need = need || !ascii(splitAddress(r.Address).local)
	}
	if need && !s.offersTo("SMTPUTF8") {
		return false, ours(s.remote, 553, 6, 7, "%s takes no addresses or headers in UTF-8", s.remote)
	}
	return need, nil
}

// envelope says MAIL and RCPT, all at once where the host takes that, and
// returns the replies to RCPT.
func (s *session) envelope(env *message.Envelope, b *body, rcpts []message.Recipient, utf8 bool) ([]reply, *failure) {
	lines := []string{s.mailLine(env, b, utf8)}
	for _, r := range rcpts {
		lines = append(lines, s.rcptLine(r, utf8))
	}
	if s.offersTo("PIPELINING") {
		return s.pipelined(lines)
	}
	var replies []reply
	for i, line := range lines {
		r, fail := s.command(stageOf(i), "%s", line)
		if fail == nil && i == 0 && !r.ok() {
			fail = refused(s.remote, "MAIL", r)
		}
		if fail == nil && r.code == 421 {
			fail = refused(s.remote, stageOf(i), r)
		}
		if fail != nil {
			return nil, fail
		}
		replies = append(replies, r)
	}
	return replies[1:], nil
}

func stageOf(i int) string {
	if i == 0 {
		return "MAIL"
	}
	return "RCPT"
}

// pipelined sends all lines, then reads all replies (RFC 2920).
func (s *session) pipelined(lines []string) ([]reply, *failure) {
	for _, line := range lines {
		s.bw.WriteString(line)
		s.bw.WriteString("\r\n")
	}
	if fail := s.flush("MAIL"); fail != nil {
		return nil, fail
	}
	var replies []reply
	var refusal *failure
	for i := range lines {
		r, fail := s.read(stageOf(i), s.r.o.Timeouts.Command)
		if fail != nil {
			return nil, fail
		}
		if i == 0 && !r.ok() {
			refusal = refused(s.remote, "MAIL", r)
		}
		if r.code == 421 {
			return nil, refused(s.remote, stageOf(i), r)
		}
		replies = append(replies, r)
	}
	if refusal != nil {
		return nil, refusal
	}
	return replies[1:], nil
}

func (s *session) mailLine(env *message.Envelope, b *body, utf8 bool) string {
	var l strings.Builder
	fmt.Fprintf(&l, "MAIL FROM:<%s>", splitAddress(env.ReversePath).wire(utf8))
	if s.offersTo("SIZE") {
		fmt.Fprintf(&l, " SIZE=%d", b.size)
	}
	if b.eightBit && s.offersTo("8BITMIME") {
		l.WriteString(" BODY=8BITMIME")
	}
	if utf8 {
		l.WriteString(" SMTPUTF8")
	}
	if env.RequireTLS {
		l.WriteString(" REQUIRETLS")
	}
	if s.offersTo("DSN") {
		if env.Ret != "" {
			l.WriteString(" RET=" + env.Ret)
		}
		if env.EnvID != "" {
			l.WriteString(" ENVID=" + xtext(env.EnvID))
		}
	}
	return l.String()
}

func (s *session) rcptLine(r message.Recipient, utf8 bool) string {
	line := "RCPT TO:<" + splitAddress(r.Address).wire(utf8) + ">"
	if !s.offersTo("DSN") {
		return line
	}
	if len(r.Notify) > 0 {
		line += " NOTIFY=" + strings.Join(r.Notify, ",")
	}
	if typ, addr, ok := strings.Cut(r.ORcpt, ";"); ok {
		line += " ORCPT=" + typ + ";" + xtext(addr)
	}
	return line
}

// reset ends a transaction in which nobody was accepted. The recipients have
// their outcomes whether or not the host hears of it.
func (s *session) reset() *failure {
	if r, fail := s.command("RSET", "RSET"); fail != nil || !r.ok() {
		s.uses = maxUses // not to be used again
	}
	return nil
}

// text sends the message and returns the host's answer to it.
func (s *session) text(b *body) (reply, *failure) {
	if s.offersTo("CHUNKING") {
		return s.chunk(b)
	}
	r, fail := s.command("DATA", "DATA")
	if fail != nil {
		return r, fail
	}
	if r.code != 354 {
		return r, s.dataRefused(r)
	}
	if err := b.send(&dotWriter{w: s.bw}, s.renew); err != nil {
		return r, lost(s.remote, "message text", err)
	}
	s.bw.WriteString(".\r\n")
	return s.finish("end of message")
}

// dataRefused is a DATA that was not answered by 354.
func (s *session) dataRefused(r reply) *failure {
	f := refused(s.remote, "DATA", r)
	if r.ok() {
		f.broken = true // nobody knows what the host expects now
	}
	return f
}

// chunk sends the message as one chunk (RFC 3030).
func (s *session) chunk(b *body) (reply, *failure) {
	fmt.Fprintf(s.bw, "BDAT %d LAST\r\n", b.size)
	if err := b.send(s.bw, s.renew); err != nil {
		return reply{}, lost(s.remote, "BDAT", err)
	}
	return s.finish("BDAT")
}

// finish flushes the text and reads the last reply. From here on the host may
// have taken the message although we never hear so.
func (s *session) finish(stage string) (reply, *failure) {
	s.renew()
	err := s.bw.Flush()
	var r reply
	var fail *failure
	if err != nil {
		fail = lost(s.remote, stage, err)
	} else {
		r, fail = s.read(stage, s.r.o.Timeouts.End)
	}
	if fail != nil {
		fail.unsure = true
	}
	return r, fail
}

// renew gives the next block of text its time.
func (s *session) renew() { s.deadline(s.r.o.Timeouts.Block) }

// renewing calls renew before each write.
type renewing struct {
	w     io.Writer
	renew func()
}

func (r renewing) Write(p []byte) (int, error) {
	r.renew()
	return r.w.Write(p)
}
