package imapd

import (
	"bytes"
	"compress/flate"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"
)

// compress runs COMPRESS DEFLATE (RFC 4978).
func (s *session) compress(*call) error {
	s.dec.SP()
	method := s.dec.Word()
	if err := s.dec.End(); err != nil {
		return err
	}
	switch {
	case method != "DEFLATE":
		return no(imap.ResponseCodeCannot, "Unknown compression")
	case s.deflate != nil:
		return no("COMPRESSIONACTIVE", "Compression is active already")
	}
	s.then = func() error {
		if err := s.enc.Flush(); err != nil {
			return err
		}
		s.deflate = &deflater{w: (*deadlineWriter)(s)}
		s.enc.Replace(s.deflate)
		s.dec.Wrap(func(r io.Reader) io.Reader { return newInflater(r) })
		return nil
	}
	return nil
}

// deflater compresses what is written, and sends all of it at once: what comes
// here has been collected already.
//
// A compressor takes hundreds of kilobytes. While the connection waits, it is
// given back: after a flush the stream stands at a byte, and a fresh compressor
// may go on, since it refers to nothing that it did not write itself.
//
// The compressor itself writes in pieces of a few bytes. They leave in one
// write: a TLS record for each would be slow, and mbsync 1.4 waits for ever
// when a flush comes in several.
type deflater struct {
	w   io.Writer
	z   *flate.Writer // of the pool; nil while the connection waits
	out bytes.Buffer  // compressed, not yet written
}

var compressors = sync.Pool{New: func() any {
	z, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is right
	}
	return z
}}

func (d *deflater) Write(p []byte) (int, error) {
	if d.z == nil {
		d.z = compressors.Get().(*flate.Writer)
		d.z.Reset(&d.out)
	}
	d.out.Reset()
	if _, err := d.z.Write(p); err != nil {
		return 0, err
	}
	if err := d.z.Flush(); err != nil {
		return 0, err
	}
	if _, err := d.w.Write(d.out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// release gives the compressor back.
func (d *deflater) release() {
	if d != nil && d.z != nil {
		d.z.Reset(nil)
		compressors.Put(d.z)
		d.z, d.out = nil, bytes.Buffer{}
	}
}
