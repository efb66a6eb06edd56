package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/internal/observe"
)

// wire is the connection that go-smtp serves. It stands between the transport
// and the library; see the package comment. Read and the fields above mu belong
// to one goroutine at a time; Write may run beside Read.
type wire struct {
	server *Server
	conn   net.Conn     // the transport: *listen.Conn, or *tls.Conn over it
	track  *listen.Conn // the transport below TLS
	in     *input
	ctx    context.Context
	cancel context.CancelFunc

	trace   string // of the connection, for the log
	began   time.Time
	remote  netip.Addr
	uid     int                  // of the peer, in Mode Local; else -1
	tls     *tls.ConnectionState // nil in plain text
	account string               // who is logged in, set by the session

	waited    bool      // the greeting was held back as long as it shall be
	greeted   bool      // EHLO or HELO came, in this state of TLS
	extended  bool      // it was EHLO or LHLO
	helo      string    // its argument
	verb      string    // of the command that go-smtp handles
	times     times     // of the MAIL that go-smtp handles
	answer    bool      // the next line is a SASL response
	message   bool      // a mail transaction is open, set by the session
	feed      []byte    // what go-smtp reads next
	chunk     int64     // octets of a BDAT chunk that are still to come
	chunkEnd  time.Time // when they must have come
	body      *body     // of the DATA that is being read
	dataTaken bool      // the last DATA was answered by 354

	mu       sync.Mutex // guards what follows
	out      []byte     // replies that were not sent yet
	line     []byte     // of a reply, until it is whole
	muted    bool       // the next reply is to a command of our own
	negative int        // negative replies since the last accepted message
	crowded  bool       // too many recipients were named, and the log knows
	messages int        // accepted
	code     string     // of the last reply
	farewell string     // to be said in place of reading the next command
	ended    bool       // no more input
	closed   bool
}

func (s *Server) newWire(c net.Conn) *wire {
	w := &wire{
		server: s,
		conn:   c,
		track:  listen.Of(c),
		in:     newInput(c),
		trace:  observe.NewTrace(),
		began:  time.Now(),
		uid:    -1,
	}
	w.ctx, w.cancel = context.WithCancel(s.ctx)
	w.remote = w.track.RemoteIP()
	if t, ok := c.(*tls.Conn); ok {
		state := t.ConnectionState()
		w.tls = &state
	}
	if s.o.Mode == Local {
		w.identify()
	}
	s.metrics.sessions.Inc()
	return w
}

// Read implements net.Conn for go-smtp: it gives one command line at a time, or
// the octets of a BDAT chunk. It is where a connection waits.
func (w *wire) Read(p []byte) (int, error) {
	for {
		switch {
		case len(w.feed) > 0:
			n := copy(p, w.feed)
			w.feed = w.feed[n:]
			return n, nil
		case w.inputEnded():
			return 0, io.EOF
		case w.chunk > 0:
			return w.readChunk(p)
		}
		if err := w.nextCommand(); err != nil {
			w.endInput()
		}
	}
}

// readChunk gives octets of a BDAT chunk. go-smtp would take io.EOF for the end
// of the chunk, and a cut message for a whole one.
func (w *wire) readChunk(p []byte) (int, error) {
	w.in.enlarge()
	if len(w.in.buffered()) == 0 {
		if err := w.wait(min(w.server.o.Limits.Block, time.Until(w.chunkEnd))); err != nil {
			w.chunk = 0
			w.endInput()
			return 0, io.ErrUnexpectedEOF
		}
	}
	have := w.in.buffered()
	n := copy(p, have[:min(int64(len(have)), w.chunk)])
	w.in.skip(n)
	if w.chunk -= int64(n); w.chunk == 0 {
		w.in.shrink()
	}
	return n, nil
}

// nextCommand waits for a line and makes it feed, or answers it.
func (w *wire) nextCommand() error {
	if err := w.mayGoOn(); err != nil {
		return err
	}
	if !w.waited {
		w.waited = true
		if err := w.holdGreeting(); err != nil {
			return err
		}
	}
	line, ok := w.in.line()
	until := time.Now().Add(w.server.o.Limits.Command) // for the whole line
	for !ok {
		if err := w.in.grow(); err != nil {
			return w.part("500 5.5.6 Line is too long")
		}
		w.track.SetIdle(!w.message)
		err := w.wait(time.Until(until))
		w.track.SetIdle(false)
		if err != nil {
			return w.readFailed(err)
		}
		line, ok = w.in.line()
	}
	return w.command(line)
}

// holdGreeting keeps a stranger waiting for the greeting: programs that send
// spam do not wait (RFC 5321 section 3.1 wants them to), and hear no more.
func (w *wire) holdGreeting() error {
	d := w.server.o.GreetDelay
	if d <= 0 || w.server.o.Mode != MX || w.track.Allowed() {
		return nil
	}
	w.conn.SetReadDeadline(time.Now().Add(d))
	err := w.in.fill()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		return io.EOF
	}
	w.server.metrics.early.Inc()
	w.log().Info("client talks before the greeting")
	w.mu.Lock()
	w.out = w.out[:0]
	w.mu.Unlock()
	return w.part("554 5.5.1 Wait for the greeting")
}

// mayGoOn says goodbye when there is a reason to.
func (w *wire) mayGoOn() error {
	w.mu.Lock()
	farewell := w.farewell
	w.mu.Unlock()
	if farewell != "" {
		return w.part(farewell)
	}
	if !w.message && w.track.Draining() {
		return w.part(replyShutdown)
	}
	if w.verb == "DATA" && !w.dataTaken && len(w.in.buffered()) > 0 {
		// The client did not wait for 354. Its message is no list of commands.
		return w.part("421 4.7.0 Input after a refused DATA")
	}
	return nil
}

// readFailed turns a failure to read a command into the last words.
func (w *wire) readFailed(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && w.track.Draining():
		return w.part(replyShutdown)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return w.part("421 4.4.2 " + w.server.o.Hostname + " Idle for too long, closing connection")
	}
	return io.EOF
}

// wait sends the replies that are due and waits for input.
func (w *wire) wait(d time.Duration) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.conn.SetReadDeadline(time.Now().Add(d))
	return w.in.fill()
}

// part writes the last reply; it returns io.EOF for go-smtp.
func (w *wire) part(reply string) error {
	w.reply(reply)
	w.flush()
	return io.EOF
}

// endInput makes every further Read return io.EOF, upon which go-smtp closes
// the connection. Replies can still be written.
func (w *wire) endInput() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

func (w *wire) inputEnded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// hangUp closes the connection with a reply when go-smtp wants the next
// command. The first reason counts.
func (w *wire) hangUp(reply string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.farewell == "" {
		w.farewell = reply
	}
}

// startTLS answers STARTTLS (RFC 3207) and forgets all that was said before.
func (w *wire) startTLS() error {
	o := &w.server.o
	switch {
	case o.TLS == nil:
		return w.reply("502 5.5.1 STARTTLS is not offered")
	case w.tls != nil:
		return w.reply("503 5.5.1 TLS is active already")
	case len(w.in.buffered()) > 0:
		// Commands that somebody put before the handshake, to have them taken
		// for the client's own.
		return w.part("421 4.7.0 Input after STARTTLS")
	}
	w.reply("220 2.0.0 Ready to start TLS")
	if err := w.flush(); err != nil {
		return err
	}
	t, err := listen.Upgrade(w.ctx, w.conn, o.TLS, o.Limits.Handshake)
	if err != nil {
		w.log().Info("STARTTLS failed", "err", err)
		return io.EOF
	}
	state := t.ConnectionState()
	w.conn, w.in, w.tls = t, newInput(t), &state
	w.greeted, w.extended, w.helo = false, false, ""
	w.mute()
	w.feed, w.verb = []byte("RSET\r\n"), "RSET"
	return nil
}

// openBody begins to read the message of DATA. go-smtp is given an empty one.
func (w *wire) openBody() io.Reader {
	w.in.enlarge()
	w.dataTaken = true
	until := time.Now().Add(w.server.o.Limits.Transfer)
	w.body = &body{in: w.in, fill: func() error {
		return w.wait(min(w.server.o.Limits.Block, time.Until(until)))
	}}
	return w.body
}

// closeBody reads the rest of the message, up to limit bytes, so that the
// client hears the reply. If the message does not end there, the connection
// cannot go on.
func (w *wire) closeBody(limit int64) {
	if w.body == nil {
		return
	}
	if _, err := io.CopyN(io.Discard, w.body, limit); err == io.EOF {
		w.feed = []byte(".\r\n")
	} else {
		w.endInput()
	}
	w.body = nil
	w.in.shrink()
}

// Close implements net.Conn.
func (w *wire) Close() error {
	w.flush()
	w.mu.Lock()
	first := !w.closed
	w.closed = true
	w.mu.Unlock()
	if first {
		w.cancel()
		w.report()
	}
	return w.conn.Close()
}

// log has what tells this connection from others.
func (w *wire) log() *slog.Logger {
	return w.server.o.Logger.With("trace", w.trace, "proto", w.server.o.Mode.String(), "remote", w.remoteText())
}

func (w *wire) remoteText() string {
	if w.remote.IsValid() {
		return w.remote.String()
	}
	return "local"
}

// LocalAddr and the rest implement net.Conn. go-smtp has no timeouts set and
// so calls no deadline.
func (w *wire) LocalAddr() net.Addr              { return w.conn.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr             { return w.conn.RemoteAddr() }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
