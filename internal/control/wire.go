package control

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

const (
	// maxRequestLine bounds the request line: arguments are short, everything
	// long is a body.
	maxRequestLine = 256 << 10
	// maxReplyLine bounds the reply line that a caller holds in memory.
	maxReplyLine = 64 << 20
	// maxChunk bounds one chunk, and with it what one length line can ask for.
	maxChunk = 64 << 10
)

// errMalformed means that the peer does not speak this protocol.
var errMalformed = errors.New("malformed control message")

// errLineTooLong means that a line exceeds its limit.
var errLineTooLong = errors.New("control line is too long")

// readLine reads one line of at most limit bytes, without its LF. An end of
// the stream inside the line is io.ErrUnexpectedEOF, before it io.EOF.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > limit+1 {
			return nil, errLineTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case err == io.EOF && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

// parseChunkLength reads the length line of a chunk: decimal digits without a
// leading zero.
func parseChunkLength(line []byte) (int, error) {
	if len(line) == 0 || line[0] == '+' || line[0] == '-' || (line[0] == '0' && len(line) > 1) {
		return 0, fmt.Errorf("chunk length %.20q: %w", line, errMalformed)
	}
	n, err := strconv.Atoi(string(line))
	if err != nil || n < 0 || n > maxChunk {
		return 0, fmt.Errorf("chunk length %.20q: %w", line, errMalformed)
	}
	return n, nil
}

// chunkReader reads a body up to its zero chunk. A stream that ends earlier is
// io.ErrUnexpectedEOF, never io.EOF.
type chunkReader struct {
	r    *bufio.Reader
	left int // of the chunk at hand
	err  error
	// atEnd runs once when the zero chunk has been read.
	atEnd func()
}

// Read implements io.Reader. Errors are sticky.
func (c *chunkReader) Read(p []byte) (int, error) {
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	if c.left == 0 {
		if c.err = c.next(); c.err != nil {
			return 0, c.err
		}
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	if err != nil {
		c.err = noEOF(err)
	}
	return n, c.err
}

// next reads a length line; the zero chunk is io.EOF.
func (c *chunkReader) next() error {
	line, err := readLine(c.r, 10)
	if err != nil {
		return noEOF(err)
	}
	if c.left, err = parseChunkLength(line); err != nil {
		return err
	}
	if c.left > 0 {
		return nil
	}
	if c.atEnd != nil {
		c.atEnd()
	}
	return io.EOF
}

// noEOF keeps an early end of the stream from looking like a whole body.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// chunkWriter writes each Write as chunks. It does not write the zero chunk.
type chunkWriter struct{ w io.Writer }

// Write implements io.Writer.
func (c chunkWriter) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		part := p[:min(len(p), maxChunk)]
		buf := append(strconv.AppendInt(make([]byte, 0, len(part)+8), int64(len(part)), 10), '\n')
		if _, err := c.w.Write(append(buf, part...)); err != nil {
			return done, err
		}
		done += len(part)
		p = p[len(part):]
	}
	return done, nil
}
