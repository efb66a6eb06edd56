package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A Reader reads the messages of an mbox one after the other. It is for one
// goroutine, and keeps no more than a header in memory.
type Reader struct {
	r     *bufio.Reader
	from  []byte // the From_ line of the next message; empty at the end
	begun bool
	blank []byte // an empty line that the message has only if another follows
	start bool   // the next bytes begin a line
	body  bool   // an empty line of the message at hand was seen
	buf   []byte
	left  []byte // of the message at hand, read already
	ended bool   // nothing more of the message at hand can be read
	err   error  // of reading
}

// NewReader reads from r, which it buffers.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), start: true, ended: true}
}

// ErrFormat means that a file is no mbox.
var ErrFormat = errors.New(`this is no mbox: its first line is not "From", a sender and a date`)

// Next goes to the next message, whose text Read then gives. io.EOF at the end;
// ErrFormat if the file does not begin as an mbox.
func (r *Reader) Next() (Message, error) {
	for {
		m, internal, err := r.next()
		if err != nil || !internal {
			return m, err
		}
	}
}

func (r *Reader) next() (m Message, internal bool, err error) {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return m, false, err
	}
	if !r.begun {
		if err := r.begin(); err != nil {
			return m, false, err
		}
	}
	if len(r.from) == 0 {
		return m, false, io.EOF
	}
	m.Sender, m.Date, _ = parseFrom(r.from)
	r.from, r.ended, r.body = r.from[:0], false, false
	header, body, err := r.header()
	if err != nil {
		return m, false, err
	}
	r.left, internal = m.takeStatus(nil, header)
	if n := len(r.left); n > 0 && r.left[n-1] != '\n' && r.ended {
		r.left = append(r.left, '\n')
	}
	r.left = append(r.left, body...)
	return m, internal, nil
}

// begin finds the first From_ line.
func (r *Reader) begin() error {
	r.begun = true
	for {
		line, err := r.r.ReadSlice('\n')
		if len(line) == 0 && err == io.EOF {
			return nil
		}
		if err == nil && isBlank(line) {
			continue
		}
		if _, _, ok := parseFrom(line); !ok || err != nil && err != io.EOF {
			if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
				return fmt.Errorf("reading an mbox: %w", err)
			}
			return ErrFormat
		}
		r.from = append(r.from[:0], line...)
		return nil
	}
}

// header reads the header of a message, as far as it is looked at, and what came
// with it: the blank line and the beginning of the body.
func (r *Reader) header() (header, body []byte, err error) {
	var b []byte
	for len(b) < maxHeader {
		part, err := r.chunk()
		if err == io.EOF {
			return b, []byte{'\n'}, nil
		} else if err != nil {
			return nil, nil, err
		}
		seen := max(0, len(b)-3)
		b = append(b, part...)
		if isBlank(firstLine(b)) && seen == 0 { // a message without a header
			return nil, b, nil
		}
		for i := seen; ; {
			at := bytes.IndexByte(b[i:], '\n')
			if at < 0 {
				break
			}
			i += at + 1
			if line := firstLine(b[i:]); isBlank(line) {
				return b[:i], b[i:], nil
			}
		}
	}
	return b, nil, nil
}

// firstLine is the first line of b with its line end, or all of it.
func firstLine(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i+1]
	}
	return b
}

// isBlank reports whether a line is nothing but its end, before whose LF may be any
// number of CRs.
func isBlank(line []byte) bool {
	text, whole := bytes.CutSuffix(line, []byte{'\n'})
	return whole && len(bytes.TrimRight(text, "\r")) == 0
}

// Read gives the text of the message that Next went to, lines as they stand in the
// file. io.EOF at its end.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		if r.ended {
			return 0, io.EOF
		}
		part, err := r.chunk()
		if err != nil {
			return 0, err
		}
		r.left = part
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// chunk returns the next bytes of the message at hand, valid until the next call;
// io.EOF at its end.
func (r *Reader) chunk() ([]byte, error) {
	for !r.ended && r.err == nil {
		part, err := r.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
			r.err = fmt.Errorf("reading an mbox: %w", err)
			break
		}
		if len(part) == 0 { // the end; an empty line before it belongs to the form
			r.ended, r.blank = true, r.blank[:0]
			break
		}
		begins := r.start
		r.start = part[len(part)-1] == '\n'
		r.buf = append(r.buf[:0], r.blank...)
		r.body = r.body || len(r.blank) > 0
		if begins && len(r.blank) > 0 {
			if _, _, ok := parseFrom(part); ok {
				r.from = append(r.from[:0], part...)
				r.ended, r.blank = true, r.blank[:0]
				break
			}
		}
		r.blank = r.blank[:0]
		if begins && isBlank(part) {
			r.blank = append(r.blank, part...)
			part = nil
		} else if begins && r.body && part[0] == '>' && quoted(part) {
			part = part[1:]
		}
		if r.buf = append(r.buf, part...); len(r.buf) > 0 {
			return r.buf, nil
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return nil, io.EOF
}
