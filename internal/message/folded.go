package message

import (
	"bytes"
	"io"
	"iter"
)

// AppendFolded appends the form of s in which texts are compared to dst: that of
// FoldString.
func AppendFolded(dst []byte, s string) []byte {
	f := folder{}
	return f.fold(dst, []byte(s))
}

// Needle is the folded text that m looks for. It must not be changed.
func (m *Matcher) Needle() []byte { return m.needle }

// MatchFolded reports whether a folded text (AppendFolded) holds the needle.
func (m *Matcher) MatchFolded(folded []byte) bool { return bytes.Contains(folded, m.needle) }

// FoldText gives emit every text in which MatchText looks for a needle, read
// from the stored message r and folded as there, for an index: a needle is in
// the message if and only if it is in one of the texts. A text may come in
// several chunks; first is set on the first chunk of each. A chunk is valid
// during the call. The error is one of r.
func (p *Part) FoldText(r io.ReaderAt, emit func(chunk []byte, first bool)) error {
	for part := range p.All() {
		if err := part.foldHeader(r, emit); err != nil {
			return err
		}
		if err := part.foldLeaf(r, emit); err != nil {
			return err
		}
	}
	return nil
}

// foldHeader emits what MatchHeader looks at.
func (p *Part) foldHeader(r io.ReaderAt, emit func(chunk []byte, first bool)) error {
	block, err := p.ReadHeader(r, maxSearchedHeader)
	if err != nil {
		return err
	}
	buf := matchBuffers.Get().(*matchBuffer)
	defer buf.release()
	buf.folded = foldHeader(buf.folded[:0], block)
	emit(buf.folded, true)
	return nil
}

// foldLeaf emits what matchLeaf looks at, in chunks.
func (p *Part) foldLeaf(r io.ReaderAt, emit func(chunk []byte, first bool)) error {
	if !p.IsText() {
		return nil
	}
	text := p.textReader(r)
	defer text.release()
	buf := matchBuffers.Get().(*matchBuffer)
	defer buf.release()
	f := folder{}
	first := true
	kept := 0 // bytes of an incomplete character at the start of buf.in
	for {
		n, err := text.Read(buf.in[kept:])
		src := buf.in[:kept+n]
		whole := len(src)
		if err == nil {
			whole = wholeRunes(src)
		}
		buf.folded = f.fold(buf.folded[:0], src[:whole])
		emit(buf.folded, first)
		first = false
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		kept = copy(buf.in[:], src[whole:])
	}
}

// EachField yields the name and the whole bytes, as stored, of each field of a
// header block, without allocating: what ParseHeader returns. The name of a line
// that is no field is empty.
func EachField(block []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, raw []byte) bool) {
		for {
			raw, rest := cutField(block)
			if raw == nil || !yield(fieldName(raw), raw) {
				return
			}
			block = rest
		}
	}
}
