package imapd

// huffman is a canonical Huffman code (RFC 1951 section 3.2.2): how many codes
// there are of each length, and the symbols in the order of their codes.
type huffman struct {
	count  [16]int
	symbol [288]uint16
}

// build makes the code from the length of each symbol's code, 0 for none. It
// returns false if the lengths promise more codes than there are.
func (h *huffman) build(lengths []uint8) bool {
	h.count = [16]int{}
	for _, n := range lengths {
		h.count[n]++
	}
	h.count[0] = 0
	left := 1
	var next [16]int
	for n := 1; n < 16; n++ {
		left = left<<1 - h.count[n]
		if left < 0 {
			return false
		}
		next[n] = next[n-1] + h.count[n-1]
	}
	for sym, n := range lengths {
		if n != 0 {
			h.symbol[next[n]] = uint16(sym)
			next[n]++
		}
	}
	return true
}

// decode takes the bits of one symbol. Bits that have come are judged at once,
// so that bad data is found without waiting for more.
func (f *inflater) decode(h *huffman) (int, error) {
	code, first, index := 0, 0, 0
	for n := 1; n < 16; n++ {
		bit, ok := f.take(1)
		if !ok {
			return 0, errNeedBits
		}
		code |= bit
		if code-h.count[n] < first {
			return int(h.symbol[index+code-first]), nil
		}
		index += h.count[n]
		first = (first + h.count[n]) << 1
		code <<= 1
	}
	return 0, errCorrupt
}

// fixedCodes are the codes of a block that brings none (RFC 1951 section 3.2.6).
func fixedCodes() (lit, dist huffman) {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144, i >= 280:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		default:
			lengths[i] = 7
		}
	}
	lit.build(lengths[:])
	for i := range 30 {
		lengths[i] = 5
	}
	dist.build(lengths[:30])
	return lit, dist
}

// dynamicCodes is the description of a block's codes while it is read (RFC 1951
// section 3.2.7).
type dynamicCodes struct {
	nlit, ndist, nlen int
	n                 int // lengths read so far
	lengths           [320]uint8
}

// codeOrder is the order in which the lengths of the code of lengths come.
var codeOrder = [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// codeCounts reads how many codes there are.
func (f *inflater) codeCounts() error {
	v, ok := f.take(14)
	if !ok {
		return errNeedBits
	}
	f.codes = dynamicCodes{nlit: v&31 + 257, ndist: v>>5&31 + 1, nlen: v>>10 + 4}
	if f.codes.nlit > 286 {
		return errCorrupt
	}
	f.step = (*inflater).codeLengths
	return nil
}

// codeLengths reads one length of the code of lengths.
func (f *inflater) codeLengths() error {
	c := &f.codes
	v, ok := f.take(3)
	if !ok {
		return errNeedBits
	}
	c.lengths[codeOrder[c.n]] = uint8(v)
	if c.n++; c.n < c.nlen {
		return nil
	}
	if !f.lit.build(c.lengths[:19]) {
		return errCorrupt
	}
	c.n, c.lengths = 0, [320]uint8{}
	f.step = (*inflater).lengths
	return nil
}

// lengths reads one length of the two codes, or a run of them.
func (f *inflater) lengths() error {
	bits, nb := f.bits, f.nb
	value, times, err := f.run()
	if err == errNeedBits {
		f.bits, f.nb = bits, nb
	}
	if err != nil {
		return err
	}
	c := &f.codes
	if c.n+times > c.nlit+c.ndist {
		return errCorrupt
	}
	for range times {
		c.lengths[c.n] = value
		c.n++
	}
	if c.n < c.nlit+c.ndist {
		return nil
	}
	if c.lengths[256] == 0 || !f.lit.build(c.lengths[:c.nlit]) || !f.dist.build(c.lengths[c.nlit:c.n]) {
		return errCorrupt
	}
	f.step = (*inflater).symbol
	return nil
}

// run decodes a length and how often it comes.
func (f *inflater) run() (value uint8, times int, err error) {
	sym, err := f.decode(&f.lit)
	if err != nil || sym < 16 {
		return uint8(sym), 1, err
	}
	width, base := uint(2), 3
	switch sym {
	case 16:
		if f.codes.n == 0 {
			return 0, 0, errCorrupt
		}
		value = f.codes.lengths[f.codes.n-1]
	case 17:
		width = 3
	default:
		width, base = 7, 11
	}
	extra, ok := f.take(width)
	if !ok {
		return 0, 0, errNeedBits
	}
	return value, base + extra, nil
}
