package wire

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"svc.plus/mailsrvd/internal/mutf7"
)

// ErrShortLiteral means that a literal's source gave fewer bytes than were
// announced. The connection is out of step and must be closed.
var ErrShortLiteral = errors.New("literal is shorter than announced")

// encoderSize is what is collected before it is written: a whole TLS record and
// more. Responses go out when it is full or at Flush, never line by line.
const encoderSize = 32 << 10

var encoderBuffers = sync.Pool{New: func() any { b := make([]byte, 0, encoderSize); return &b }}

// Encoder writes responses to one client. Its error is sticky: after a failed
// write all calls do nothing, and Flush and Err tell. It holds memory only
// while there is something to flush. It is not safe for concurrent use.
//
// The methods return the Encoder, so that a response reads as one line:
//
//	e.Raw("* ").Number(n).Raw(" EXISTS").CRLF()
type Encoder struct {
	w    io.Writer
	pool *[]byte // nil while nothing is buffered
	buf  []byte
	err  error
	utf8 bool
}

// NewEncoder returns an Encoder on w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// Replace goes on with another writer. What was written before must have been
// flushed.
func (e *Encoder) Replace(w io.Writer) { e.w = w }

// SetUTF8 says whether the client understands UTF-8 in quoted strings and
// mailbox names (ENABLE IMAP4rev2 or UTF8=ACCEPT).
func (e *Encoder) SetUTF8(on bool) { e.utf8 = on }

// UTF8 reports what SetUTF8 said.
func (e *Encoder) UTF8() bool { return e.utf8 }

// Err returns the sticky error.
func (e *Encoder) Err() error { return e.err }

// Flush writes what is buffered, gives the buffer back and returns the sticky
// error.
func (e *Encoder) Flush() error {
	e.write()
	e.release()
	return e.err
}

// Close gives the buffer back; what is in it is lost.
func (e *Encoder) Close() { e.release() }

func (e *Encoder) release() {
	if e.pool != nil {
		*e.pool = (*e.pool)[:0]
		encoderBuffers.Put(e.pool)
		e.pool, e.buf = nil, nil
	}
}

// write empties the buffer.
func (e *Encoder) write() {
	if len(e.buf) > 0 && e.err == nil {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
}

// space returns the buffer, for appending n bytes and giving it to done.
func (e *Encoder) space(n int) []byte {
	if e.pool == nil {
		e.pool = encoderBuffers.Get().(*[]byte)
		e.buf = (*e.pool)[:0]
	}
	if len(e.buf)+n > encoderSize {
		e.write()
	}
	return e.buf
}

func (e *Encoder) done(buf []byte) *Encoder {
	e.buf = buf
	return e
}

// Raw writes s as it is.
func (e *Encoder) Raw(s string) *Encoder {
	return e.done(append(e.space(len(s)), s...))
}

// Bytes writes b as it is: a part of a response that was made beforehand.
func (e *Encoder) Bytes(b []byte) *Encoder {
	if len(b) <= encoderSize {
		return e.done(append(e.space(len(b)), b...))
	}
	if e.write(); e.err == nil {
		_, e.err = e.w.Write(b)
	}
	return e
}

// Byte writes one byte.
func (e *Encoder) Byte(c byte) *Encoder { return e.done(append(e.space(1), c)) }

// SP writes a space.
func (e *Encoder) SP() *Encoder { return e.Byte(' ') }

// CRLF ends a line.
func (e *Encoder) CRLF() *Encoder { return e.Raw("\r\n") }

// Number writes n in decimal.
func (e *Encoder) Number(n uint64) *Encoder {
	return e.done(strconv.AppendUint(e.space(20), n, 10))
}

// Text writes s as the human-readable end of a status response: whatever could
// end the line, or the client may not understand, is replaced.
func (e *Encoder) Text(s string) *Encoder {
	buf := e.space(len(s))
	for _, r := range s {
		switch {
		case r < 0x20 || r == 0x7f:
			buf = append(buf, ' ')
		case r < utf8.RuneSelf:
			buf = append(buf, byte(r))
		case e.utf8:
			buf = utf8.AppendRune(buf, r)
		default:
			buf = append(buf, '?')
		}
	}
	return e.done(buf)
}

// String writes s as a string: quoted if that can hold it, else as a literal.
func (e *Encoder) String(s string) *Encoder {
	if !e.quotable(s) {
		return e.Raw("{").Number(uint64(len(s))).Raw("}\r\n").Raw(s)
	}
	buf := append(e.space(2*len(s)+2), '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			buf = append(buf, '\\')
		}
		buf = append(buf, s[i])
	}
	return e.done(append(buf, '"'))
}

func (e *Encoder) quotable(s string) bool {
	eightBit := false
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
		eightBit = eightBit || s[i] >= utf8.RuneSelf
	}
	return !eightBit || e.utf8 && utf8.ValidString(s)
}

// NString writes s as String, or NIL if ok is false.
func (e *Encoder) NString(s string, ok bool) *Encoder {
	if !ok {
		return e.Raw("NIL")
	}
	return e.String(s)
}

// AString writes s as an atom if it is one, else as String.
func (e *Encoder) AString(s string) *Encoder {
	for i := 0; i < len(s); i++ {
		if !isAStringChar(s[i]) {
			return e.String(s)
		}
	}
	if s == "" || len(s) == 3 && (s[0]|0x20 == 'n') {
		return e.String(s) // "NIL" is no name
	}
	return e.Raw(s)
}

// Mailbox writes the name of a mailbox, given in UTF-8.
func (e *Encoder) Mailbox(name string) *Encoder {
	if !e.utf8 {
		name = mutf7.Encode(name)
	}
	return e.AString(name)
}

// Literal writes size bytes of r as a literal. They are copied through the
// buffer; however long they are, no more memory is used. A source that ends
// early is ErrShortLiteral.
func (e *Encoder) Literal(size int64, r io.Reader) *Encoder {
	return e.Raw("{").Number(uint64(size)).Raw("}\r\n").copy(size, r)
}

// Literal8 is Literal for content that may hold NUL (RFC 3516).
func (e *Encoder) Literal8(size int64, r io.Reader) *Encoder {
	return e.Raw("~{").Number(uint64(size)).Raw("}\r\n").copy(size, r)
}

func (e *Encoder) copy(left int64, r io.Reader) *Encoder {
	idle := 0
	for left > 0 && e.err == nil {
		buf := e.space(1)
		n, err := r.Read(buf[len(buf):min(int64(encoderSize), int64(len(buf))+left)])
		e.done(buf[:len(buf)+n])
		left -= int64(n)
		if idle++; n > 0 {
			idle = 0
		}
		if left > 0 && (err != nil || idle == 100) {
			e.fail(fmt.Errorf("%w: %d bytes missing: %v", ErrShortLiteral, left, orShort(err)))
		}
	}
	return e
}

func orShort(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (e *Encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// DecodeMailbox returns the name of a mailbox as UTF-8. The client wrote raw:
// in UTF-8 if it has enabled that, else in modified UTF-7. UTF-8 from a client
// that has enabled nothing is let through; such clients still write "&" as "&-".
// INBOX is INBOX in any case,
// also as the first level of a name (RFC 9051 section 5.1).
func DecodeMailbox(raw string, utf8Enabled bool, separator byte) (string, error) {
	name := raw
	if !utf8Enabled {
		var err error
		if !isASCII(raw) {
			name = strings.ReplaceAll(raw, "&-", "&")
		} else if name, err = mutf7.Decode(raw); err != nil {
			return "", err
		}
	}
	if !utf8.ValidString(name) {
		return "", mutf7.ErrInvalid
	}
	return foldInbox(name, separator), nil
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func foldInbox(name string, separator byte) string {
	const inbox = "INBOX"
	if len(name) < len(inbox) || len(name) > len(inbox) && name[len(inbox)] != separator {
		return name
	}
	for i := range len(inbox) {
		if name[i]&^0x20 != inbox[i] {
			return name
		}
	}
	return inbox + name[len(inbox):]
}
