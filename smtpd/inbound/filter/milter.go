package filter

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// The protocol of sendmail's libmilter, version 6: packets of a length, a
// letter and data. We tell the milter connection, envelope, header and body in
// their order; it answers each step, or has said at the beginning that it skips
// a step or does not answer it.
const (
	milterVersion = 6

	// What we let it do: add and change header fields, quarantine.
	milterActions = 0x01 | 0x10 | 0x20

	noConnect, noHELO, noMail, noRcpt, noBody, noHeader, noEOH = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40
	silentHeader                                               = 0x80
	noData, maySkip                                            = 0x200, 0x400
	silentConnect, silentHELO, silentMail, silentRcpt          = 0x1000, 0x2000, 0x4000, 0x8000
	silentData, silentEOH, silentBody                          = 0x10000, 0x40000, 0x80000
	leadingSpace                                               = 0x100000
	// The steps above, and 0x100, 0x20000: unknown commands, which we never tell.
	milterSteps = noConnect | noHELO | noMail | noRcpt | noBody | noHeader | noEOH | silentHeader | 0x100 | noData | maySkip |
		silentConnect | silentHELO | silentMail | silentRcpt | silentData | 0x20000 | silentEOH | silentBody | leadingSpace

	milterChunk   = 65535
	maxPacket     = 1 << 20
	maxAnswers    = 1 << 20 // bytes of all changes of a message
	maxProgresses = 1 << 16
)

// milter is a filter that speaks the milter protocol.
type milter struct {
	at       address
	hostname string
}

// ask implements asker, on a connection of its own.
func (f *milter) ask(ctx context.Context, m Mail) (answer, error) {
	conn, err := f.at.dial(ctx)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	s := newMilterSession(conn)
	a, err := s.run(f.hostname, m)
	if err != nil {
		return answer{}, err
	}
	s.send('Q', nil)
	s.w.Flush()
	return a, nil
}

// milterSession is one message shown to a milter.
type milterSession struct {
	w     *bufio.Writer
	r     *bufio.Reader
	steps uint32 // what was agreed on
	edits []edit
	junk  string // why it wants the message quarantined
	bytes int    // of all its changes
}

func newMilterSession(conn net.Conn) *milterSession {
	return &milterSession{w: bufio.NewWriterSize(conn, 64<<10), r: bufio.NewReader(conn)}
}

// verdict ends a session early.
type verdict struct{ answer }

func (*verdict) Error() string { return "the milter has decided" }

func (s *milterSession) run(hostname string, m Mail) (answer, error) {
	err := s.negotiate()
	if err == nil {
		err = s.envelope(hostname, m)
	}
	if err == nil {
		err = s.header(m)
	}
	if err == nil {
		err = s.body(m)
	}
	if err == nil {
		err = s.end(m)
	}
	if v, ok := errors.AsType[*verdict](err); ok {
		return v.answer, nil
	}
	return answer{}, err
}

func (s *milterSession) negotiate() error {
	data := binary.BigEndian.AppendUint32(nil, milterVersion)
	data = binary.BigEndian.AppendUint32(data, milterActions)
	data = binary.BigEndian.AppendUint32(data, milterSteps)
	s.send('O', data)
	code, data, err := s.receive()
	if err != nil {
		return fmt.Errorf("negotiating: %w", err)
	}
	if code != 'O' || len(data) < 12 {
		return fmt.Errorf("negotiating: the milter answers %q", code)
	}
	if v := binary.BigEndian.Uint32(data); v < 2 || v > milterVersion {
		return fmt.Errorf("negotiating: the milter wants version %d", v)
	}
	s.steps = binary.BigEndian.Uint32(data[8:])
	return nil
}

func (s *milterSession) envelope(hostname string, m Mail) error {
	s.macros('C', "j", hostname, "{daemon_name}", "mailsrvd", "v", "mailsrvd")
	if err := s.step('C', connectData(m), noConnect, silentConnect); err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	if m.TLS != nil {
		s.macros('H', "{tls_version}", tls.VersionName(m.TLS.Version), "{cipher}", tls.CipherSuiteName(m.TLS.CipherSuite))
	}
	if err := s.step('H', cstrings(m.HELO), noHELO, silentHELO); err != nil {
		return fmt.Errorf("HELO: %w", err)
	}
	macros := []string{"i", m.Trace, "{mail_addr}", m.ReversePath}
	if m.User != "" {
		macros = append(macros, "{auth_authen}", m.User, "{auth_type}", "PLAIN")
	}
	s.macros('M', macros...)
	if err := s.step('M', cstrings("<"+m.ReversePath+">"), noMail, silentMail); err != nil {
		return fmt.Errorf("MAIL: %w", err)
	}
	for _, to := range m.Recipients {
		s.macros('R', "i", m.Trace, "{rcpt_addr}", to)
		if err := s.step('R', cstrings("<"+to+">"), noRcpt, silentRcpt); err != nil {
			return fmt.Errorf("RCPT: %w", err)
		}
	}
	s.macros('T', "i", m.Trace)
	if err := s.step('T', nil, noData, silentData); err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	return nil
}

// connectData is host name, family, port and address.
func connectData(m Mail) []byte {
	name := m.RemoteName
	if name == "" {
		name = "localhost"
		if m.Remote.IsValid() {
			name = "[" + m.Remote.String() + "]"
		}
	}
	data := cstrings(name)
	switch {
	case m.Remote.Is4():
		data = append(data, '4', 0, 0)
	case m.Remote.Is6():
		data = append(data, '6', 0, 0)
	default:
		return append(data, 'U')
	}
	return append(data, cstrings(m.Remote.String())...)
}

func (s *milterSession) header(m Mail) error {
	s.macros('L', "i", m.Trace)
	for name, raw := range message.EachField(m.Header) {
		_, value, ok := bytes.Cut(raw, []byte(":"))
		if !ok {
			continue
		}
		text := strings.TrimRight(strings.ReplaceAll(string(value), "\r", ""), "\n")
		if s.steps&leadingSpace == 0 {
			text = strings.TrimPrefix(text, " ")
		}
		text = text[:min(len(text), milterChunk-len(name)-16)]
		if err := s.step('L', cstrings(string(name), text), noHeader, silentHeader); err != nil {
			return fmt.Errorf("header: %w", err)
		}
	}
	s.macros('N', "i", m.Trace)
	if err := s.step('N', nil, noEOH, silentEOH); err != nil {
		return fmt.Errorf("end of header: %w", err)
	}
	return nil
}

func (s *milterSession) body(m Mail) error {
	if s.steps&noBody != 0 {
		return nil
	}
	at := int64(len(m.Header)) + 2 // behind the empty line
	buf := make([]byte, milterChunk)
	for size := m.Content.Size(); at < size; {
		n, err := m.Content.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if n == 0 && err != nil {
			return fmt.Errorf("reading the message: %w", err)
		}
		at += int64(n)
		s.send('B', buf[:n])
		if s.steps&silentBody != 0 {
			continue
		}
		code, data, err := s.receive()
		if err != nil {
			return fmt.Errorf("body: %w", err)
		}
		if code == 's' {
			return nil
		}
		if err := s.decide(code, data); err != nil {
			return err
		}
	}
	return nil
}

// end tells that the message is over, takes the changes and the last word.
func (s *milterSession) end(m Mail) error {
	s.macros('E', "i", m.Trace)
	s.send('E', nil)
	for {
		code, data, err := s.receive()
		if err != nil {
			return fmt.Errorf("end of message: %w", err)
		}
		if s.bytes += len(data); s.bytes > maxAnswers || len(s.edits) > maxEdits {
			return fmt.Errorf("the milter changes too much")
		}
		switch code {
		case 'h', 'i', 'm':
			if err := s.edit(code, data); err != nil {
				return err
			}
		case 'q':
			s.junk = printable(cstring(data), 120)
			if s.junk == "" {
				s.junk = "quarantined"
			}
		case '+', '2', '-', 'b', 'e':
			return fmt.Errorf("the milter wants to change body or envelope (%q), which is not done here", code)
		default:
			if err := s.decide(code, data); err != nil {
				return err
			}
			return &verdict{s.accepted()}
		}
	}
}

func (s *milterSession) edit(code byte, data []byte) error {
	e := edit{kind: add}
	if code != 'h' {
		if len(data) < 4 {
			return fmt.Errorf("the milter sends a broken %q", code)
		}
		e.kind = insert
		if code == 'm' {
			e.kind = change
		}
		e.index, data = int(binary.BigEndian.Uint32(data)), data[4:]
	}
	name, rest, ok := bytes.Cut(data, []byte{0})
	if !ok {
		return fmt.Errorf("the milter sends a broken %q", code)
	}
	e.name, e.value = string(name), cstring(rest)
	s.edits = append(s.edits, e)
	return nil
}

// accepted is the answer of a milter that lets the message pass.
func (s *milterSession) accepted() answer {
	a := answer{edits: s.edits, detail: s.junk}
	if s.junk != "" || saysSpam(s.edits) {
		a.action = Junk
	}
	return a
}

// step tells one thing, unless the milter skips it, and takes the answer,
// unless it gives none.
func (s *milterSession) step(code byte, data []byte, skip, silent uint32) error {
	if s.steps&skip != 0 {
		return nil
	}
	s.send(code, data)
	if s.steps&silent != 0 {
		return nil
	}
	reply, data, err := s.receive()
	if err != nil {
		return err
	}
	return s.decide(reply, data)
}

// decide reads an answer: nil to go on, else a *verdict.
func (s *milterSession) decide(code byte, data []byte) error {
	decided := func(action Action, err *status.Error) error {
		return &verdict{answer{action: action, err: err, detail: err.Text}}
	}
	switch code {
	case 'c', 's':
		return nil
	case 'a':
		return &verdict{s.accepted()}
	case 'r':
		return decided(Reject, refusal(Reject, ""))
	case 'd': // nobody shall wait for what is thrown away
		return decided(Reject, refusal(Reject, ""))
	case 't':
		return decided(Defer, refusal(Defer, ""))
	case '4': // shut the connection down
		return decided(Defer, refusal(Defer, ""))
	case 'y':
		err := replyCode(cstring(data))
		if err == nil {
			return fmt.Errorf("the milter sends a broken reply %q", printable(string(data), 80))
		}
		if err.Temporary() {
			return decided(Defer, err)
		}
		return decided(Reject, err)
	}
	return fmt.Errorf("the milter answers %q", code)
}

// replyCode reads "550 5.7.1 text"; of several lines the first.
func replyCode(text string) *status.Error {
	text, _, _ = strings.Cut(text, "\n")
	text = strings.TrimSpace(text)
	if len(text) < 3 {
		return nil
	}
	code, err := strconv.Atoi(text[:3])
	if err != nil || code < 400 || code > 599 {
		return nil
	}
	text = strings.TrimLeft(text[3:], " -")
	subject, detail := 7, 1
	var class int
	if word, rest, _ := strings.Cut(text, " "); word != "" {
		var s, d int
		if n, _ := fmt.Sscanf(word, "%d.%d.%d", &class, &s, &d); n == 3 && class == code/100 && s < 1000 && d < 1000 {
			subject, detail, text = s, d, rest
		}
	}
	if text = printable(text, 200); text == "" {
		text = "The message is refused because of its content"
	}
	return status.New(code, subject, detail, text)
}

func (s *milterSession) macros(step byte, pairs ...string) {
	data := append([]byte{step}, cstrings(pairs...)...)
	s.send('D', data)
}

// send writes a packet into the buffer; a failure shows in receive.
func (s *milterSession) send(code byte, data []byte) {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	s.w.Write(append(head, code))
	s.w.Write(data)
}

// receive sends what was written and waits for a packet. Signs of life are
// passed over: they do not lengthen the time.
func (s *milterSession) receive() (code byte, data []byte, err error) {
	if err := s.w.Flush(); err != nil {
		return 0, nil, timedOut(err)
	}
	for range maxProgresses {
		var head [5]byte
		if _, err := io.ReadFull(s.r, head[:]); err != nil {
			return 0, nil, timedOut(err)
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 || n > maxPacket {
			return 0, nil, fmt.Errorf("a packet of %d bytes", n)
		}
		data = make([]byte, n-1)
		if _, err := io.ReadFull(s.r, data); err != nil {
			return 0, nil, timedOut(err)
		}
		if head[4] != 'p' {
			return head[4], data, nil
		}
	}
	return 0, nil, fmt.Errorf("the milter does nothing but call for patience")
}

// timedOut says what a deadline means.
func timedOut(err error) error {
	if e, ok := err.(net.Error); ok && e.Timeout() {
		return fmt.Errorf("no answer in time: %w", err)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("it closed the connection: %w", err)
	}
	return err
}

// cstrings ends each text with NUL. A NUL within would shift the others.
func cstrings(texts ...string) []byte {
	var b []byte
	for _, t := range texts {
		b = append(append(b, strings.ReplaceAll(t, "\x00", "?")...), 0)
	}
	return b
}

func cstring(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}
