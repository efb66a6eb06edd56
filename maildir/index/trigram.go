package index

import "slices"

// trigram is three bytes of folded text, the first in the highest place.
type trigram uint32

// anyTrigram stands in a segment for the documents with too many trigrams to
// keep: they may hold every needle.
const anyTrigram trigram = 1 << 24

// maxTrigrams is how many a document may have. English text of a megabyte has
// some 20,000; more than this is no text.
const maxTrigrams = 200_000

// minNeedle is the length of the shortest needle, folded, that trigrams can
// find.
const minNeedle = 3

// trigrams are the trigrams of a needle, without doubles.
func trigrams(needle []byte) []trigram {
	var list []trigram
	for i := 0; i+2 < len(needle); i++ {
		list = append(list, trigram(needle[i])<<16|trigram(needle[i+1])<<8|trigram(needle[i+2]))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// extractor collects the trigrams of a document's texts. It has one bit for each
// possible trigram, 2 MiB.
type extractor struct {
	seen []uint64
	list []trigram
	tail trigram // the last two bytes
	have int     // how many bytes of tail are of the current text
}

func newExtractor() *extractor { return &extractor{seen: make([]uint64, 1<<24/64)} }

// add takes the next chunk of a text; first says that it begins another text.
func (x *extractor) add(chunk []byte, first bool) {
	if first {
		x.have = 0
	}
	t := x.tail
	for len(chunk) > 0 && x.have < 2 {
		t = t<<8 | trigram(chunk[0])
		x.have++
		chunk = chunk[1:]
	}
	for _, c := range chunk {
		t = (t<<8 | trigram(c)) & 0xffffff
		word, bit := &x.seen[t>>6], uint64(1)<<(t&63)
		if *word&bit == 0 {
			*word |= bit
			x.list = append(x.list, t)
		}
	}
	x.tail = t & 0xffff
}

// take returns the document's trigrams, in no order, and begins another one. If
// there are too many, it is anyTrigram alone.
func (x *extractor) take(dst []trigram) []trigram {
	if len(x.list) > maxTrigrams {
		dst = append(dst, anyTrigram)
		clear(x.seen)
	} else {
		dst = append(dst, x.list...)
		for _, t := range x.list {
			x.seen[t>>6] = 0
		}
	}
	x.list, x.have = x.list[:0], 0
	return dst
}
