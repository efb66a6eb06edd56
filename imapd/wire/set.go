package wire

import (
	"math"
	"slices"
	"strconv"
)

// Set is a sequence set: message sequence numbers or UIDs (RFC 9051 section 9,
// sequence-set).
type Set struct {
	// Ranges are as the client wrote them.
	Ranges []Range
	// Saved is the "$" of SEARCHRES (RFC 5182): the last saved result. There
	// are no ranges then.
	Saved bool
}

// Range is a range of numbers, both ends included; they may be in either order.
// Star stands for the "*".
type Range struct{ First, Last uint32 }

// Star is the "*" in a Range: the largest number in use.
const Star = 0

// Set insists on a sequence set.
func (d *Decoder) Set() Set {
	if d.Accept('$') {
		return Set{Saved: true}
	}
	var s Set
	for {
		r := Range{First: d.setNumber()}
		r.Last = r.First
		if d.Accept(':') {
			r.Last = d.setNumber()
		}
		if d.err != nil {
			return Set{}
		}
		s.Ranges = append(s.Ranges, r)
		if !d.Accept(',') {
			return s
		}
	}
}

func (d *Decoder) setNumber() uint32 {
	if d.Accept('*') {
		return Star
	}
	return d.NZNumber()
}

// Resolve returns the ranges in ascending order, merged, with "*" replaced by
// largest. With largest 0, there being no messages, "*" is nothing.
func (s Set) Resolve(largest uint32) []Range {
	out := make([]Range, 0, len(s.Ranges))
	for _, r := range s.Ranges {
		if r.First == Star {
			r.First = largest
		}
		if r.Last == Star {
			r.Last = largest
		}
		if r.First > r.Last {
			r.First, r.Last = r.Last, r.First
		}
		if r.First == 0 {
			r.First = 1
		}
		if r.Last != 0 {
			out = append(out, r)
		}
	}
	return merge(out)
}

// merge sorts ranges and joins those that touch, in place.
func merge(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int {
		if a.First < b.First {
			return -1
		}
		if a.First > b.First {
			return 1
		}
		return 0
	})
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && (out[n-1].Last == math.MaxUint32 || r.First <= out[n-1].Last+1) {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Contains reports whether n is in ranges, which are as Resolve returns them.
func Contains(ranges []Range, n uint32) bool {
	i, found := slices.BinarySearchFunc(ranges, n, func(r Range, n uint32) int {
		switch {
		case r.Last < n:
			return -1
		case r.First > n:
			return 1
		}
		return 0
	})
	_ = i
	return found
}

// AppendNumbers appends numbers as a sequence set, in their order; runs of
// neighbours become ranges. It appends nothing for no numbers.
func AppendNumbers[T ~uint32](dst []byte, numbers []T) []byte {
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(numbers[i]), 10)
		if j > i {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(numbers[j]), 10)
		}
		i = j + 1
	}
	return dst
}

// AppendRanges appends ranges as a sequence set.
func AppendRanges(dst []byte, ranges []Range) []byte {
	for i, r := range ranges {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(r.First), 10)
		if r.Last != r.First {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(r.Last), 10)
		}
	}
	return dst
}
