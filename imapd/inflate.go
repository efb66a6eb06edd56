package imapd

import (
	"errors"
	"io"
)

// inflater decompresses DEFLATE (RFC 1951) for a protocol, where the last byte
// that has come must have its effect at once. compress/flate holds text back
// until a block that is stored comes, which a client that flushes in zlib's
// "partial" way never sends: mbsync and we would wait for each other.
//
// Symbols are decoded one at a time. One whose bits are not all there is tried
// again when more have come; before waiting for more, all text is handed out.
type inflater struct {
	src io.Reader
	buf [512]byte
	in  []byte // of buf, not used yet
	err error  // of src, or errCorrupt

	bits uint64 // taken from in; the lowest is the next
	nb   uint   // how many there are

	step  func(*inflater) error // what comes next
	final bool                  // the block at hand is the last one
	left  int                   // bytes of a stored block
	codes dynamicCodes
	lit   huffman // literals and lengths
	dist  huffman // distances

	window [windowSize]byte
	at     int // where the next byte goes
	unread int // bytes before at that Read has not given out
}

const windowSize = 32 << 10

var (
	errCorrupt  = errors.New("corrupt compressed data")
	errNeedBits = errors.New("more bits are needed")
)

// newInflater returns a reader of the text that src holds compressed.
func newInflater(src io.Reader) *inflater {
	return &inflater{src: src, step: (*inflater).header}
}

// Read implements io.Reader. It waits for the source only when there is no text
// to give out.
func (f *inflater) Read(p []byte) (int, error) {
	for f.unread == 0 || f.unread < min(len(p), windowSize/2) {
		if f.err == nil {
			f.refill()
			f.err = f.step(f)
		}
		wait := f.err == errNeedBits
		if wait {
			f.err = nil
		}
		switch {
		case f.unread > 0 && (wait || f.err != nil):
			return f.give(p), nil
		case wait:
			f.more()
		case f.err != nil:
			return 0, f.err
		}
	}
	return f.give(p), nil
}

// give copies text out of the window.
func (f *inflater) give(p []byte) int {
	from := (f.at - f.unread + windowSize) % windowSize
	n := copy(p, f.window[from:min(from+f.unread, windowSize)])
	if rest := f.unread - n; rest > 0 && n < len(p) {
		n += copy(p[n:], f.window[:rest])
	}
	f.unread -= n
	return n
}

// more waits for input.
func (f *inflater) more() {
	n, err := f.src.Read(f.buf[:])
	f.in = f.buf[:n]
	if n == 0 && err == io.EOF {
		err = io.ErrUnexpectedEOF // no block was the last one
	}
	if n == 0 {
		f.err = err
	}
}

// refill takes so many bits that any one symbol is complete, if there are as
// many.
func (f *inflater) refill() {
	for f.nb <= 56 && len(f.in) > 0 {
		f.bits |= uint64(f.in[0]) << f.nb
		f.in = f.in[1:]
		f.nb += 8
	}
}

// take takes n bits; ok is false if there are fewer.
func (f *inflater) take(n uint) (v int, ok bool) {
	if f.nb < n {
		return 0, false
	}
	v = int(f.bits & (1<<n - 1))
	f.bits >>= n
	f.nb -= n
	return v, true
}

// put appends one byte to the text.
func (f *inflater) put(c byte) {
	f.window[f.at] = c
	f.at = (f.at + 1) % windowSize
	f.unread++
}

// header begins a block.
func (f *inflater) header() error {
	if f.final {
		return io.EOF
	}
	if f.nb < 3 {
		return errNeedBits
	}
	final, _ := f.take(1)
	f.final = final == 1
	switch kind, _ := f.take(2); kind {
	case 0:
		f.take(f.nb % 8)
		f.step = (*inflater).storedLength
	case 1:
		f.lit, f.dist = fixedCodes()
		f.step = (*inflater).symbol
	case 2:
		f.codes = dynamicCodes{}
		f.step = (*inflater).codeCounts
	default:
		return errCorrupt
	}
	return nil
}

// storedLength reads the length of a stored block.
func (f *inflater) storedLength() error {
	v, ok := f.take(32)
	if !ok {
		return errNeedBits
	}
	if v&0xffff != ^v>>16&0xffff {
		return errCorrupt
	}
	f.left, f.step = v&0xffff, (*inflater).stored
	return nil
}

// stored copies one byte of a stored block.
func (f *inflater) stored() error {
	if f.left == 0 {
		f.step = (*inflater).header
		return nil
	}
	c, ok := f.take(8)
	if !ok {
		return errNeedBits
	}
	f.left--
	f.put(byte(c))
	return nil
}

// Lengths and distances (RFC 1951 section 3.2.5).
var (
	lengthBase = [...]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits = [...]uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase   = [...]int{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distBits   = [...]uint{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// symbol decodes a literal, or a length with its distance, which take at most 48
// bits together. If they are not all there, none is taken.
func (f *inflater) symbol() error {
	bits, nb := f.bits, f.nb
	err := f.trySymbol()
	if err == errNeedBits {
		f.bits, f.nb = bits, nb
	}
	return err
}

func (f *inflater) trySymbol() error {
	sym, err := f.decode(&f.lit)
	switch {
	case err != nil:
		return err
	case sym < 256:
		f.put(byte(sym))
		return nil
	case sym == 256:
		f.step = (*inflater).header
		return nil
	case sym-257 >= len(lengthBase):
		return errCorrupt
	}
	extra, ok := f.take(lengthBits[sym-257])
	if !ok {
		return errNeedBits
	}
	length := lengthBase[sym-257] + extra
	if sym, err = f.decode(&f.dist); err != nil {
		return err
	}
	if sym >= len(distBase) {
		return errCorrupt
	}
	if extra, ok = f.take(distBits[sym]); !ok {
		return errNeedBits
	}
	from := f.at - distBase[sym] - extra + windowSize
	for i := range length {
		f.put(f.window[(from+i)%windowSize])
	}
	return nil
}
