package message

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// Matcher looks for a text in others, as IMAP SEARCH does: letter case, accents'
// composition and the amount of white space do not matter (see FoldString). A
// Matcher is immutable and safe for concurrent use.
type Matcher struct{ needle []byte }

// NewMatcher returns a Matcher for needle, which is UTF-8 (DecodeCharset makes
// it so). An empty needle is in every text.
func NewMatcher(needle string) *Matcher {
	f := folder{}
	return &Matcher{f.fold(nil, []byte(needle))}
}

// MatchString reports whether the text s holds the needle.
func (m *Matcher) MatchString(s string) bool {
	buf := matchBuffers.Get().(*matchBuffer)
	defer buf.release()
	f := folder{}
	buf.folded = f.fold(buf.folded[:0], []byte(s))
	return bytes.Contains(buf.folded, m.needle)
}

// Match reads r until the needle is found, or to its end. The error is one of r.
func (m *Matcher) Match(r io.Reader) (bool, error) {
	buf := matchBuffers.Get().(*matchBuffer)
	defer buf.release()
	buf.folded = buf.folded[:0]
	f := folder{}
	kept := 0 // bytes of an incomplete character at the start of buf.in
	for {
		n, err := r.Read(buf.in[kept:])
		src := buf.in[:kept+n]
		whole := len(src)
		if err == nil {
			whole = wholeRunes(src)
		}
		buf.folded = f.fold(buf.folded, src[:whole])
		if bytes.Contains(buf.folded, m.needle) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept = copy(buf.in[:], src[whole:])
		if tail := len(m.needle) - 1; len(buf.folded) > tail {
			buf.folded = append(buf.folded[:0], buf.folded[len(buf.folded)-tail:]...)
		}
	}
}

// wholeRunes returns the length of b without an incomplete character at its end.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

// matchBuffer is the memory of one search.
type matchBuffer struct {
	in     [16 << 10]byte
	folded []byte
}

var matchBuffers = sync.Pool{New: func() any { return new(matchBuffer) }}

// release gives the memory back, but not what a very long text needed.
func (b *matchBuffer) release() {
	if cap(b.folded) > 256<<10 {
		b.folded = nil
	}
	matchBuffers.Put(b)
}

// MatchBody reports whether the text of the message, read from its stored file
// r, holds m's needle: SEARCH BODY (RFC 9051 section 6.4.4). It looks at the
// text parts, decoded, and at the headers of messages inside, not at p's own
// header. The error is one of r.
func (p *Part) MatchBody(r io.ReaderAt, m *Matcher) (bool, error) {
	for part := range p.All() {
		if part != p && part.Summary != nil {
			if found, err := part.MatchHeader(r, m); found || err != nil {
				return found, err
			}
		}
		if found, err := part.matchLeaf(r, m); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// MatchText reports whether header or body of the message hold m's needle:
// SEARCH TEXT. The headers of all body parts count, so that the names of
// attachments are found.
func (p *Part) MatchText(r io.ReaderAt, m *Matcher) (bool, error) {
	for part := range p.All() {
		if found, err := part.MatchHeader(r, m); found || err != nil {
			return found, err
		}
		if found, err := part.matchLeaf(r, m); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// matchLeaf reports whether a text part's own text holds the needle.
func (p *Part) matchLeaf(r io.ReaderAt, m *Matcher) (bool, error) {
	if !p.IsText() {
		return false, nil
	}
	text := p.textReader(r)
	defer text.release()
	return m.Match(text)
}

// maxSearchedHeader is how much of a header block is searched.
const maxSearchedHeader = 1 << 20

// MatchHeader reports whether a field of p's header, unfolded and decoded,
// holds m's needle. The needle may begin in the field's name.
func (p *Part) MatchHeader(r io.ReaderAt, m *Matcher) (bool, error) {
	buf := matchBuffers.Get().(*matchBuffer)
	defer buf.release()
	size := min(p.BodyStart-p.HeaderStart, maxSearchedHeader)
	block := buf.in[:]
	if size <= int64(len(block)) {
		block = block[:size]
	} else {
		block = make([]byte, size)
	}
	if n, err := r.ReadAt(block, p.HeaderStart); n < len(block) {
		return false, shortRead(err)
	}
	buf.folded = foldHeader(buf.folded[:0], block)
	return bytes.Contains(buf.folded, m.needle), nil
}

// shortRead returns the error of a read that did not fill its buffer.
func shortRead(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// foldHeader folds each field of a header block, decoded; between two fields
// stands a byte that is in no needle.
func foldHeader(dst, block []byte) []byte {
	for {
		raw, rest := cutField(block)
		if raw == nil {
			return dst
		}
		f := folder{}
		if bytes.Contains(raw, []byte("=?")) || bytes.Contains(raw, []byte("*=")) || !utf8.Valid(raw) {
			value := DecodeText(string(unfoldBytes(bytes.Clone(raw))))
			dst = f.fold(dst, []byte(decodeParams(value)))
		} else {
			dst = f.fold(dst, raw)
		}
		dst = append(dst, 0xff)
		block = rest
	}
}

// decodeParams resolves the percent encoding of extended parameters (RFC 2231
// section 4) in a field's value, roughly: it is for search only.
func decodeParams(value string) string {
	i := strings.Index(value, "*=")
	if i < 0 || strings.IndexByte(value[i:], '%') < 0 {
		return value
	}
	return value + " " + decodeExtended(value[i+2:])
}
