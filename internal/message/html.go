package message

import (
	"bytes"
	"html"
)

// htmlDecoder leaves the text of HTML, for search: tags, comments, scripts and
// styles go, character references are resolved, and a tag that begins a new box
// becomes a line break so that words on its two sides stay two words. It follows
// the tokenizer of the HTML standard (section 13.2.5) as far as text needs it,
// with memory that does not depend on the input.
type htmlDecoder struct {
	state htmlState
	word  [32]byte // the tag name or character reference so far
	n     int
	close bool   // the tag is an end tag
	skip  string // "script" or "style": dropped until its end tag
	dash  int    // dashes just seen in a comment
}

type htmlState uint8

const (
	htmlText       htmlState = iota
	htmlReference            // behind "&"
	htmlTagOpen              // behind "<"
	htmlEndTagOpen           // behind "</"
	htmlTagName
	htmlTag         // in a tag, between attributes or in an attribute name
	htmlBeforeValue // behind "="
	htmlValue       // in an unquoted value
	htmlDoubleQuoted
	htmlSingleQuoted
	htmlMarkup     // behind "<!"
	htmlMarkupDash // behind "<!-"
	htmlComment
	htmlBogus // in <!…> or <?…>
)

func (d *htmlDecoder) decode(dst, src []byte) []byte {
	for len(src) > 0 {
		if n := d.run(src); n > 0 {
			if d.state == htmlText && d.skip == "" {
				dst = append(dst, src[:n]...)
			}
			src = src[n:]
			continue
		}
		var again bool
		if dst, again = d.next(dst, src[0]); !again {
			src = src[1:]
		}
	}
	return dst
}

// run returns how many bytes at the start of src do not change the state.
func (d *htmlDecoder) run(src []byte) int {
	i := 0
	switch {
	case d.state == htmlText && d.skip != "":
		i = bytes.IndexByte(src, '<')
	case d.state == htmlText:
		i = bytes.IndexAny(src, "<&")
	case d.state == htmlDoubleQuoted:
		i = bytes.IndexByte(src, '"')
	case d.state == htmlSingleQuoted:
		i = bytes.IndexByte(src, '\'')
	case d.state == htmlBogus:
		i = bytes.IndexByte(src, '>')
	}
	if i < 0 {
		return len(src)
	}
	return i
}

// next takes one byte; again means that it must be looked at once more.
func (d *htmlDecoder) next(dst []byte, c byte) (out []byte, again bool) {
	switch d.state {
	case htmlText:
		d.n = 0
		d.state = htmlTagOpen
		if c == '&' {
			d.state = htmlReference
		}
	case htmlReference:
		return d.reference(dst, c)
	case htmlTagOpen, htmlEndTagOpen:
		return d.tagOpen(dst, c)
	case htmlTagName:
		return d.tagName(dst, c)
	case htmlMarkup, htmlMarkupDash, htmlComment:
		return dst, d.comment(c)
	case htmlBogus:
		d.state = htmlText
	default:
		return d.inTag(dst, c), false
	}
	return dst, false
}

// reference collects a character reference and resolves it at its end.
func (d *htmlDecoder) reference(dst []byte, c byte) ([]byte, bool) {
	if d.n < len(d.word) && (isAlnum(c) || c == '#' && d.n == 0) {
		d.word[d.n] = c
		d.n++
		return dst, false
	}
	d.state = htmlText
	ref := "&" + string(d.word[:d.n])
	if c == ';' {
		ref += ";"
	}
	return append(dst, html.UnescapeString(ref)...), c != ';'
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || isAlpha(c)
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// tagOpen decides what a "<" or "</" begins.
func (d *htmlDecoder) tagOpen(dst []byte, c byte) ([]byte, bool) {
	switch {
	case isAlpha(c):
		d.close = d.state == htmlEndTagOpen
		d.state = htmlTagName
		return dst, true
	case c == '/' && d.state == htmlTagOpen:
		d.state = htmlEndTagOpen
		return dst, false
	case d.skip != "":
		d.state = htmlText
		return dst, true
	case d.state == htmlEndTagOpen && c == '>': // "</>" is nothing
		d.state = htmlText
		return dst, false
	case c == '!' && d.state == htmlTagOpen:
		d.state = htmlMarkup
		return dst, false
	case c == '?' || d.state == htmlEndTagOpen:
		d.state = htmlBogus
		return dst, true
	}
	d.state = htmlText
	return append(dst, '<'), true
}

// tagName collects the name of a tag.
func (d *htmlDecoder) tagName(dst []byte, c byte) ([]byte, bool) {
	switch c {
	case ' ', '\t', '\r', '\n', '\f', '/', '>':
		if d.skip != "" && !(d.close && string(d.word[:d.n]) == d.skip) {
			d.state = htmlText // of a script
			return dst, true
		}
		d.state = htmlTag
		return dst, true
	}
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	if d.n < len(d.word) {
		d.word[d.n] = c
		d.n++
	} else if d.skip != "" {
		d.state = htmlText
	}
	return dst, false
}

// inTag takes a byte of a tag behind its name.
func (d *htmlDecoder) inTag(dst []byte, c byte) []byte {
	switch {
	case d.state == htmlDoubleQuoted || d.state == htmlSingleQuoted: // the closing quote: see run
		d.state = htmlTag
	case c == '>':
		return d.endTag(dst)
	case d.state == htmlBeforeValue && c == '"':
		d.state = htmlDoubleQuoted
	case d.state == htmlBeforeValue && c == '\'':
		d.state = htmlSingleQuoted
	case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f':
		if d.state == htmlValue {
			d.state = htmlTag
		}
	case d.state == htmlBeforeValue:
		d.state = htmlValue
	case d.state == htmlTag && c == '=':
		d.state = htmlBeforeValue
	}
	return dst
}

// endTag acts on a tag that is complete.
func (d *htmlDecoder) endTag(dst []byte) []byte {
	d.state = htmlText
	name := string(d.word[:d.n])
	switch {
	case d.close:
		d.skip = ""
	case name == "script" || name == "style":
		d.skip = name
	}
	if inlineTags[name] {
		return dst
	}
	return append(dst, '\n')
}

// comment takes a byte behind "<!" and reports whether to look at it again.
func (d *htmlDecoder) comment(c byte) bool {
	switch {
	case d.state == htmlMarkup && c == '-':
		d.state = htmlMarkupDash
	case d.state == htmlMarkupDash && c == '-':
		d.state, d.dash = htmlComment, 2 // "<!-->" is a whole comment
	case d.state != htmlComment:
		d.state = htmlBogus
		return true
	case c == '-':
		d.dash++
	case c == '>' && d.dash >= 2:
		d.state = htmlText
	case c == '!' && d.dash >= 2: // "--!>" ends it too
	default:
		d.dash = 0
	}
	return false
}

// finish ends a reference that the input ends with; a tag that is not complete
// is no text.
func (d *htmlDecoder) finish(dst []byte) []byte {
	switch d.state {
	case htmlReference:
		dst, _ = d.reference(dst, ' ')
	case htmlTagOpen:
		if d.skip == "" {
			dst = append(dst, '<')
		}
	}
	return dst
}

// inlineTags do not separate words.
var inlineTags = map[string]bool{
	"a": true, "abbr": true, "acronym": true, "b": true, "bdi": true, "bdo": true, "big": true,
	"cite": true, "code": true, "del": true, "dfn": true, "em": true, "font": true, "i": true,
	"ins": true, "kbd": true, "label": true, "mark": true, "nobr": true, "q": true, "s": true,
	"samp": true, "script": true, "small": true, "span": true, "strike": true, "strong": true,
	"style": true, "sub": true, "sup": true, "tt": true, "u": true, "var": true, "wbr": true,
}
