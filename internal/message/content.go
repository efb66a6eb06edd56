package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Content is a message as it travels: re-readable, immutable, never copied per
// recipient. Small ones are in memory, larger ones in an unlinked spool file.
// Lines end in CRLF as on the wire; storage decides its own line ends. All
// methods are safe for concurrent use, Close excepted.
type Content struct {
	prefix []byte
	body   io.ReaderAt
	size   int64 // of the body alone
	file   *os.File
}

// FromBytes returns a Content over b, which must not change afterwards.
func FromBytes(b []byte) *Content {
	return &Content{body: bytes.NewReader(b), size: int64(len(b))}
}

// FromFile returns a Content over the whole of f; Close closes f.
func FromFile(f *os.File) (*Content, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the size of a message file: %w", err)
	}
	return &Content{body: f, size: fi.Size(), file: f}, nil
}

// ErrTooBig means that more bytes came than the limit allows.
var ErrTooBig = errors.New("message is too big")

// Spool reads r to its end. Up to memory bytes are kept in memory; a longer
// message goes to an unlinked file in dir. More than limit bytes are ErrTooBig;
// a limit of 0 means none. The caller closes the result.
func Spool(r io.Reader, dir string, memory, limit int64) (*Content, error) {
	if limit > 0 {
		r = &capReader{r: r, left: limit}
	}
	block := spoolBlocks.Get().(*[spoolBlock]byte)
	defer spoolBlocks.Put(block)
	n, err := fill(block[:min(memory, spoolBlock)], r)
	var buf bytes.Buffer // as long as it has to be, once, for most messages
	buf.Grow(n)
	buf.Write(block[:n])
	if err == nil {
		_, err = io.CopyN(&buf, r, memory-int64(n))
	}
	if err == io.EOF {
		return FromBytes(buf.Bytes()), nil
	}
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "spool")
	if err != nil {
		return nil, fmt.Errorf("spooling a message: %w", err)
	}
	os.Remove(f.Name())
	size, err := io.Copy(f, io.MultiReader(&buf, r))
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Content{body: f, size: size, file: f}, nil
}

// spoolBlock is how much of a message is read before its length is guessed.
const spoolBlock = 64 << 10

var spoolBlocks = sync.Pool{New: func() any { return new([spoolBlock]byte) }}

// fill reads until b is full. Unlike io.ReadFull it tells the end, io.EOF, from
// what the reader calls an unexpected one: a message that was cut.
func fill(b []byte, r io.Reader) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

// capReader fails with ErrTooBig once more than left bytes have come.
type capReader struct {
	r    io.Reader
	left int64
}

func (c *capReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, ErrTooBig
	}
	return n, err
}

// WithPrefix returns a Content that starts with header (whole lines, each with
// CRLF) and goes on with c. It shares c's body: close only one of them, when
// both are done.
func (c *Content) WithPrefix(header []byte) *Content {
	d := *c
	d.prefix = append(bytes.Clone(header), c.prefix...)
	return &d
}

// WithHeader returns a Content that starts with header and goes on with what
// stands in c from offset body on, which must lie within it. It shares c's body:
// close only one of them, when both are done.
func (c *Content) WithHeader(header []byte, body int64) *Content {
	d := *c
	d.prefix = bytes.Clone(header)
	if n := int64(len(c.prefix)); body < n {
		d.prefix = append(d.prefix, c.prefix[body:]...)
	} else {
		d.body = io.NewSectionReader(c.body, body-n, c.size-(body-n))
		d.size = c.size - (body - n)
	}
	return &d
}

// Size is the length in bytes, prefix included.
func (c *Content) Size() int64 { return int64(len(c.prefix)) + c.size }

// NewReader returns an independent reader from the start.
func (c *Content) NewReader() io.Reader {
	body := io.NewSectionReader(c.body, 0, c.size)
	if len(c.prefix) == 0 {
		return body
	}
	return io.MultiReader(bytes.NewReader(c.prefix), body)
}

// ReadAt reads from offset off, prefix included; it implements io.ReaderAt.
func (c *Content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("reading a message: negative offset")
	}
	n := 0
	if off < int64(len(c.prefix)) {
		n = copy(p, c.prefix[off:])
	}
	if n == len(p) {
		return n, nil
	}
	// Not more than the body, though the file may have grown since.
	at := off + int64(n) - int64(len(c.prefix))
	m, err := io.NewSectionReader(c.body, 0, c.size).ReadAt(p[n:], at)
	return n + m, err
}

// Close frees the spool file, if there is one.
func (c *Content) Close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}
