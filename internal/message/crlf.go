package message

import (
	"bytes"
	"io"
)

// CRLFReader returns a reader of the bytes [off, end) of the stored message r
// as IMAP sends them: every LF that does not follow a CR becomes CRLF, and NUL,
// which no literal may hold, becomes 0x80 as from Dovecot; all else is
// unchanged. off must not be between a CR and its LF. The reader has an
// io.WriterTo; it reads blocks of 32 KiB and keeps no more.
//
// If r ends before end, the reader fails with io.ErrUnexpectedEOF, so that an
// announced literal is never silently short.
func CRLFReader(r io.ReaderAt, off, end int64) io.Reader {
	return &crlfReader{src: source{r: r, off: off, end: end, noNUL: true}}
}

// Reader returns the extent of the stored message r as CRLFReader does: VSize
// bytes, or fewer and io.ErrUnexpectedEOF if r is not the file that was scanned.
func (e Extent) Reader(r io.ReaderAt) io.Reader {
	return e.partial(source{r: r, noNUL: true}, 0, e.VSize, nil)
}

// exact returns what Reader does, but with NUL as it is.
func (e Extent) exact(r io.ReaderAt) io.Reader {
	return e.partial(source{r: r}, 0, e.VSize, nil)
}

// Partial returns count bytes of the extent's virtual form from byte from on,
// as FETCH BODY[]<from.count> asks (RFC 9051 section 6.4.5), and how many there
// are: fewer than count, or none, where the extent ends. Skipping costs a read
// of what is skipped unless the file has CRLF line ends throughout, or at (which
// may be nil) remembers a place near by: give the same Cursor to each call for
// the same file, and a client that fetches piece by piece costs no more than one
// that fetches all.
func (e Extent) Partial(r io.ReaderAt, from, count int64, at *Cursor) (io.Reader, int64) {
	from = min(max(from, 0), e.VSize)
	count = min(max(count, 0), e.VSize-from)
	return e.partial(source{r: r, noNUL: true}, from, count, at), count
}

func (e Extent) partial(src source, from, count int64, at *Cursor) io.Reader {
	if e.VSize == e.End-e.Start { // nothing to convert
		src.off, src.end = e.Start+from, e.Start+from+count
		return &rawReader{src}
	}
	src.off, src.end = e.Start, e.End
	c := &crlfReader{src: src, at: at, extent: e, limited: true, left: count}
	if at != nil && at.extent == e && at.virtual <= from {
		c.src.off, c.virtual, c.cr, c.given = at.off, at.virtual, at.cr, at.given
	}
	c.skip = from - c.virtual
	return c
}

// Cursor remembers where a partial fetch ended. The zero Cursor is ready. It
// belongs to one file and one goroutine.
type Cursor struct {
	extent  Extent
	off     int64
	virtual int64
	cr      bool
	given   bool
}

// source reads [off, end) of r.
type source struct {
	r        io.ReaderAt
	off, end int64
	noNUL    bool // NUL becomes 0x80
}

// read fills p as far as the source goes; 0 and io.EOF at its end.
func (s *source) read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), max(0, s.end-s.off))]
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := s.r.ReadAt(p, s.off)
	s.off += int64(n)
	if n > 0 {
		if s.noNUL {
			replaceNUL(p[:n])
		}
		return n, nil
	}
	if err == io.EOF || err == nil {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// replaceNUL makes 0x80 of each NUL.
func replaceNUL(b []byte) {
	for i := bytes.IndexByte(b, 0); i >= 0; i = bytes.IndexByte(b, 0) {
		b[i] = 0x80
		b = b[i+1:]
	}
}

// rawReader reads a source as it is.
type rawReader struct{ src source }

func (r *rawReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return r.src.read(p)
}

// crlfReader converts a source.
type crlfReader struct {
	src   source
	in    *block // lent while there is input in it
	rest  []byte // of in, not yet converted
	cr    bool   // the byte before rest is CR
	given bool   // the CR for the LF that rest begins with is given out already
	err   error

	limited bool  // skip, left and at count
	skip    int64 // virtual bytes to drop first
	left    int64 // virtual bytes to give out
	virtual int64 // virtual position
	extent  Extent
	at      *Cursor
}

// Read implements io.Reader.
func (c *crlfReader) Read(p []byte) (int, error) {
	for c.skip > 0 && c.err == nil {
		buf := blocks.Get().(*block)
		c.skip -= int64(c.convert(buf[:min(c.skip, int64(len(buf)))]))
		blocks.Put(buf)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !c.limited {
		n := c.convert(p)
		if n > 0 {
			return n, nil
		}
		return 0, c.err
	}
	if c.left == 0 {
		return 0, io.EOF
	}
	n := c.convert(p[:min(int64(len(p)), c.left)])
	if c.left -= int64(n); c.left == 0 {
		c.end(io.EOF)
	}
	if n > 0 {
		return n, nil
	}
	if c.err == io.EOF { // the extent promised more
		c.err = io.ErrUnexpectedEOF
	}
	return 0, c.err
}

// WriteTo implements io.WriterTo.
func (c *crlfReader) WriteTo(w io.Writer) (total int64, err error) {
	buf := blocks.Get().(*block)
	defer blocks.Put(buf)
	for {
		n, err := c.Read(buf[:])
		if n > 0 {
			m, err := w.Write(buf[:n])
			total += int64(m)
			if err != nil {
				return total, err
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// convert fills p with converted bytes and returns how many. Fewer than len(p)
// come only when c.err is set or a block ends.
func (c *crlfReader) convert(p []byte) (n int) {
	if c.err != nil {
		return 0
	}
	if len(c.rest) == 0 && !c.fill() {
		return 0
	}
	for n < len(p) && len(c.rest) > 0 {
		n += c.convertLine(p[n:])
	}
	c.virtual += int64(n)
	return n
}

// fill reads the next block.
func (c *crlfReader) fill() bool {
	if c.in == nil {
		c.in = blocks.Get().(*block)
	}
	n, err := c.src.read(c.in[:])
	c.rest = c.in[:n]
	if err != nil {
		c.end(err)
	}
	return err == nil
}

// end gives the block back and leaves the cursor for the next partial fetch.
func (c *crlfReader) end(err error) {
	if c.in == nil {
		return
	}
	if c.at != nil {
		*c.at = Cursor{c.extent, c.src.off - int64(len(c.rest)), c.virtual, c.cr, c.given}
	}
	blocks.Put(c.in)
	c.in, c.rest, c.err = nil, nil, err
}

// convertLine converts up to one line of rest into p, which is not empty.
func (c *crlfReader) convertLine(p []byte) int {
	i := bytes.IndexByte(c.rest, '\n')
	if i < 0 {
		i = len(c.rest)
	}
	if i > len(p) {
		i = len(p)
	}
	n := copy(p, c.rest[:i])
	if n > 0 {
		c.cr = c.rest[n-1] == '\r'
	}
	c.rest = c.rest[n:]
	if len(c.rest) == 0 || c.rest[0] != '\n' || n == len(p) {
		return n
	}
	if !c.cr && !c.given {
		p[n] = '\r'
		n++
		c.given = true
		if n == len(p) {
			return n
		}
	}
	p[n] = '\n'
	c.rest, c.cr, c.given = c.rest[1:], false, false
	return n + 1
}
