package smtpd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// What lineReader refuses.
var (
	errBareLineEnd = errors.New("bare CR or LF")
	errNUL         = errors.New("NUL")
)

// maxCRs bounds a run of CRs that is repaired.
const maxCRs = 998

// lineReader gives out a message whose every line ends in CRLF, also the last,
// without NUL. It either refuses other line ends (errBareLineEnd) or repairs
// them: CRs before an LF are one line end with it, any other CR or LF is a line
// end of its own.
type lineReader struct {
	src      io.Reader
	repair   bool
	eightBit bool // a byte above 127 has been seen

	in    [32 << 10]byte
	out   []byte // to be given out; a part of in, or of fixed
	fixed []byte // repaired text
	crs   int    // CRs held back from the end of the last block
	last  byte   // of all that was given out; 0 at the start
	err   error
}

var lineReaders = sync.Pool{New: func() any { return new(lineReader) }}

// newLineReader takes a reader from the pool; free gives it back.
func newLineReader(src io.Reader, repair bool) *lineReader {
	l := lineReaders.Get().(*lineReader)
	l.src, l.repair = src, repair
	return l
}

func (l *lineReader) free() {
	l.src, l.out, l.err = nil, nil, nil
	l.eightBit, l.crs, l.last = false, 0, 0
	lineReaders.Put(l)
}

// Read implements io.Reader.
func (l *lineReader) Read(p []byte) (int, error) {
	for len(l.out) == 0 {
		if l.err != nil {
			return 0, l.err
		}
		l.err = l.next()
	}
	n := copy(p, l.out)
	l.out = l.out[n:]
	return n, nil
}

// next fills out, perhaps with nothing. The first byte of in is kept free for
// a CR that was held back.
func (l *lineReader) next() error {
	n, err := l.src.Read(l.in[1:])
	if err != nil && err != io.EOF {
		return err
	}
	block := l.in[1 : 1+n]
	if bytes.IndexByte(block, 0) >= 0 {
		return errNUL
	}
	l.eightBit = l.eightBit || hasEightBit(block)
	if e := l.accept(1, 1+n); e != nil {
		return e
	}
	if err == io.EOF {
		if e := l.finish(); e != nil {
			return e
		}
	}
	return err
}

// accept puts in[start:end] into out, CRs at its end excepted: what they mean,
// the next block tells.
func (l *lineReader) accept(start, end int) error {
	for l.crs > 0 && start < end && l.in[start] == '\r' {
		l.crs++
		start++
	}
	held := 0
	for end > start && l.in[end-1] == '\r' {
		held++
		end--
	}
	if start < end {
		if err := l.give(start, end); err != nil {
			return err
		}
		l.crs = 0
	}
	if l.crs += held; l.crs > maxCRs || l.crs > 1 && !l.repair {
		return errBareLineEnd
	}
	return nil
}

// give puts the CRs that were held back and in[start:end], which does not end
// in CR, into out.
func (l *lineReader) give(start, end int) error {
	if l.crs > 1 && !l.repair {
		return errBareLineEnd
	}
	l.last = l.in[end-1]
	if l.crs > 0 && l.in[start] == '\n' {
		start--
		l.crs, l.in[start] = 0, '\r'
	}
	text := l.in[start:end]
	switch {
	case l.crs == 0 && cleanLines(text):
		l.out = text
	case !l.repair:
		return errBareLineEnd
	default:
		l.fixed = appendCRLF(l.fixed[:0], l.crs)
		l.fixed = appendRepaired(l.fixed, text)
		l.out = l.fixed
	}
	return nil
}

// finish ends the last line.
func (l *lineReader) finish() error {
	if l.crs > 0 && !l.repair {
		return errBareLineEnd
	}
	ends := l.crs
	if ends == 0 && l.last != 0 && l.last != '\n' {
		ends = 1
	}
	if ends > 0 {
		l.out = appendCRLF(l.out[:len(l.out):len(l.out)], ends)
	}
	return nil
}

func appendCRLF(b []byte, n int) []byte {
	for range n {
		b = append(b, '\r', '\n')
	}
	return b
}

// cleanLines reports whether CR and LF stand only together. The block does not
// end in CR unless the message does.
func cleanLines(block []byte) bool {
	for len(block) > 0 {
		i := bytes.IndexByte(block, '\n')
		if i < 0 {
			return bytes.IndexByte(block, '\r') < 0
		}
		if i == 0 || bytes.IndexByte(block[:i], '\r') != i-1 {
			return false
		}
		block = block[i+1:]
	}
	return true
}

// appendRepaired appends text, which does not end in CR, with CRLF line ends.
func appendRepaired(out, text []byte) []byte {
	for len(text) > 0 {
		i := bytes.IndexAny(text, "\r\n")
		if i < 0 {
			return append(out, text...)
		}
		out = append(out, text[:i]...)
		text = text[i:]
		rest := bytes.TrimLeft(text, "\r")
		if crs := len(text) - len(rest); rest[0] == '\n' {
			out = append(out, '\r', '\n')
			text = rest[1:]
		} else {
			out = appendCRLF(out, crs)
			text = rest
		}
	}
	return out
}

func hasEightBit(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return true
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
