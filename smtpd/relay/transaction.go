package relay

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// transaction sends one message to rcpts and returns an outcome for each. A
// failure is for all of them.
func (s *session) transaction(env *message.Envelope, b *body, rcpts []message.Recipient) ([]message.Outcome, *failure) {
	b, fail := s.fitting(b)
	if fail != nil {
		return nil, fail
	}
	utf8, fail := s.able(env, b, rcpts)
	if fail != nil {
		return nil, fail
	}
	out := make([]message.Outcome, len(rcpts))
	var at []int // those that are told to the host
	for i, r := range rcpts {
		if !s.offersTo("SMTPUTF8") && !ascii(splitAddress(r.Address).local) {
			out[i] = s.noUTF8().outcome()
			continue
		}
		at = append(at, i)
	}
	if len(at) == 0 {
		return nil, s.noUTF8()
	}
	told := s.tell(env, b, recipientsAt(rcpts, at), utf8)
	if told.fail != nil {
		return nil, told.fail
	}
	taken := 0
	for k, r := range told.rcpt {
		if r.ok() {
			taken++
		} else {
			out[at[k]] = s.refusedRcpt(r).outcome()
		}
	}
	if taken == 0 {
		s.abandon(told)
		return out, nil
	}
	r, fail := s.text(b, told)
	if fail != nil {
		return nil, fail
	}
	for _, i := range at {
		if out[i].Err == nil {
			out[i] = s.result(r, rcpts[i])
		}
	}
	return out, nil
}

// result is the outcome of a recipient that was accepted, by the reply to the
// text.
func (s *session) result(r reply, to message.Recipient) message.Outcome {
	if !r.ok() {
		return s.refused("end of message", r).outcome()
	}
	return message.Outcome{Remote: s.remote, Reply: r.String(), Notifies: s.offersTo("DSN") && slices.Contains(to.Notify, "SUCCESS")}
}

// refused is a reply that says no. That a smarthost wants another login is no
// word on the message.
func (s *session) refused(stage string, r reply) *failure {
	f := refused(s.remote, stage, r)
	if s.smart && (r.code == 530 || r.code == 534 || r.code == 535 || r.code == 538) {
		return passing(f)
	}
	return f
}

// refusedRcpt is refused for RCPT, where 552 may mean that there are too many
// recipients, which is a passing state (RFC 5321 section 4.5.3.1.10).
func (s *session) refusedRcpt(r reply) *failure {
	f := s.refused("RCPT", r)
	if r.code == 552 && (r.enhanced == [3]int{5, 5, 3} || strings.Contains(strings.ToLower(r.String()), "too many recipients")) {
		return passing(f)
	}
	return f
}

// told is what the host said to the envelope.
type told struct {
	rcpt []reply
	// data is the reply to a DATA that went with the envelope; its code is 0 if
	// none did.
	data reply
	fail *failure
}

// tell says MAIL and RCPT, all at once where the host takes that, and then DATA
// with them unless the text goes by BDAT.
func (s *session) tell(env *message.Envelope, b *body, rcpts []message.Recipient, utf8 bool) told {
	lines := []string{s.mailLine(env, b, utf8)}
	for _, r := range rcpts {
		lines = append(lines, s.rcptLine(r, utf8))
	}
	s.begun = true
	if s.offersTo("PIPELINING") {
		return s.pipelined(lines)
	}
	var t told
	for i, line := range lines {
		r, fail := s.command(stageOf(i), "%s", line)
		if fail == nil && (i == 0 && !r.ok() || r.code == 421) {
			fail = s.refused(stageOf(i), r)
		}
		if fail != nil {
			return told{fail: fail}
		}
		if i > 0 {
			t.rcpt = append(t.rcpt, r)
		}
	}
	return t
}

func stageOf(i int) string {
	if i == 0 {
		return "MAIL"
	}
	return "RCPT"
}

// pipelined sends all lines, then reads all replies (RFC 2920). A hundred
// recipients and their replies fit into the buffers of any connection, so the
// two sides cannot block each other.
func (s *session) pipelined(lines []string) told {
	data := !s.offersTo("CHUNKING")
	if data {
		lines = append(lines, "DATA")
	}
	for _, line := range lines {
		s.bw.WriteString(line)
		s.bw.WriteString("\r\n")
	}
	if fail := s.flush("MAIL"); fail != nil {
		return told{fail: fail}
	}
	var t told
	var refusal *failure
	for i := range lines {
		r, fail := s.read(stageOf(i), s.r.o.Timeouts.Command)
		switch {
		case fail != nil:
			return told{fail: fail}
		case r.code == 421:
			return told{fail: s.refused(stageOf(i), r)}
		case i == 0 && !r.ok():
			refusal = s.refused("MAIL", r)
		case data && i == len(lines)-1:
			t.data = r
		case i > 0:
			t.rcpt = append(t.rcpt, r)
		}
	}
	if refusal != nil {
		// A host that wants the text after all that is not to be trusted with
		// an empty one.
		refusal.broken = refusal.broken || t.data.code == 354
		t.fail = refusal
	}
	return t
}

// abandon ends a transaction without a recipient. A host that wants the text
// all the same gets an empty one, which it has nobody to deliver to.
func (s *session) abandon(t told) {
	if t.data.code != 354 {
		return // reset does the rest
	}
	r, fail := s.command("DATA", ".")
	if fail != nil || r.code == 421 {
		s.uses = maxUses // the outcomes stand; the connection does not
	}
}

func (s *session) mailLine(env *message.Envelope, b *body, utf8 bool) string {
	var l strings.Builder
	fmt.Fprintf(&l, "MAIL FROM:<%s>", splitAddress(env.ReversePath).wire(utf8))
	if s.offersTo("SIZE") {
		fmt.Fprintf(&l, " SIZE=%d", b.size)
	}
	if (b.textEightBit || b.headerEightBit) && s.offersTo("8BITMIME") {
		l.WriteString(" BODY=8BITMIME")
	}
	if utf8 {
		l.WriteString(" SMTPUTF8")
	}
	if env.RequireTLS {
		l.WriteString(" REQUIRETLS")
	}
	if by := env.DeliverBy; !by.At.IsZero() && s.offersTo("DELIVERBY") {
		l.WriteString(" BY=" + byValue(by, time.Now()))
	}
	if s.offersTo("DSN") {
		if env.Ret == "FULL" || env.Ret == "HDRS" {
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
	if words := notify(r.Notify); words != "" {
		line += " NOTIFY=" + words
	}
	if typ, addr, ok := strings.Cut(r.ORcpt, ";"); ok && atom(typ) {
		line += " ORCPT=" + typ + ";" + xtext(addr)
	}
	return line
}

// notify gives the keywords of NOTIFY that RFC 3461 section 4.1 knows.
func notify(words []string) string {
	var known []string
	for _, w := range words {
		switch w = strings.ToUpper(w); w {
		case "NEVER", "SUCCESS", "FAILURE", "DELAY":
			known = append(known, w)
		}
	}
	return strings.Join(known, ",")
}

// reset ends a transaction that was not carried through, before the next one.
// The recipients have their outcomes whether or not the host hears of it.
func (s *session) reset() {
	if !s.begun || s.uses >= maxUses {
		return
	}
	s.begun = false
	if r, fail := s.command("RSET", "RSET"); fail != nil || !r.ok() {
		s.uses = maxUses // not to be used again
	}
}

// text sends the message and returns the host's answer to it.
func (s *session) text(b *body, t told) (reply, *failure) {
	if s.offersTo("CHUNKING") {
		return s.chunk(b)
	}
	r := t.data
	if r.code == 0 {
		var fail *failure
		if r, fail = s.command("DATA", "DATA"); fail != nil {
			return r, fail
		}
	}
	if r.code != 354 {
		f := s.refused("DATA", r)
		f.broken = f.broken || r.ok() // nobody knows what the host expects now
		return r, f
	}
	if err := b.send(&dotWriter{w: s.bw}, s.renew); err != nil {
		return s.cutShort("message text", err)
	}
	s.bw.WriteString(".\r\n")
	return s.finish("end of message")
}

// chunk sends the message as one chunk (RFC 3030).
func (s *session) chunk(b *body) (reply, *failure) {
	fmt.Fprintf(s.bw, "BDAT %d LAST\r\n", b.size)
	if err := b.send(s.bw, s.renew); err != nil {
		return s.cutShort("BDAT", err)
	}
	return s.finish("BDAT")
}

// cutShort is for a text that could not be written to its end. A host that
// refuses it halfway says why and closes; its word tells more than our write
// error does.
func (s *session) cutShort(stage string, err error) (reply, *failure) {
	r, fail := s.read(stage, cutShortWait)
	if fail != nil || r.ok() || r.code/100 == 3 {
		return reply{}, lost(s.remote, stage, err)
	}
	fail = s.refused(stage, r)
	fail.broken = true
	return r, fail
}

// cutShortWait is how long such a word is waited for.
const cutShortWait = 5 * time.Second

// finish flushes the text and reads the last reply. From here on the host may
// have taken the message although we never hear so.
func (s *session) finish(stage string) (reply, *failure) {
	s.renew()
	if err := s.bw.Flush(); err != nil {
		return s.cutShort(stage, err)
	}
	r, fail := s.read(stage, s.r.o.Timeouts.End)
	if fail != nil {
		fail.unsure = true
		return r, fail
	}
	s.begun = false
	if r.code/100 == 3 {
		return r, lost(s.remote, stage, fmt.Errorf("%w: %s", errBadReply, r))
	}
	if r.code == 421 {
		s.uses = maxUses
	}
	return r, nil
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
