package index

import (
	"encoding/binary"
	"math/bits"
)

// A posting list has the ordinals of the documents of a segment that hold a
// trigram. It is written as
//
//	kind and, of a Rice list, k in the higher bits  (1 byte)
//	number of ordinals                               (varint)
//	the list
//	checksum                                         (4 bytes)
//
// in the kind that is shortest. Of the 1,300 trigrams of a usual message two
// thirds are in more than half of all messages: a bitmap then costs less than
// two bits each, where a byte per gap would be common. The others, and rare
// ones all the more, cost little more than their information by Rice coding
// (R. F. Rice, 1979): the gap to the ordinal before, divided by 2^k, in unary,
// then k bits of rest.
const (
	listAll    = 0 // every document: nothing follows
	listBitmap = 1
	listRice   = 2

	listKinds = 2 // bits of the first byte
)

// appendList appends the list of ordinals, which rise, of a segment of docs
// documents.
func appendList(dst []byte, ordinals []uint32, docs int) []byte {
	start := len(dst)
	kind := byte(listAll)
	k := 0
	if len(ordinals) < docs {
		var size int
		if k, size = riceParameter(ordinals); size < (docs+7)/8 {
			kind = listRice
		} else {
			kind = listBitmap
		}
	}
	dst = append(dst, kind|byte(k)<<listKinds)
	dst = binary.AppendUvarint(dst, uint64(len(ordinals)))
	switch kind {
	case listBitmap:
		dst = appendBitmap(dst, ordinals, docs)
	case listRice:
		dst = appendRice(dst, ordinals, k)
	default:
		dst[start] = listAll
	}
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:]))
}

// riceParameter returns the best k for a list, and the bytes it takes.
func riceParameter(ordinals []uint32) (best, size int) {
	if len(ordinals) == 0 {
		return 0, 0
	}
	mean := (ordinals[len(ordinals)-1] + 1) / uint32(len(ordinals))
	guess := max(0, bits.Len32(mean)-1)
	size = -1
	for k := max(0, guess-1); k <= guess+1; k++ {
		sum := len(ordinals) * (k + 1)
		next := uint32(0)
		for _, o := range ordinals {
			sum += int((o - next) >> k)
			next = o + 1
		}
		if n := (sum + 7) / 8; size < 0 || n < size {
			best, size = k, n
		}
	}
	return best, size
}

func appendBitmap(dst []byte, ordinals []uint32, docs int) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, (docs+7)/8)...)
	for _, o := range ordinals {
		dst[start+int(o>>3)] |= 1 << (o & 7)
	}
	return dst
}

func appendRice(dst []byte, ordinals []uint32, k int) []byte {
	var w bitWriter
	next := uint32(0)
	for _, o := range ordinals {
		gap := o - next
		next = o + 1
		for q := gap >> k; ; q -= 32 {
			if q < 32 {
				dst = w.write(dst, 1<<q-1, int(q)+1) // q ones and a zero
				break
			}
			dst = w.write(dst, 1<<32-1, 32)
		}
		dst = w.write(dst, uint64(gap)&(1<<k-1), k)
	}
	return w.flush(dst)
}

// bitWriter appends bits, the lowest first.
type bitWriter struct {
	bits uint64
	n    int
}

// write appends the n lowest bits of v, at most 33; the others are zero.
func (w *bitWriter) write(dst []byte, v uint64, n int) []byte {
	w.bits |= v << w.n
	w.n += n
	for w.n >= 8 {
		dst = append(dst, byte(w.bits))
		w.bits >>= 8
		w.n -= 8
	}
	return dst
}

func (w *bitWriter) flush(dst []byte) []byte {
	if w.n > 0 {
		dst = append(dst, byte(w.bits))
	}
	return dst
}

// list is a posting list as it is written, checked but not decoded.
type list struct {
	kind  int
	k     int
	count int
	docs  int
	data  []byte
}

// parseList checks a written list of a segment of docs documents.
func parseList(b []byte, docs int) (l list, err error) {
	if len(b) < 6 {
		return l, errFormat
	}
	b, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if checksum(b) != sum {
		return l, errFormat
	}
	n, used := binary.Uvarint(b[1:])
	l = list{kind: int(b[0] & (1<<listKinds - 1)), k: int(b[0] >> listKinds), count: int(n), docs: docs}
	if used <= 0 || n > uint64(docs) || l.k > 32 {
		return l, errFormat
	}
	l.data = b[1+used:]
	switch l.kind {
	case listAll:
		if len(l.data) != 0 || l.count != docs {
			return l, errFormat
		}
	case listBitmap:
		if len(l.data) != (docs+7)/8 {
			return l, errFormat
		}
	case listRice:
	default:
		return l, errFormat
	}
	return l, nil
}

// appendTo appends the ordinals. The error is errFormat.
func (l list) appendTo(dst []uint32) ([]uint32, error) {
	start := len(dst)
	switch l.kind {
	case listAll:
		for o := range uint32(l.docs) {
			dst = append(dst, o)
		}
	case listBitmap:
		for i, c := range l.data {
			for ; c != 0; c &= c - 1 {
				dst = append(dst, uint32(i*8+bits.TrailingZeros8(c)))
			}
		}
	case listRice:
		r := riceReader{data: l.data, k: l.k}
		for range l.count {
			o, ok := r.next()
			if !ok {
				return dst, errFormat
			}
			dst = append(dst, o)
		}
	}
	if n := len(dst) - start; n != l.count || n > 0 && dst[len(dst)-1] >= uint32(l.docs) {
		return dst, errFormat
	}
	return dst, nil
}

// intersect keeps those of ordinals that are in the list, too. The error is
// errFormat.
func (l list) intersect(ordinals []uint32) ([]uint32, error) {
	kept := ordinals[:0]
	switch l.kind {
	case listAll:
		return ordinals, nil
	case listBitmap:
		for _, o := range ordinals {
			if l.data[o>>3]&(1<<(o&7)) != 0 {
				kept = append(kept, o)
			}
		}
		return kept, nil
	}
	r := riceReader{data: l.data, k: l.k}
	left := l.count
	for _, o := range ordinals {
		for !r.some || r.last < o {
			if left == 0 {
				return kept, nil
			}
			if _, ok := r.next(); !ok {
				return kept, errFormat
			}
			left--
		}
		if r.last == o {
			kept = append(kept, o)
		}
	}
	return kept, nil
}

// riceReader decodes a Rice list.
type riceReader struct {
	data []byte
	k    int
	bits uint64 // not yet read, the lowest first
	n    int    // how many
	last uint32
	some bool // last is an ordinal
}

// fill makes sure of at least 56 bits, as long as there are so many.
func (r *riceReader) fill() {
	if r.n <= 32 && len(r.data) >= 4 {
		r.bits |= uint64(binary.LittleEndian.Uint32(r.data)) << r.n
		r.data = r.data[4:]
		r.n += 32
	}
	for r.n <= 56 && len(r.data) > 0 {
		r.bits |= uint64(r.data[0]) << r.n
		r.data = r.data[1:]
		r.n += 8
	}
}

// next returns the next ordinal; ok is false if the list is damaged.
func (r *riceReader) next() (o uint32, ok bool) {
	gap := uint64(0)
	for {
		r.fill()
		ones := bits.TrailingZeros64(^r.bits)
		if ones < r.n {
			gap += uint64(ones)
			r.bits >>= ones + 1
			r.n -= ones + 1
			break
		}
		if r.n == 0 {
			return 0, false
		}
		gap += uint64(r.n)
		r.bits, r.n = 0, 0
	}
	r.fill()
	if r.n < r.k || gap > 1<<32>>r.k {
		return 0, false
	}
	gap = gap<<r.k | r.bits&(1<<r.k-1)
	r.bits >>= r.k
	r.n -= r.k
	next := gap
	if r.some {
		next += uint64(r.last) + 1
	}
	if next >= 1<<32 {
		return 0, false
	}
	r.last, r.some = uint32(next), true
	return r.last, true
}
