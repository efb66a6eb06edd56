package imapd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"svc.plus/mailsrvd/imapd/wire"
	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/maildir"
	"svc.plus/mailsrvd/maildir/index"
)

// readerAt is what message reads stored messages from.
type readerAt = io.ReaderAt

// searchReturn is what a SEARCH gives back (RFC 9051 section 6.4.4, RFC 4731,
// RFC 5182).
type searchReturn struct {
	returned                   bool // RETURN was given
	extended                   bool // ESEARCH instead of SEARCH
	min, max, all, count, save bool
	partial                    *partialRange // RFC 9394; nil is none
	update                     bool          // RFC 5267
}

// search runs SEARCH and UID SEARCH.
func (s *session) search(c *call) error {
	s.dec.SP()
	ret := s.parseReturn("CONTEXT=SEARCH")
	p := &searchParser{s: s, now: time.Now()}
	if p.charset = "US-ASCII"; s.dec.AcceptWord("CHARSET") {
		s.dec.SP()
		p.charset = s.dec.AString()
		s.dec.SP()
	}
	key, err := p.parseKeys()
	if err != nil {
		return err
	}
	found, err := s.find(c, key)
	if ret.save {
		s.view.saved = nil // also if it fails (RFC 5182 section 2.1)
	}
	if err != nil {
		return err
	}
	s.found(c, "SEARCH", ret, found, p)
	if ret.update {
		x := &searchContext{tag: c.tag, uid: c.uid, key: key}
		for _, uid := range s.view.at(found) {
			x.members = append(x.members, contextMember{uid: uid})
		}
		s.keepContext(c, x, p)
	}
	return nil
}

// parseReturn parses RETURN and its options, and the space behind it. context is
// the capability for UPDATE.
func (s *session) parseReturn(context string) searchReturn {
	ret := searchReturn{extended: s.enabled.rev2, all: true}
	if !s.dec.AcceptWord("RETURN") {
		return ret
	}
	ret = searchReturn{returned: true, extended: true}
	s.dec.SP()
	s.dec.List(func() {
		switch option := s.dec.Word(); {
		case option == "MIN":
			ret.min = true
		case option == "MAX":
			ret.max = true
		case option == "ALL":
			ret.all = true
		case option == "COUNT":
			ret.count = true
		case option == "SAVE":
			ret.save = true
		case option == "PARTIAL":
			partial := s.parsePartialRange()
			ret.partial = &partial
		case option == "UPDATE" && s.caps.on(context):
			ret.update = true
		case option == "CONTEXT" && s.caps.on(context): // a hint that we need not
		default:
			s.dec.Failf("Unknown return option %s", option)
		}
	})
	s.dec.SP()
	if ret.partial != nil && ret.all {
		s.dec.Failf("PARTIAL and ALL exclude each other")
	}
	if !ret.min && !ret.max && !ret.count && !ret.save && !ret.update && ret.partial == nil {
		ret.all = true
	}
	return ret
}

// find returns the indexes of the messages that match.
func (s *session) find(c *call, key predicate) ([]int, error) {
	found := make([]int, len(s.view.uids))
	for i := range found {
		found[i] = i
	}
	for _, stage := range key.stages() {
		var err error
		if found, err = s.filter(c, stage, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// filter returns those of the indexes whose messages match, in their space.
func (s *session) filter(c *call, key predicate, indexes []int) ([]int, error) {
	h, stale, err := s.textHits(key, s.view.at(indexes))
	if err != nil {
		return nil, err
	}
	if stale { // later: this search wants all processors now
		defer s.view.box.ReindexSoon()
	}
	if key.within != nil {
		if left := key.within(h); left.some {
			indexes = slices.DeleteFunc(indexes, func(i int) bool { return !left.has(s.view.uids[i]) })
		}
	}
	keep := make([]bool, len(indexes))
	err = s.each(c, key.cost, indexes, func(i int, cand *candidate) (err error) {
		cand.seq, cand.hits = uint32(indexes[i]+1), h
		keep[i], err = key.match(cand)
		return err
	})
	n := 0
	for i, k := range keep {
		if k {
			indexes[n] = indexes[i]
			n++
		}
	}
	return indexes[:n], err
}

// each calls look for the messages with these indexes, with their position among
// them; several goroutines do so if it is worth it.
func (s *session) each(c *call, price cost, indexes []int, look func(i int, cand *candidate) error) error {
	uids := s.view.at(indexes)
	if price == costHeader { // what is read for the cache now need not be read again
		if err := s.fill(c, uids); err != nil {
			return err
		}
	}
	return s.inChunks(c, price, len(uids), func(lo, hi int) error {
		return s.candidates(uids[lo:hi], func(i int, cand *candidate) error { return look(lo+i, cand) })
	})
}

// fill has the cache read what it does not know of messages.
func (s *session) fill(c *call, uids []maildir.UID) (err error) {
	var at atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err = s.view.box.Fill(s.srv.ctx, uids, func(done, _ int) { at.Store(int64(done)) })
	})
	s.waitFor(c, &wg, func() int { return int(at.Load()) }, len(uids))
	return err
}

// candidates calls look for messages, with their position in uids. One that
// cannot be read is logged and passed over.
func (s *session) candidates(uids []maildir.UID, look func(i int, c *candidate) error) error {
	if err := s.srv.ctx.Err(); err != nil {
		return err
	}
	i := 0
	var c candidate
	c.batch = newBatch(s.srv.ctx, s.view.box, uids)
	defer c.batch.close()
	messages := s.view.box.Lookup(uids, nil)
	return s.view.box.Rows(uidsOf(messages), func(k int, row index.Row, known bool) error {
		m := messages[k]
		for uids[i] != m.UID {
			i++
		}
		c = candidate{fetched: fetched{Message: m, batch: c.batch, row: row, known: known}}
		err := look(i, &c)
		c.close()
		if err != nil && !errors.Is(err, maildir.ErrExpunged) {
			s.logger().Error("searching a message failed", "mailbox", s.view.box.Name(), "uid", m.UID, "err", err)
		}
		return nil
	})
}

// found saves and writes the result of SEARCH or SORT.
func (s *session) found(c *call, response string, ret searchReturn, indexes []int, p *searchParser) {
	picked := s.view.at(ret.picked(indexes))
	if ret.save {
		s.view.saved = slices.Sorted(slices.Values(picked))
	}
	var highest maildir.ModSeq
	if p.modseq {
		highest = s.view.highestOf(picked)
	}
	numbers := s.numbers(c, indexes)
	switch {
	case !ret.extended:
		s.enc.Raw("* ").Raw(response)
		for _, n := range numbers {
			s.enc.SP().Number(uint64(n))
		}
		if highest > 0 {
			s.enc.Raw(" (MODSEQ ").Number(uint64(highest)).Byte(')')
		}
		s.enc.CRLF()
	case ret.min || ret.max || ret.all || ret.count || ret.partial != nil: // not if SAVE alone
		s.writeESearch(c, ret, numbers, highest)
	}
}

// numbers returns sequence numbers or, for a UID command, the UIDs.
func (s *session) numbers(c *call, indexes []int) []uint32 {
	numbers := make([]uint32, len(indexes))
	for i, index := range indexes {
		numbers[i] = uint32(index + 1)
		if c.uid {
			numbers[i] = uint32(s.view.uids[index])
		}
	}
	return numbers
}

// writeESearch writes the ESEARCH response (RFC 9051 section 7.3.4).
func (s *session) writeESearch(c *call, ret searchReturn, numbers []uint32, highest maildir.ModSeq) {
	s.enc.Raw("* ESEARCH (TAG ").String(c.tag).Raw(")")
	if c.uid {
		s.enc.Raw(" UID")
	}
	if n := len(numbers); n > 0 {
		if ret.min {
			s.enc.Raw(" MIN ").Number(uint64(numbers[0]))
		}
		if ret.max {
			s.enc.Raw(" MAX ").Number(uint64(numbers[n-1]))
		}
		if ret.all {
			s.enc.Raw(" ALL ").Bytes(wire.AppendNumbers(nil, numbers))
		}
	}
	if ret.partial != nil {
		s.writePartial(*ret.partial, numbers)
	}
	if ret.count {
		s.enc.Raw(" COUNT ").Number(uint64(len(numbers)))
	}
	if highest > 0 {
		s.enc.Raw(" MODSEQ ").Number(uint64(highest))
	}
	s.enc.CRLF()
}

// writePartial writes the part of the result that PARTIAL asks for, NIL if that
// is nothing.
func (s *session) writePartial(r partialRange, numbers []uint32) {
	lo, hi := r.bounds(len(numbers))
	s.enc.Raw(" PARTIAL (").Raw(r.text).SP()
	if lo == hi {
		s.enc.Raw("NIL")
	}
	s.enc.Bytes(wire.AppendNumbers(nil, numbers[lo:hi])).Byte(')')
}

// picked is what SAVE saves and MODSEQ is about: all of the result, or only what
// MIN and MAX pick if nothing else was asked for (RFC 5182 section 2.1).
func (ret searchReturn) picked(indexes []int) []int {
	n := len(indexes)
	if n == 0 || ret.all || ret.count || !ret.min && !ret.max {
		return indexes
	}
	var picked []int
	if ret.min {
		picked = append(picked, indexes[0])
	}
	if ret.max && (n > 1 || !ret.min) {
		picked = append(picked, indexes[n-1])
	}
	return picked
}

// at returns the UIDs of the messages with these indexes.
func (v *view) at(indexes []int) []maildir.UID {
	uids := make([]maildir.UID, len(indexes))
	for i, index := range indexes {
		uids[i] = v.uids[index]
	}
	return uids
}

// candidate is a message that a search looks at. It reads what is asked for,
// once.
type candidate struct {
	fetched
	seq    uint32
	hits   hits
	loaded needs
	fields message.Fields
	parsed headerParts
}

// headerParts tells which fields were parsed.
type headerParts uint8

const (
	parsedNone headerParts = iota
	parsedKept             // those that the cache keeps
	parsedAll
)

// mayHold is false if the full-text index knows that the message does not hold a
// needle.
func (c *candidate) mayHold(needle *message.Matcher) bool {
	h := c.hits[needle]
	return !h.some || h.has(c.UID)
}

// need loads what is not there yet.
func (c *candidate) need(n needs) error {
	if n &^= c.loaded; n == 0 {
		return nil
	}
	c.loaded |= n
	return c.load(n)
}

// messageSize is RFC822.SIZE.
func (c *candidate) messageSize() (int64, error) {
	err := c.need(needSize)
	return c.size, err
}

// internal is the internal date.
func (c *candidate) internal() (time.Time, error) {
	err := c.need(needDate)
	return c.times.Internal, err
}

// saved is the date of saving, which only the file tells.
func (c *candidate) saved() (time.Time, error) {
	err := c.need(needDate | needSaved)
	return c.times.Saved, err
}

// content returns the message's structure and file.
func (c *candidate) content() (*message.Part, io.ReaderAt, error) {
	err := c.need(needPart | needFile)
	return c.part, c.file, err
}

// header returns fields of the header, those called name among them. No more of
// the file is read.
func (c *candidate) header(name string) (message.Fields, error) {
	if c.parsed == parsedAll || c.parsed == parsedKept && index.Keeps(name) {
		return c.fields, nil
	}
	if index.Keeps(name) && c.long() {
		if block, ok := c.wire.Header(); ok {
			c.fields, c.parsed = message.ParseHeader(block), parsedKept
			return c.fields, nil
		}
	}
	if err := c.need(needFile); err != nil {
		return nil, err
	}
	block, err := readHeader(c.file)
	if err != nil {
		return nil, err
	}
	c.fields, c.parsed = message.ParseHeader(block), parsedAll
	return c.fields, nil
}

// readHeader reads the header block of a stored message, up to maxHeader.
func readHeader(r io.ReaderAt) ([]byte, error) {
	block := make([]byte, 0, 4<<10)
	for {
		n, err := r.ReadAt(block[len(block):cap(block)], int64(len(block)))
		block = block[:len(block)+n]
		if end := headerEnd(block); end >= 0 {
			return block[:end], nil
		}
		if err == io.EOF || len(block) >= maxHeader {
			return block, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading a header: %w", err)
		}
		block = append(make([]byte, 0, 2*cap(block)), block...)
	}
}

// headerEnd is where the header ends in text, behind its blank line, or -1.
func headerEnd(text []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(text[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		rest := text[from:]
		if len(rest) > 0 && rest[0] == '\n' {
			return from + 1
		}
		if len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n' {
			return from + 2
		}
	}
}
