package imapd

import "svc.plus/mailsrvd/imapd/wire"

// partialRange is a range of positions in a result (RFC 9394 section 3): from
// the start, or, negative, from the end.
type partialRange struct {
	text        string // as it was written
	first, last int64
}

// parsePartialRange parses "1:500" or "-1:-100".
func (s *session) parsePartialRange() partialRange {
	s.dec.SP()
	start := s.dec.Accept('-')
	r := partialRange{first: int64(s.dec.NZNumber())}
	s.dec.Expect(':')
	if s.dec.Err() == nil && s.dec.Accept('-') != start {
		s.dec.Failf("Partial range mixes both ends")
	}
	r.last = int64(s.dec.NZNumber())
	sign := ""
	if start {
		sign = "-"
	}
	r.text = sign + string(wire.AppendNumbers(nil, []uint32{uint32(r.first)})) + ":" +
		sign + string(wire.AppendNumbers(nil, []uint32{uint32(r.last)}))
	if r.first > r.last {
		r.first, r.last = r.last, r.first
	}
	if start {
		r.first, r.last = -r.last, -r.first
	}
	return r
}

// bounds are the positions lo to hi of n that the range means.
func (r partialRange) bounds(n int) (lo, hi int) {
	first, last := r.first, r.last
	if first < 0 {
		first, last = int64(n)+first+1, int64(n)+last+1
	}
	lo = int(min(max(first, 1), int64(n)+1)) - 1
	hi = int(min(max(last, 0), int64(n)))
	return lo, max(lo, hi)
}

// cut returns the messages of spans that the range means.
func (r partialRange) cut(spans []span) []span {
	lo, hi := r.bounds(count(spans))
	var out []span
	for _, sp := range spans {
		n := sp.hi - sp.lo
		out = addSpan(out, sp.lo+min(max(lo, 0), n), sp.lo+min(max(hi, 0), n))
		lo, hi = lo-n, hi-n
	}
	return out
}
