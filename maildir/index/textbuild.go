package index

import (
	"encoding/binary"
	"io"
	"slices"
)

// accumulator collects the posting lists of a segment that is being built, with
// bounded memory: gaps as varints, in chunks of an arena of blocks.
type accumulator struct {
	docs  []document
	table []int32 // hash table of positions in lists, -1 is free; a power of two long
	lists []growing
	arena [][]byte
	used  uint32 // of the arena
}

// growing is the list of one trigram. A chunk is the position of the next one (4
// bytes) and gaps; chunks double in size.
type growing struct {
	trigram trigram
	next    uint32 // ordinal behind the last one
	count   uint32
	first   uint32 // where the first chunk begins
	at, end uint32 // where the last chunk goes on and ends
	size    uint32 // of the last chunk
}

// The sizes of a chunk.
const (
	minChunk  = 12
	maxChunk  = 1 << 10
	chunkHead = 4
)

// The arena's blocks are of arenaBlock bytes; no chunk is in two of them. With
// maxArena bytes an accumulator is full.
const (
	arenaBits  = 20
	arenaBlock = 1 << arenaBits
	maxArena   = 16 << 20
)

func newAccumulator() *accumulator {
	a := &accumulator{table: make([]int32, 1<<16)}
	for i := range a.table {
		a.table[i] = -1
	}
	return a
}

// full reports whether the segment should be written now.
func (a *accumulator) full() bool { return a.used >= maxArena || len(a.docs) >= maxSegmentDocs/4 }

// add takes a document and its trigrams, each once.
func (a *accumulator) add(d document, trigrams []trigram) {
	ordinal := uint32(len(a.docs))
	a.docs = append(a.docs, d)
	for _, t := range trigrams {
		g := a.list(t)
		var gap [binary.MaxVarintLen32]byte
		n := binary.PutUvarint(gap[:], uint64(ordinal-g.next))
		g.next = ordinal + 1
		g.count++
		for _, c := range gap[:n] {
			if g.at == g.end {
				a.extend(g)
			}
			a.arena[g.at>>arenaBits][g.at&(arenaBlock-1)] = c
			g.at++
		}
	}
}

// list finds the list of a trigram, or makes it. The pointer is valid until the
// next call.
func (a *accumulator) list(t trigram) *growing {
	mask := uint32(len(a.table) - 1)
	for i := uint32(t) * 0x9e3779b1 >> 8 & mask; ; i = (i + 1) & mask {
		switch j := a.table[i]; {
		case j < 0:
			return a.newList(t, i)
		case a.lists[j].trigram == t:
			return &a.lists[j]
		}
	}
}

func (a *accumulator) newList(t trigram, slot uint32) *growing {
	a.table[slot] = int32(len(a.lists))
	a.lists = append(a.lists, growing{trigram: t})
	if 2*len(a.lists) > len(a.table) {
		a.rehash()
	}
	return &a.lists[len(a.lists)-1]
}

func (a *accumulator) rehash() {
	a.table = make([]int32, 2*len(a.table))
	for i := range a.table {
		a.table[i] = -1
	}
	mask := uint32(len(a.table) - 1)
	for j := range a.lists {
		i := uint32(a.lists[j].trigram) * 0x9e3779b1 >> 8 & mask
		for a.table[i] >= 0 {
			i = (i + 1) & mask
		}
		a.table[i] = int32(j)
	}
}

// from returns the arena from a position to the end of its block.
func (a *accumulator) from(pos uint32) []byte { return a.arena[pos>>arenaBits][pos&(arenaBlock-1):] }

// extend gives a list another chunk.
func (a *accumulator) extend(g *growing) {
	size := min(2*g.size, maxChunk)
	if size == 0 {
		size = minChunk
	}
	at := a.allocate(size)
	if g.size == 0 {
		g.first = at
	} else {
		binary.LittleEndian.PutUint32(a.from(g.end-g.size), at)
	}
	g.size, g.at, g.end = size, at+chunkHead, at+size
}

// allocate takes n bytes of the arena; they may hold anything.
func (a *accumulator) allocate(n uint32) (at uint32) {
	if left := arenaBlock - a.used&(arenaBlock-1); left < n {
		a.used += left
	}
	at = a.used
	a.used += n
	if int(at>>arenaBits) == len(a.arena) {
		a.arena = append(a.arena, make([]byte, arenaBlock))
	}
	return at
}

// ordinals appends a list's ordinals to dst.
func (a *accumulator) ordinals(g *growing, dst []uint32) []uint32 {
	size := uint32(minChunk)
	chunk := a.from(g.first)[:size]
	at := uint32(chunkHead)
	next, gap, shift := uint32(0), uint32(0), 0
	for left := g.count; left > 0; {
		if at == size {
			size = min(2*size, maxChunk)
			chunk = a.from(binary.LittleEndian.Uint32(chunk))[:size]
			at = chunkHead
		}
		c := chunk[at]
		at++
		gap |= uint32(c&0x7f) << shift
		if shift += 7; c < 0x80 {
			dst = append(dst, next+gap)
			next += gap + 1
			gap, shift = 0, 0
			left--
		}
	}
	return dst
}

// write writes the segment and empties the accumulator.
func (a *accumulator) write(w io.Writer, h fileHeader) error {
	s := newSegmentWriter(w, h, a.docs)
	slices.SortFunc(a.lists, func(x, y growing) int { return int(x.trigram) - int(y.trigram) })
	var ordinals []uint32
	for i := range a.lists {
		g := &a.lists[i]
		ordinals = a.ordinals(g, ordinals[:0])
		s.addList(g.trigram, ordinals)
	}
	a.reset()
	return s.finish()
}

func (a *accumulator) reset() {
	a.docs, a.lists, a.used = a.docs[:0], a.lists[:0], 0
	for i := range a.table {
		a.table[i] = -1
	}
}
