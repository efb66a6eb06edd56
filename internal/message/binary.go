package message

import (
	"encoding/binary"
	"errors"
)

// ErrBinary means that bytes are not what AppendBinary wrote in this version.
var ErrBinary = errors.New("no encoded part")

// binaryVersion is the first byte of an encoded Part. Whoever changes what is
// encoded, or what a scan finds, raises it: then caches are made anew.
const binaryVersion = 1

// AppendBinary appends the part and all below it in a compact form to b, for a
// cache; it implements encoding.BinaryAppender and never fails.
func (p *Part) AppendBinary(b []byte) ([]byte, error) {
	return appendPart(append(b, binaryVersion), p, 0), nil
}

// UnmarshalBinary sets p to what AppendBinary wrote. The error is ErrBinary; p
// is then of no use. It implements encoding.BinaryUnmarshaler.
func (p *Part) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != binaryVersion {
		return ErrBinary
	}
	r := partReader{b: b[1:]}
	*p = *r.part(0, 1)
	if r.failed || len(r.b) > 0 {
		return ErrBinary
	}
	return nil
}

// appendPart writes offsets relative to start, which keeps them short.
func appendPart(b []byte, p *Part, start int64) []byte {
	for _, n := range [...]int64{p.HeaderStart - start, p.BodyStart - p.HeaderStart, p.End - p.BodyStart,
		p.HeaderVSize - (p.BodyStart - p.HeaderStart), p.BodyVSize - (p.End - p.BodyStart), p.HeaderLines, p.BodyLines} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	for _, s := range [...]string{p.Type, p.Subtype, p.ID, p.Description, p.Encoding, p.MD5, p.Location, p.Disposition} {
		b = appendString(b, s)
	}
	b = appendParams(b, p.Params)
	b = appendParams(b, p.DispositionParams)
	b = binary.AppendUvarint(b, uint64(len(p.Language)))
	for _, s := range p.Language {
		b = appendString(b, s)
	}
	b = appendSummary(b, p.Summary)
	b = binary.AppendUvarint(b, uint64(len(p.Children)))
	for _, c := range p.Children {
		b = appendPart(b, c, p.BodyStart)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendParams(b []byte, params []Param) []byte {
	b = binary.AppendUvarint(b, uint64(len(params)))
	for _, p := range params {
		b = appendString(appendString(b, p.Name), p.Value)
	}
	return b
}

// appendSummary writes which fields there are, and those.
func appendSummary(b []byte, m *Summary) []byte {
	if m == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(append(b, 1), uint64(m.present))
	for id := fieldDate; id <= fieldBcc; id++ {
		if m.present&(1<<(id-fieldDate)) != 0 {
			b = appendString(b, *m.field(id))
		}
	}
	return b
}

// partReader reads what appendPart wrote; failed is set once it cannot.
type partReader struct {
	b      []byte
	parts  int
	failed bool
}

func (r *partReader) part(start int64, depth int) *Part {
	p := new(Part)
	if r.parts++; r.parts > MaxParts || depth > MaxDepth {
		r.fail()
	}
	p.HeaderStart = start + r.number()
	p.BodyStart = p.HeaderStart + r.number()
	p.End = p.BodyStart + r.number()
	p.HeaderVSize = p.BodyStart - p.HeaderStart + r.number()
	p.BodyVSize = p.End - p.BodyStart + r.number()
	p.HeaderLines, p.BodyLines = r.number(), r.number()
	for _, s := range [...]*string{&p.Type, &p.Subtype, &p.ID, &p.Description, &p.Encoding, &p.MD5, &p.Location, &p.Disposition} {
		*s = r.string()
	}
	p.Params = r.params()
	p.DispositionParams = r.params()
	for range r.count() {
		p.Language = append(p.Language, r.string())
	}
	p.Summary = r.summary()
	for range r.count() {
		p.Children = append(p.Children, r.part(p.BodyStart, depth+1))
	}
	return p
}

func (r *partReader) fail() { r.failed, r.b = true, nil }

// number reads a number below 2^48, so that no sum of offsets overflows.
func (r *partReader) number() int64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n >= 1<<48 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return int64(n)
}

// count reads how many things follow; each has at least one byte.
func (r *partReader) count() int64 {
	n := r.number()
	if n > int64(len(r.b)) {
		r.fail()
		return 0
	}
	return n
}

func (r *partReader) string() string {
	n := r.count()
	s := intern(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *partReader) params() []Param {
	var params []Param
	for range r.count() {
		params = append(params, Param{r.string(), r.string()})
	}
	return params
}

func (r *partReader) summary() *Summary {
	if r.number() == 0 {
		return nil
	}
	m := &Summary{present: uint16(r.number())}
	for id := fieldDate; id <= fieldBcc; id++ {
		if m.present&(1<<(id-fieldDate)) != 0 {
			*m.field(id) = r.string()
		}
	}
	return m
}
