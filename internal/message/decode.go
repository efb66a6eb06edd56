package message

import (
	"io"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// decoder turns a stream into another, chunk by chunk.
type decoder interface {
	// decode appends what src makes to dst; it may keep some of it back.
	decode(dst, src []byte) []byte
	// finish appends what was kept back, at the end of the stream.
	finish(dst []byte) []byte
}

// maxSteps is how many decoders a stream can go through: transfer encoding,
// charset, markup.
const maxSteps = 3

// decodeReader reads r through decoders, one behind the other.
type decodeReader struct {
	r     io.Reader
	steps [maxSteps]decoder // as far as they are not nil
	buf   *decodeBuffer     // lent until the end
	rest  []byte            // decoded, not yet given out
	err   error
}

// decodeBuffer is the memory of a decodeReader.
type decodeBuffer struct {
	in  [8 << 10]byte
	out [maxSteps][]byte
}

var decodeBuffers = sync.Pool{New: func() any { return new(decodeBuffer) }}

// newDecodeReader returns a reader of r through the steps.
func newDecodeReader(r io.Reader, steps ...decoder) *decodeReader {
	d := &decodeReader{r: r}
	copy(d.steps[:], steps)
	return d
}

// Read implements io.Reader.
func (r *decodeReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			r.release()
			return 0, r.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if r.buf == nil {
			r.buf = decodeBuffers.Get().(*decodeBuffer)
		}
		var n int
		n, r.err = r.r.Read(r.buf.in[:])
		r.rest = r.run(r.buf.in[:n], r.err == io.EOF)
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// release gives the memory back; there is nothing more to read then.
func (r *decodeReader) release() {
	if r.buf != nil {
		decodeBuffers.Put(r.buf)
		r.buf, r.rest = nil, nil
	}
}

// run takes a chunk, the last one perhaps, through all steps.
func (r *decodeReader) run(data []byte, last bool) []byte {
	for i, step := range r.steps {
		if step == nil {
			break
		}
		out := step.decode(r.buf.out[i][:0], data)
		if last {
			out = step.finish(out)
		}
		r.buf.out[i], data = out, out
	}
	return data
}

// charsetDecoder converts a charset to UTF-8.
type charsetDecoder struct {
	t   transform.Transformer
	cut []byte // the beginning of a character that a chunk ended in
}

func (d *charsetDecoder) decode(dst, src []byte) []byte { return d.transform(dst, src, false) }

func (d *charsetDecoder) finish(dst []byte) []byte { return d.transform(dst, nil, true) }

func (d *charsetDecoder) transform(dst, src []byte, last bool) []byte {
	if len(d.cut) > 0 {
		src = append(d.cut, src...)
		d.cut = d.cut[:0]
	}
	for {
		if cap(dst)-len(dst) < 64 {
			dst = append(dst, make([]byte, len(src)+64)...)[:len(dst)]
		}
		nDst, nSrc, err := d.t.Transform(dst[len(dst):cap(dst)], src, last)
		dst, src = dst[:len(dst)+nDst], src[nSrc:]
		switch {
		case err == transform.ErrShortDst:
			dst = append(dst, make([]byte, 64)...)[:len(dst)]
		case err == transform.ErrShortSrc && !last:
			d.cut = append([]byte(nil), src...)
			return dst
		case err != nil && len(src) > 0:
			dst, src = append(dst, "\ufffd"...), src[1:]
		default:
			return dst
		}
	}
}

// utf8Decoder passes UTF-8 and takes every other byte as Windows-1252.
type utf8Decoder struct {
	cut [utf8.UTFMax]byte // the beginning of a character that a chunk ended in
	n   int
}

func (d *utf8Decoder) decode(dst, src []byte) []byte {
	for d.n > 0 && len(src) > 0 { // complete the cut character byte by byte
		d.cut[d.n] = src[0]
		d.n++
		src = src[1:]
		if b := d.cut[:d.n]; utf8.FullRune(b) {
			d.n = 0
			dst = appendUTF8(dst, b)
		}
	}
	if utf8.Valid(src) {
		return append(dst, src...)
	}
	for i := len(src) - 1; i >= 0 && i >= len(src)-utf8.UTFMax; i-- {
		if utf8.RuneStart(src[i]) {
			if !utf8.FullRune(src[i:]) {
				d.n = copy(d.cut[:], src[i:])
				src = src[:i]
			}
			break
		}
	}
	return appendUTF8(dst, src)
}

func (d *utf8Decoder) finish(dst []byte) []byte { return appendUTF8(dst, d.cut[:d.n]) }

func appendUTF8(dst, src []byte) []byte {
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		if r == utf8.RuneError && n == 1 {
			r = charmap.Windows1252.DecodeByte(src[0])
		}
		dst = utf8.AppendRune(dst, r)
		src = src[n:]
	}
	return dst
}
