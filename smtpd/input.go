package smtpd

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// errLineTooLong means that a command has no end within the limit.
var errLineTooLong = errors.New("line is too long")

// Sizes of the input buffer in bytes: small while a client types commands, so
// that idle connections cost little, large while a message comes.
const (
	smallInput = 1 << 10
	largeInput = 64 << 10
	// maxLine bounds a command line: AUTH may have a response of 12,288 bytes
	// (RFC 4954 section 4).
	maxLine = 12288 + 512
)

var largeBuffers = sync.Pool{New: func() any { return new([largeInput]byte) }}

// input is a read buffer over src that gives lines and blocks. It is not safe
// for concurrent use.
type input struct {
	src   io.Reader
	buf   []byte // buf[r:w] is not read yet
	r, w  int
	large *[largeInput]byte // buf's array if it is a large one
}

func newInput(src io.Reader) *input { return &input{src: src, buf: make([]byte, smallInput)} }

// buffered is what is there without waiting; valid until the next call.
func (in *input) buffered() []byte { return in.buf[in.r:in.w] }

// skip consumes n buffered bytes.
func (in *input) skip(n int) {
	if in.r += n; in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// fill waits for more bytes. A full buffer is errLineTooLong.
func (in *input) fill() error {
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	if in.w == len(in.buf) {
		return errLineTooLong
	}
	for range 100 {
		n, err := in.src.Read(in.buf[in.w:])
		in.w += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// line gives the next line with its end, if it is there whole.
func (in *input) line() ([]byte, bool) {
	i := bytes.IndexByte(in.buffered(), '\n')
	if i < 0 {
		return nil, false
	}
	line := in.buf[in.r : in.r+i+1]
	in.skip(i + 1)
	return line, true
}

// grow makes room for a longer line, up to maxLine.
func (in *input) grow() error {
	if in.w-in.r < len(in.buf) {
		return nil
	}
	if len(in.buf) >= maxLine {
		return errLineTooLong
	}
	bigger := make([]byte, min(2*len(in.buf), maxLine))
	in.w = copy(bigger, in.buffered())
	in.r, in.buf = 0, bigger
	return nil
}

// enlarge takes a large buffer for a message.
func (in *input) enlarge() {
	if in.large != nil {
		return
	}
	large := largeBuffers.Get().(*[largeInput]byte)
	in.w = copy(large[:], in.buffered())
	in.r, in.buf, in.large = 0, large[:], large
}

// shrink gives the large buffer back, as soon as what is left fits into a
// small one.
func (in *input) shrink() {
	if in.large == nil || in.w-in.r > smallInput {
		return
	}
	small := make([]byte, smallInput)
	in.w = copy(small, in.buffered())
	in.r, in.buf = 0, small
	largeBuffers.Put(in.large)
	in.large = nil
}
