package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
)

// Limits bound what one command may cost. They may be changed between
// commands, and are small until a client has logged in.
type Limits struct {
	// Line is the length of a command in bytes, literals not counted. The line
	// that exceeds it is fatal.
	Line int
	// Literal is the size of one literal that is read into memory, and
	// Literals that of all of them in one command.
	Literal, Literals int64
	// NonSync is the size of one non-synchronising literal (RFC 7888).
	NonSync int64
	// Discard is how many bytes of literals are read and dropped to get to the
	// end of a refused command. More is fatal.
	Discard int64
	// Depth is how deep lists, and whatever else nests, may nest.
	Depth int
}

// SyntaxError says that a command is not in the grammar, or beyond a limit that
// is not fatal. The answer is BAD, after Discard.
type SyntaxError struct {
	// Text may be sent to the client.
	Text string
	// TooBig says that it was a literal's size.
	TooBig bool
}

func (e *SyntaxError) Error() string { return e.Text }

// ErrTooLong means that a line, or a literal that is already on its way, is so
// long that its end is not waited for. It is fatal: the connection must be
// closed, since what follows are not commands.
var ErrTooLong = errors.New("command too long")

// Hooks tie a Decoder to its connection.
type Hooks struct {
	// BeforeRead runs before every read that may block: the place to flush
	// what was written, and to set a deadline. idle is true when the client
	// owes nothing: no part of a command has come.
	BeforeRead func(idle bool) error
	// Continue asks the client to send its synchronising literal.
	Continue func() error
}

const (
	bufferSize = 8 << 10
	// idleSize is what a connection that waits for a command keeps to read
	// into; the first bytes of a command are moved to a buffer of the pool.
	idleSize = 64
)

// buffers is shared by all connections: an idle one holds none.
var buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

// Decoder reads the commands of one client. It is not safe for concurrent use.
type Decoder struct {
	src    io.Reader
	hooks  Hooks
	limits Limits

	idle [idleSize]byte
	buf  *[]byte // of the pool; nil while nothing is buffered
	r, w int     // (*buf)[r:w] has been read and not been taken

	// The command at hand.
	line     []byte // what is left of the current line; aliases buf
	lit      literal
	length   int   // of all its lines
	literals int64 // bytes of its literals in memory
	dropped  int64 // bytes of its literals that were discarded
	depth    int
	err      error
}

// literal is what the end of the current line announced.
type literal struct {
	announced bool // and neither read nor refused
	size      int64
	nonSync   bool
	binary    bool
	mark      int   // len(line) where its announcement starts
	left      int64 // bytes still to come, once it was opened
	open      bool
}

// NewDecoder returns a Decoder for what src gives.
func NewDecoder(src io.Reader, hooks Hooks, limits Limits) *Decoder {
	return &Decoder{src: src, hooks: hooks, limits: limits}
}

// SetLimits replaces the limits, from the next command on.
func (d *Decoder) SetLimits(l Limits) { d.limits = l }

// Limits returns the limits in force.
func (d *Decoder) Limits() Limits { return d.limits }

// Buffered reports whether bytes have been read that belong to later commands.
func (d *Decoder) Buffered() bool { return d.w > d.r }

// Replace goes on with another source, and drops all that was read from the
// old one beyond the current command: after STARTTLS, bytes that came in the
// clear are not the client's.
func (d *Decoder) Replace(src io.Reader) {
	d.src = src
	d.release()
}

// Wrap goes on with what wrap makes of the current source, of which nothing is
// lost: for COMPRESS (RFC 4978).
func (d *Decoder) Wrap(wrap func(io.Reader) io.Reader) {
	rest := d.src
	if d.Buffered() {
		rest = io.MultiReader(bytes.NewReader(bytes.Clone((*d.buf)[d.r:d.w])), d.src)
	}
	d.release()
	d.src = wrap(rest)
}

// Close gives the buffers back. The Decoder must not be used afterwards.
func (d *Decoder) Close() { d.release() }

func (d *Decoder) release() {
	if d.buf != nil && len(*d.buf) == bufferSize {
		buffers.Put(d.buf)
	}
	d.buf, d.line, d.r, d.w = nil, nil, 0, 0
}

// Start waits for the first line of the next command. The previous one must
// have been ended by End or Discard. Any error is fatal, except that a deadline
// may be moved and Start called again: nothing is lost.
func (d *Decoder) Start() error {
	d.err, d.length, d.literals, d.dropped, d.depth = nil, 0, 0, 0, 0
	d.lit, d.line = literal{}, nil
	return d.readLine(true)
}

// Rest takes what is left of the current line as it is: the line of a client
// that answers AUTHENTICATE or ends IDLE. It is valid until the next read.
func (d *Decoder) Rest() []byte {
	rest := d.line
	d.line = d.line[len(d.line):]
	return rest
}

// readLine takes one line from the source, and looks whether it announces a
// literal.
func (d *Decoder) readLine(first bool) error {
	seen := 0
	for {
		var unread []byte
		if d.buf != nil {
			unread = (*d.buf)[d.r:d.w]
		}
		if i := bytes.IndexByte(unread[seen:], '\n'); i >= 0 {
			return d.setLine(unread[:seen+i+1])
		}
		if seen = len(unread); d.length+seen > d.limits.Line {
			return ErrTooLong
		}
		if err := d.fill(first && seen == 0); err != nil {
			return err
		}
	}
}

// setLine makes raw, which ends in LF, the current line.
func (d *Decoder) setLine(raw []byte) error {
	d.r += len(raw)
	if d.length += len(raw); d.length > d.limits.Line {
		return ErrTooLong
	}
	raw = raw[:len(raw)-1]
	if n := len(raw); n > 0 && raw[n-1] == '\r' {
		raw = raw[:n-1]
	}
	d.line = raw
	d.lit = announced(raw)
	return nil
}

// announced parses the literal announcement at the end of line, if there is
// one: "{3}", "{3+}", or "~{3}" for a literal8 (RFC 3516, RFC 7888).
func announced(line []byte) literal {
	n := len(line)
	if n < 3 || line[n-1] != '}' {
		return literal{}
	}
	lit := literal{announced: true}
	i := n - 2
	if line[i] == '+' {
		lit.nonSync = true
		i--
	}
	end := i + 1
	for i >= 0 && line[i] >= '0' && line[i] <= '9' {
		i--
	}
	if i < 0 || line[i] != '{' || i+1 == end {
		return literal{}
	}
	lit.size = number(line[i+1 : end])
	if i > 0 && line[i-1] == '~' {
		lit.binary = true
		i--
	}
	lit.mark = n - i
	return lit
}

// number is the value of decimal digits; too many are the largest number.
func number(digits []byte) int64 {
	var n int64
	for _, c := range digits {
		if n > (math.MaxInt64-9)/10 {
			return math.MaxInt64
		}
		n = 10*n + int64(c-'0')
	}
	return n
}

// fill reads once from the source into the buffer.
func (d *Decoder) fill(idle bool) error {
	if d.buf != nil && d.r == d.w {
		d.release()
	}
	if err := d.hooks.BeforeRead(idle); err != nil {
		return err
	}
	if d.buf == nil {
		n, err := d.read(d.idle[:])
		if n > 0 {
			d.buf = buffers.Get().(*[]byte)
			d.r, d.w = 0, copy(*d.buf, d.idle[:n])
		}
		return err
	}
	d.makeRoom()
	n, err := d.read((*d.buf)[d.w:])
	d.w += n
	return err
}

// makeRoom moves unread bytes to the front, and takes a larger buffer if they
// fill it.
func (d *Decoder) makeRoom() {
	buf := *d.buf
	if d.r > 0 {
		d.w = copy(buf, buf[d.r:d.w])
		d.r = 0
	}
	if d.w < len(buf) {
		return
	}
	larger := make([]byte, 2*len(buf))
	copy(larger, buf)
	if len(buf) == bufferSize {
		buffers.Put(d.buf)
	}
	d.buf = &larger
}

// read reads at least one byte, or fails.
func (d *Decoder) read(p []byte) (int, error) {
	for range 100 {
		n, err := d.src.Read(p)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// Err returns the sticky error: a *SyntaxError, or a fatal one.
func (d *Decoder) Err() error { return d.err }

// Fail makes err the sticky error, unless there is one.
func (d *Decoder) Fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// Failf is Fail with a *SyntaxError.
func (d *Decoder) Failf(format string, args ...any) {
	if d.err == nil {
		d.err = &SyntaxError{Text: fmt.Sprintf(format, args...)}
	}
}

// End checks that the command ends here, and returns the sticky error.
func (d *Decoder) End() error {
	if d.err == nil && len(d.line) > 0 {
		d.Failf("Unexpected %s", d.found())
	}
	return d.err
}

// found describes what stands at the current position.
func (d *Decoder) found() string {
	switch {
	case len(d.line) == 0:
		return "end of command"
	case d.line[0] == ' ':
		return "space"
	case d.line[0] < 0x20 || d.line[0] >= 0x7f:
		return fmt.Sprintf("byte 0x%02x", d.line[0])
	}
	return fmt.Sprintf("%q", d.line[0])
}

// Discard reads to the true end of the command, whatever state it is in: what
// remains of an opened literal, literals that need no asking, and the lines
// after them. Literals that the client must ask for are simply never asked
// for. An error is fatal.
func (d *Decoder) Discard() error {
	if fatal := d.fatal(); fatal != nil {
		return fatal
	}
	for d.lit.open || d.lit.announced && d.lit.nonSync {
		left := d.lit.left
		if !d.lit.open {
			left = d.lit.size
		}
		d.lit = literal{}
		if left > d.limits.Discard-d.dropped {
			return ErrTooLong
		}
		d.dropped += left
		if err := d.skip(left); err != nil {
			return err
		}
		if err := d.readLine(false); err != nil {
			return err
		}
	}
	d.line = nil
	return nil
}

// fatal returns the sticky error if it is no syntax error.
func (d *Decoder) fatal() error {
	if d.err == nil {
		return nil
	}
	var syntax *SyntaxError
	if errors.As(d.err, &syntax) {
		return nil
	}
	return d.err
}

// skip reads n bytes and drops them.
func (d *Decoder) skip(n int64) error {
	for n > 0 {
		if d.r == d.w {
			if err := d.fill(false); err != nil {
				return unexpected(err)
			}
		}
		take := min(n, int64(d.w-d.r))
		d.r += int(take)
		n -= take
	}
	return nil
}

// unexpected is err, with a plain end of input named for what it is.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
