package message

import (
	"bytes"
	"sort"
	"strconv"
	"strings"
)

// maxParams is how many parameters of a field are read.
const maxParams = 200

// setContentType parses a Content-Type value (RFC 2045 section 5.1) into p and
// returns the boundary of a multipart, or nil. What is no type/subtype leaves
// the type empty, so that the default holds (RFC 2045 section 5.2).
func (p *Part) setContentType(value []byte) (boundary []byte) {
	f := fieldParser{value}
	f.skipCFWS()
	typ := f.token()
	f.skipCFWS()
	if len(typ) == 0 || !f.skip('/') {
		return nil
	}
	f.skipCFWS()
	subtype := f.token()
	if len(subtype) == 0 {
		return nil
	}
	p.Type, p.Subtype = intern(typ), intern(subtype)
	p.Params = f.params()
	if !p.IsMultipart() {
		return nil
	}
	for _, param := range p.Params {
		if strings.EqualFold(param.Name, "boundary") {
			b := []byte(strings.TrimRight(param.Value, " \t"))
			return b[:min(len(b), maxBoundary)]
		}
	}
	return nil
}

// setDisposition parses a Content-Disposition value (RFC 2183 section 2).
func (p *Part) setDisposition(value []byte) {
	f := fieldParser{value}
	f.skipCFWS()
	p.Disposition = intern(f.token())
	p.DispositionParams = f.params()
}

// mimeToken returns the token that value begins with.
func mimeToken(value []byte) []byte {
	f := fieldParser{value}
	f.skipCFWS()
	return f.token()
}

// parseLanguages reads a list of language tags (RFC 3282 section 2).
func parseLanguages(value []byte) []string {
	f := fieldParser{value}
	var tags []string
	for len(tags) < maxParams {
		f.skipCFWS()
		if tag := f.token(); len(tag) > 0 {
			tags = append(tags, string(tag))
		}
		f.skipCFWS()
		if !f.skip(',') {
			break
		}
	}
	return tags
}

// fieldParser reads the grammar of RFC 2045 section 5.1 from an unfolded value.
type fieldParser struct{ b []byte }

func (f *fieldParser) skip(c byte) bool {
	if len(f.b) == 0 || f.b[0] != c {
		return false
	}
	f.b = f.b[1:]
	return true
}

// skipCFWS skips white space and comments, which may nest.
func (f *fieldParser) skipCFWS() {
	for len(f.b) > 0 {
		switch f.b[0] {
		case ' ', '\t', '\r', '\n':
			f.b = f.b[1:]
		case '(':
			f.b = f.b[commentLen(f.b):]
		default:
			return
		}
	}
}

// commentLen returns the length of the comment that b begins with; all of b if
// it is not closed.
func commentLen[T []byte | string](b T) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(b)
}

// token takes a token: no control, space or tspecial. 8-bit bytes pass.
func (f *fieldParser) token() []byte {
	i := 0
	for i < len(f.b) && isToken(f.b[i]) {
		i++
	}
	t := f.b[:i]
	f.b = f.b[i:]
	return t
}

func isToken(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}

// params reads the parameters that follow. It is lenient: a missing or doubled
// semicolon, an unquoted value with tspecials, an unclosed quote; what makes no
// sense is skipped up to the next semicolon.
func (f *fieldParser) params() []Param {
	var list []Param
	continued := false
	for n := 0; len(f.b) > 0 && n < maxParams; n++ {
		f.skipCFWS()
		if f.skip(';') {
			continue
		}
		name := f.token()
		f.skipCFWS()
		if len(name) == 0 || !f.skip('=') {
			f.skipTo(';')
			continue
		}
		f.skipCFWS()
		continued = continued || bytes.IndexByte(name, '*') >= 0
		list = addParam(list, Param{intern(name), intern(f.value(name))})
	}
	if continued {
		list = joinContinuations(list)
	}
	return list
}

// addParam adds a parameter, unless there is one of its name.
func addParam(list []Param, p Param) []Param {
	for _, q := range list {
		if strings.EqualFold(q.Name, p.Name) {
			return list
		}
	}
	return append(list, p)
}

func (f *fieldParser) skipTo(c byte) {
	if i := bytes.IndexByte(f.b, c); i >= 0 {
		f.b = f.b[i:]
		return
	}
	f.b = nil
}

// value takes the value of the parameter name. Unquoted it ends at a space or
// semicolon; tspecials in it are wrong but usual. An unquoted file name may
// even have spaces.
func (f *fieldParser) value(name []byte) []byte {
	if f.skip('"') {
		return f.quoted()
	}
	i := 0
	for i < len(f.b) && f.b[i] != ';' && f.b[i] != ' ' && f.b[i] != '\t' {
		i++
	}
	if bytes.EqualFold(name, []byte("filename")) || bytes.EqualFold(name, []byte("name")) {
		end := bytes.IndexByte(f.b, ';')
		if end < 0 {
			end = len(f.b)
		}
		if end > i && !bytes.ContainsAny(f.b[i:end], `="(`) {
			i = end
		}
	}
	v := f.b[:i]
	f.b = f.b[i:]
	return bytes.TrimRight(v, " \t")
}

// quoted takes a quoted-string behind its opening quote, and returns its
// content without escapes.
func (f *fieldParser) quoted() []byte {
	end := quotedEnd(f.b)
	v := f.b[:end]
	f.b = f.b[min(end+1, len(f.b)):]
	return unescape(v)
}

// quotedEnd returns where the closing quote of a quoted-string stands, or the
// length of b.
func quotedEnd[T []byte | string](b T) int {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(b)
}

// unescape removes the backslashes of quoted-pairs.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) {
			i++
		}
		out = append(out, b[i])
	}
	return out
}

// section is a piece of a continued parameter (RFC 2231 section 3).
type section struct {
	n        int
	extended bool
	value    string
}

// joinContinuations puts the pieces name*0, name*1* … together as name, or as
// name* when a piece is extended. A name whose pieces are not complete, or that
// exists otherwise too, stays as it is.
func joinContinuations(list []Param) []Param {
	pieces := map[string][]section{}
	for _, p := range list {
		if name, s, ok := splitSection(p); ok {
			key := strings.ToLower(name)
			pieces[key] = append(pieces[key], s)
		}
	}
	var out []Param
	for _, p := range list { // first those that are whole as they stand
		if strings.IndexByte(p.Name, '*') < 0 {
			out = addParam(out, p)
		}
	}
	for _, p := range list {
		if name, _, ok := splitSection(p); ok {
			if joined, ok := joinSections(name, pieces[strings.ToLower(name)]); ok {
				p = joined
			}
		}
		out = addParam(out, p)
	}
	return out
}

// splitSection takes name*1* apart; ok means that p is such a piece.
func splitSection(p Param) (name string, s section, ok bool) {
	name, number, found := strings.Cut(p.Name, "*")
	if !found || name == "" {
		return "", s, false
	}
	number, s.extended = strings.CutSuffix(number, "*")
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return "", s, false
	}
	s.n, s.value = n, p.Value
	return name, s, true
}

func joinSections(name string, list []section) (Param, bool) {
	sort.SliceStable(list, func(i, j int) bool { return list[i].n < list[j].n })
	extended := false
	for i, s := range list {
		if s.n != i {
			return Param{}, false
		}
		extended = extended || s.extended
	}
	var b strings.Builder
	for i, s := range list {
		switch {
		case extended && !s.extended && i > 0:
			b.WriteString(percentEncode(s.value))
		case extended && !s.extended: // no charset came: none is meant
			b.WriteString("''" + percentEncode(s.value))
		default:
			b.WriteString(s.value)
		}
	}
	if extended {
		name += "*"
	}
	return Param{name, b.String()}, true
}

// percentEncode protects the percent signs of a piece that is not extended.
func percentEncode(s string) string { return strings.ReplaceAll(s, "%", "%25") }

// findParam returns the value of the parameter name, decoded if extended.
func findParam(params []Param, name string) string {
	for _, p := range params {
		if strings.EqualFold(p.Name, name) {
			return p.Value
		}
	}
	for _, p := range params {
		if base, ok := strings.CutSuffix(p.Name, "*"); ok && strings.EqualFold(base, name) {
			return decodeExtended(p.Value)
		}
	}
	return ""
}

// decodeExtended decodes charset'language'percent-encoded (RFC 2231 section 4).
func decodeExtended(value string) string {
	charset, rest, ok := strings.Cut(value, "'")
	if ok {
		_, rest, ok = strings.Cut(rest, "'")
	}
	if !ok {
		charset, rest = "", value
	}
	b := make([]byte, 0, len(rest))
	for i := 0; i < len(rest); i++ {
		if rest[i] == '%' && i+2 < len(rest) {
			if n, err := strconv.ParseUint(rest[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, rest[i])
	}
	return decodeCharset(charset, b)
}

// intern returns b as a string, without an allocation for the usual words.
func intern(b []byte) string {
	if s, ok := usualWords[string(b)]; ok {
		return s
	}
	return string(b)
}

var usualWords = func() map[string]string {
	m := map[string]string{}
	for _, s := range strings.Fields(`text plain html multipart mixed alternative related report signed
		application octet-stream pdf image png jpeg gif message rfc822 delivery-status calendar
		charset utf-8 UTF-8 us-ascii US-ASCII iso-8859-1 ISO-8859-1 windows-1252 boundary name filename
		format flowed type report-type 7bit 8bit base64 quoted-printable inline attachment size`) {
		m[s] = s
	}
	return m
}()
