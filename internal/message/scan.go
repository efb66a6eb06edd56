package message

import (
	"bytes"
	"sync"
)

// Limits of a scan. What lies beyond a limit is still counted and served, it
// only has no structure of its own.
const (
	// MaxDepth is how deep parts may nest; a multipart or message deeper down is
	// an application/octet-stream leaf.
	MaxDepth = 100
	// MaxParts is how many parts a message may have; boundaries behind the last
	// one are text.
	MaxParts = 10000
	// maxField is how much of a header field is kept, in bytes.
	maxField = 256 << 10
	// maxHeaders is how much of all header fields of a message is kept together.
	maxHeaders = 2 << 20
	// maxBoundary is the longest boundary compared: RFC 2046 allows 70, Dovecot
	// compares 80.
	maxBoundary = 80
	// maxPeek is how much of a line is looked at to know a boundary line:
	// "--", the boundary, "--", CR, LF.
	maxPeek = 2 + maxBoundary + 4
)

// block is a buffer for file reads; blocks lends them out.
type block [32 << 10]byte

var blocks = sync.Pool{New: func() any { return new(block) }}

// mark is a place in the message, in each of the three measures.
type mark struct {
	pos   int64 // bytes as stored
	virt  int64 // bytes with CRLF line ends
	lines int64 // line ends passed
}

// back is the mark n stored bytes (1 or 2) of line break before m; n = 0 is m.
func (m mark) back(n int64) mark {
	if n == 0 {
		return m
	}
	return mark{m.pos - n, m.virt - 2, m.lines - 1}
}

// state says what the bytes at the scanner's position are.
type state uint8

const (
	inHeader state = iota
	inBody
	inDelimiter // the rest of a boundary line
)

// openPart is a part whose end has not come yet.
type openPart struct {
	part   *Part
	header mark // where its header begins
	body   mark // where its body begins
	mime   bool // Content- fields are valid: below a multipart, or MIME-Version or Content-Type seen
	typed  bool // Content-Type seen
	digest bool // its children are messages by default
}

// endHeader says where the header ends.
func (o *openPart) endHeader(end mark) {
	if o.header.pos > end.pos {
		o.header = end
	}
	o.body = end
	o.part.HeaderStart, o.part.BodyStart = o.header.pos, end.pos
	o.part.HeaderVSize, o.part.HeaderLines = end.virt-o.header.virt, end.lines-o.header.lines
}

// delimiter is the boundary of an open multipart.
type delimiter struct {
	boundary []byte
	owner    int // index in Scanner.open
}

// Scanner finds the structure of a message in one pass while its bytes are
// written to it, in chunks of any size, with LF, CRLF or mixed line ends. It
// takes anything: malformed mail gives some structure, never an error. Memory
// is bounded by the limits on depth, parts and header fields. Boundaries are
// compared as RFC 2046 section 5.1.1 and Dovecot (lib-mail/message-parser.c)
// do it: the beginning of a line is enough, the longest open boundary wins.
//
// A Scanner is for one message and one goroutine.
type Scanner struct {
	state state
	at    mark // behind the last byte written
	cr    bool // the last byte written was CR

	start   mark   // where the current line begins
	pending []byte // the current line so far, when it came in several chunks
	midline bool   // the current line has begun in an earlier chunk
	decided bool   // inBody: the current line is known to be no boundary
	eol     int64  // stored bytes of the line break before start, if it belongs to the open part, else 0
	closing bool   // inDelimiter: the boundary line ends its multipart

	open   []openPart
	delims []delimiter
	parts  int

	field    []byte // the current header field so far, if it is wanted
	wanted   fieldID
	kept     int // bytes of header fields kept in all
	boundary []byte
}

// NewScanner returns a Scanner at the start of a message.
func NewScanner() *Scanner {
	s := &Scanner{
		open:  make([]openPart, 0, 4),
		field: make([]byte, 0, 512),
	}
	s.begin()
	return s
}

// Reset makes s what NewScanner returns, in the memory that it has. What an
// earlier Finish returned stays as it is.
func (s *Scanner) Reset() {
	clear(s.open[:cap(s.open)])
	clear(s.delims[:cap(s.delims)])
	*s = Scanner{
		pending: s.pending[:0], open: s.open[:0], delims: s.delims[:0], field: s.field[:0],
	}
	s.begin()
}

// begin opens the message itself.
func (s *Scanner) begin() {
	s.push(&Part{Summary: new(Summary)}, mark{}, false)
	s.nextLine(0)
}

// Write takes the next bytes of the message. It never fails and keeps no
// reference to p.
func (s *Scanner) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		switch {
		case s.state == inHeader:
			p = s.headerBytes(p)
		case s.state == inDelimiter:
			p = s.delimiterBytes(p)
		case len(s.delims) == 0 || s.parts >= MaxParts:
			s.count(p)
			p = nil
		default:
			p = s.bodyBytes(p)
		}
	}
	return n, nil
}

// Finish ends the message and returns its root. The Scanner must not be used
// afterwards.
func (s *Scanner) Finish() *Part {
	switch {
	case !s.midline || s.decided:
	case s.state == inHeader:
		s.headerLine(s.pending, 0)
	case s.state == inBody:
		s.bodyLine(s.pending)
	}
	for s.state == inHeader { // more than once: a message/rfc822 without its message
		s.endHeader(s.at, false)
	}
	root := s.open[0].part
	s.pop(0, s.at)
	return root
}

// count takes bytes that need no more than counting.
func (s *Scanner) count(p []byte) {
	lines := int64(bytes.Count(p, lf))
	s.at.pos += int64(len(p))
	s.at.lines += lines
	s.at.virt += int64(len(p)) + lines - int64(countCRLF(p, s.cr, lines))
	s.cr = p[len(p)-1] == '\r'
}

var lf = []byte{'\n'}

// countCRLF counts the line ends in p that are CRLF; cr says that the byte
// before p is CR.
func countCRLF(p []byte, cr bool, lines int64) int {
	n := 0
	if cr && p[0] == '\n' {
		n++
	}
	if lines == 0 || bytes.IndexByte(p, '\r') < 0 {
		return n
	}
	for i := 0; ; i++ {
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			return n
		}
		if i += j; i > 0 && p[i-1] == '\r' {
			n++
		}
	}
}

// line advances over p, which has no LF but perhaps its last byte, and reports
// how many bytes of line break it ends with.
func (s *Scanner) line(p []byte) int64 {
	last := len(p) - 1
	s.at.pos += int64(len(p))
	s.at.virt += int64(len(p))
	if p[last] != '\n' {
		s.cr = p[last] == '\r'
		return 0
	}
	s.at.lines++
	crlf := s.cr
	if last > 0 {
		crlf = p[last-1] == '\r'
	}
	s.cr = false
	if crlf {
		return 2
	}
	s.at.virt++
	return 1
}

// cut splits p behind its first LF.
func cut(p []byte) (line, rest []byte, whole bool) {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return p[:i+1], p[i+1:], true
	}
	return p, nil, false
}

// keep adds p to the pending line, up to limit bytes in all.
func (s *Scanner) keep(p []byte, limit int) {
	s.midline = true
	s.pending = append(s.pending, p[:min(len(p), max(0, limit-len(s.pending)))]...)
}

// nextLine begins a line at the current position; eol is the length of the
// break before it, or 0 if that belongs to something else.
func (s *Scanner) nextLine(eol int64) {
	s.start, s.eol = s.at, eol
	s.midline, s.decided = false, false
	s.pending = s.pending[:0]
}

// headerBytes takes header bytes of p up to the end of a line and returns the
// rest.
func (s *Scanner) headerBytes(p []byte) []byte {
	line, rest, whole := cut(p)
	eol := s.line(line)
	if s.midline || !whole {
		s.keep(line, maxField)
		line = s.pending
	}
	if whole {
		s.headerLine(line, eol)
	}
	return rest
}

// delimiterBytes takes the rest of a boundary line.
func (s *Scanner) delimiterBytes(p []byte) []byte {
	line, rest, whole := cut(p)
	s.line(line)
	if whole {
		s.afterDelimiter()
	}
	return rest
}

// afterDelimiter goes on behind a boundary line: with the next body part, or
// with the epilogue.
func (s *Scanner) afterDelimiter() {
	s.nextLine(0)
	s.state = inBody
	if !s.closing {
		s.push(&Part{}, s.at, true)
	}
}

// bodyBytes takes body bytes, watching for boundaries, and returns the rest
// once there is one.
func (s *Scanner) bodyBytes(p []byte) []byte {
	for len(p) > 0 {
		if p = s.plainLines(p); len(p) == 0 {
			break
		}
		line, rest, whole := cut(p)
		eol := s.line(line)
		if !s.decided {
			if s.midline || !whole {
				s.keep(line, maxPeek)
				line = s.pending
			}
			if whole || len(line) >= maxPeek {
				if s.bodyLine(line) {
					return s.delimiterEnd(rest, whole)
				}
			}
			s.decided = s.decided || len(line) >= 2 && (line[0] != '-' || line[1] != '-')
		}
		if whole {
			s.nextLine(eol)
		}
		p = rest
	}
	return nil
}

// plainLines takes whole lines that are no boundaries, since they do not begin
// with "--", as nearly all of a body's are, and returns the rest. It does nothing
// within a line.
func (s *Scanner) plainLines(p []byte) []byte {
	if s.midline || len(p) < 2 || p[0] == '-' && p[1] == '-' {
		return p
	}
	end := bytes.Index(p, dashes)
	if end < 0 {
		end = bytes.LastIndexByte(p, '\n')
	}
	if end < 0 {
		return p
	}
	eol := int64(1)
	if end > 0 && p[end-1] == '\r' || end == 0 && s.cr {
		eol = 2
	}
	s.count(p[:end+1])
	s.nextLine(eol)
	return p[end+1:]
}

// dashes end a line and begin what may be a boundary.
var dashes = []byte("\n--")

// delimiterEnd goes on behind what was seen of a boundary line.
func (s *Scanner) delimiterEnd(rest []byte, whole bool) []byte {
	if whole {
		s.afterDelimiter()
	}
	return rest
}

// bodyLine looks at the beginning of the current line and reports whether it
// was a boundary and has been dealt with.
func (s *Scanner) bodyLine(line []byte) bool {
	i, closing := s.findDelimiter(line)
	if i < 0 {
		s.decided = true
		return false
	}
	s.endParts(i, s.start.back(s.eol), closing)
	return true
}

// findDelimiter returns the index of the boundary that line begins with, or -1,
// and whether it ends its multipart.
func (s *Scanner) findDelimiter(line []byte) (best int, closing bool) {
	best = -1
	if len(line) < 2 || line[0] != '-' || line[1] != '-' || s.parts >= MaxParts {
		return best, false
	}
	line = line[2:min(len(line), maxPeek)]
	text := bytes.TrimSuffix(bytes.TrimSuffix(line, lf), []byte{'\r'})
	whole := len(text) < len(line)
	for i := len(s.delims) - 1; i >= 0; i-- {
		b := s.delims[i].boundary
		if !bytes.HasPrefix(text, b) || best >= 0 && len(b) <= len(s.delims[best].boundary) {
			continue
		}
		best = i
		if rest := text[len(b):]; whole && (len(rest) == 0 || string(rest) == "--") {
			break // nothing longer can match better than the whole line
		}
	}
	if best < 0 {
		return best, false
	}
	return best, bytes.HasPrefix(text[len(s.delims[best].boundary):], []byte("--"))
}

// endParts ends all parts inside the multipart of delimiter i at the mark end,
// for its boundary line begins there.
func (s *Scanner) endParts(i int, end mark, closing bool) {
	s.pop(s.delims[i].owner+1, end)
	if !closing {
		i++
	}
	s.delims = s.delims[:i]
	s.closing, s.state = closing, inDelimiter
}

// push opens a part whose header begins at the mark start.
func (s *Scanner) push(p *Part, start mark, mime bool) {
	if n := len(s.open); n > 0 {
		parent := s.open[n-1].part
		parent.Children = append(parent.Children, p)
	}
	s.open = append(s.open, openPart{part: p, header: start, body: start, mime: mime})
	s.parts++
	s.boundary = nil
	s.wanted = noField
	s.state = inHeader
}

// pop ends the open parts from index n on at the mark end.
func (s *Scanner) pop(n int, end mark) {
	for i := range s.open[n:] {
		o := &s.open[n+i]
		if end.pos < o.body.pos { // the blank line is the break before the boundary
			o.endHeader(end)
		}
		o.part.End = end.pos
		o.part.BodyVSize = end.virt - o.body.virt
		o.part.BodyLines = end.lines - o.body.lines
	}
	clear(s.open[n:])
	s.open = s.open[:n]
}
