package index

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// listCursor reads the posting lists of a segment in the order of trigrams.
type listCursor struct {
	s       *segment
	pages   int // read so far
	entries []uint64
	end     int64 // where the last list of the page ends
	block   []byte
	from    int64 // where block begins

	trigram trigram
	list    list
	remap   []uint32 // ordinal in the merged segment; noOrdinal if it has none
}

// noOrdinal is that of a document that a merge leaves out.
const noOrdinal = 1<<32 - 1

// next goes to the next list; ok is false behind the last one.
func (c *listCursor) next() (ok bool, err error) {
	if len(c.entries) == 0 {
		if c.pages == len(c.s.firsts) {
			return false, nil
		}
		if c.entries, c.end, err = c.s.page(c.pages); err != nil {
			return false, err
		}
		c.pages++
		_, c.from = splitEntry(c.entries[0])
		if c.block, err = c.s.read(c.from, c.end-c.from); err != nil {
			return false, err
		}
	}
	t, off := splitEntry(c.entries[0])
	to := c.end
	if c.entries = c.entries[1:]; len(c.entries) > 0 {
		_, to = splitEntry(c.entries[0])
	}
	if off < c.from || to < off || to > c.end {
		return false, errFormat
	}
	c.trigram = t
	c.list, err = parseList(c.block[off-c.from:to-c.from], len(c.s.docs))
	return err == nil, err
}

// appendTo appends the ordinals of the list in the merged segment.
func (c *listCursor) appendTo(dst, scratch []uint32) (_, _ []uint32, err error) {
	if scratch, err = c.list.appendTo(scratch[:0]); err != nil {
		return dst, scratch, err
	}
	for _, o := range scratch {
		if n := c.remap[o]; n != noOrdinal {
			dst = append(dst, n)
		}
	}
	return dst, scratch, nil
}

// merge writes one segment with those documents of others that live says are
// alive, each once. It reports how many there are; with none nothing is written.
func merge(w io.Writer, h fileHeader, segments []*segment, live func(document) bool) (docs int, err error) {
	cursors, all := mergedDocuments(segments, live)
	if len(all) == 0 {
		return 0, nil
	}
	var active []*listCursor
	for _, c := range cursors {
		if active, err = advance(active, c); err != nil {
			return 0, err
		}
	}
	out := newSegmentWriter(w, h, all)
	var ordinals, scratch []uint32
	for len(active) > 0 {
		t := slices.MinFunc(active, func(a, b *listCursor) int { return cmp.Compare(a.trigram, b.trigram) }).trigram
		ordinals = ordinals[:0]
		var left []*listCursor
		for _, c := range active {
			if c.trigram != t {
				left = append(left, c)
				continue
			}
			if ordinals, scratch, err = c.appendTo(ordinals, scratch); err != nil {
				return 0, err
			}
			if left, err = advance(left, c); err != nil {
				return 0, err
			}
		}
		active = left
		if len(ordinals) > 0 {
			slices.Sort(ordinals)
			out.addList(t, ordinals)
		}
	}
	return len(all), out.finish()
}

// advance adds c to list at its next posting list, if it has one.
func advance(list []*listCursor, c *listCursor) ([]*listCursor, error) {
	ok, err := c.next()
	if err != nil {
		return list, fmt.Errorf("merging %s: %w", c.s.path, err)
	}
	if ok {
		list = append(list, c)
	}
	return list, nil
}

// mergedDocuments gives the living documents of all segments ordinals by UID.
func mergedDocuments(segments []*segment, live func(document) bool) ([]*listCursor, []document) {
	type place struct {
		document
		remap *uint32
	}
	var places []place
	cursors := make([]*listCursor, len(segments))
	for i, s := range segments {
		c := &listCursor{s: s, remap: make([]uint32, len(s.docs))}
		cursors[i] = c
		for o, d := range s.docs {
			c.remap[o] = noOrdinal
			if live(d) {
				places = append(places, place{d, &c.remap[o]})
			}
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return compareDocuments(a.document, b.document) })
	var docs []document
	for _, p := range places {
		if len(docs) > 0 && docs[len(docs)-1] == p.document {
			continue // indexed twice; one will do
		}
		*p.remap = uint32(len(docs))
		docs = append(docs, p.document)
	}
	return cursors, docs
}
