package dkim

import "hash"

// relaxedBody hashes a body in the canonical form "relaxed" (RFC 6376
// section 3.4.4): runs of white space become one space, white space at line
// ends and empty lines at the end go. sum ends it.
type relaxedBody struct {
	h     hash.Hash
	out   []byte // what is ready for h
	cr    bool   // a CR came that may begin a line end
	space bool   // white space came that is not written yet
	lines int    // line ends that are not written yet
	some  bool   // anything was written
}

// plainByte marks the bytes that relaxedBody passes on as they are.
var plainByte = func() (t [256]bool) {
	for i := range t {
		t[i] = i != ' ' && i != '\t' && i != '\r' && i != '\n'
	}
	return t
}()

const bodyBuffer = 8 << 10

func newRelaxedBody(h hash.Hash) *relaxedBody {
	return &relaxedBody{h: h, out: make([]byte, 0, 2*bodyBuffer)}
}

// Write implements io.Writer.
func (b *relaxedBody) Write(p []byte) (int, error) {
	for i := 0; i < len(p); {
		c := p[i]
		switch {
		case c == '\n' && b.cr:
			b.cr, b.space = false, false
			b.lines++
			i++
		case b.cr: // a lone CR is a byte like others
			b.cr = false
			b.pending()
			b.out = append(b.out, '\r')
		case c == '\r':
			b.cr = true
			i++
		case c == ' ' || c == '\t':
			b.space = true
			i++
		default:
			end := i + 1
			for end < len(p) && plainByte[p[end]] {
				end++
			}
			b.pending()
			b.out = append(b.out, p[i:end]...)
			i = end
		}
		b.flush(bodyBuffer)
	}
	return len(p), nil
}

// pending writes the line ends and the space that something now follows.
func (b *relaxedBody) pending() {
	b.some = true
	for ; b.lines > 0; b.lines-- {
		b.out = append(b.out, '\r', '\n')
		b.flush(bodyBuffer)
	}
	if b.space {
		b.out = append(b.out, ' ')
		b.space = false
	}
}

// flush hashes what is ready when it is at least n bytes.
func (b *relaxedBody) flush(n int) {
	if len(b.out) >= n {
		b.h.Write(b.out) // never fails
		b.out = b.out[:0]
	}
}

// sum writes the end of the last line and returns the hash. An empty body stays
// empty.
func (b *relaxedBody) sum() []byte {
	if b.cr {
		b.pending()
		b.out = append(b.out, '\r')
	}
	if b.some {
		b.out = append(b.out, '\r', '\n')
	}
	b.flush(0)
	return b.h.Sum(nil)
}

// simpleBody hashes a body in the canonical form "simple" (RFC 6376 section
// 3.4.3): only empty lines at the end go.
type simpleBody struct {
	h     hash.Hash
	cr    bool // a CR came that may begin a line end
	lines int  // line ends that are not written yet
}

// Write implements io.Writer.
func (b *simpleBody) Write(p []byte) (int, error) {
	from := 0 // what is not hashed yet
	for i, c := range p {
		switch {
		case c == '\n' && b.cr:
			b.cr = false
			b.lines++
			from = i + 1
			continue
		case b.cr: // a lone CR is a byte like others
			b.cr = false
			b.pending()
			b.h.Write([]byte{'\r'})
		}
		if c == '\r' {
			b.cr = true
			b.h.Write(p[from:i])
			from = i + 1
			continue
		}
		b.pending()
	}
	b.h.Write(p[from:])
	return len(p), nil
}

// pending writes the line ends that something now follows.
func (b *simpleBody) pending() {
	for ; b.lines > 0; b.lines-- {
		b.h.Write([]byte("\r\n"))
	}
}

// sum writes the end of the last line and returns the hash. An empty body is
// one line end.
func (b *simpleBody) sum() []byte {
	if b.cr {
		b.pending()
		b.h.Write([]byte{'\r'})
	}
	b.h.Write([]byte("\r\n"))
	return b.h.Sum(nil)
}
