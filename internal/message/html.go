package message

import (
	"bytes"
	"html"
	"strings"
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
		if n := d.wholeTag(src); n > 0 {
			dst, src = d.endTag(dst), src[n:]
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
		src = src[:min(len(src), 512)] // many references must not mean many long searches
		if i = bytes.IndexByte(src, '<'); i < 0 {
			i = len(src)
		}
		if amp := bytes.IndexByte(src[:i], '&'); amp >= 0 {
			i = amp
		}
	case d.state == htmlDoubleQuoted:
		i = bytes.IndexByte(src, '"')
	case d.state == htmlSingleQuoted:
		i = bytes.IndexByte(src, '\'')
	case d.state == htmlBogus:
		i = bytes.IndexByte(src, '>')
	case d.state == htmlTag:
		for i < len(src) && src[i] != '>' && src[i] != '=' {
			i++
		}
	case d.state == htmlComment && d.dash == 0:
		i = bytes.IndexByte(src, '-')
	}
	if i < 0 {
		return len(src)
	}
	return i
}

// wholeTag takes the tag that src begins with, if it is all there, and returns
// its length; else 0, and the state machine takes it byte by byte. Both do the
// same; this one is faster.
func (d *htmlDecoder) wholeTag(src []byte) int {
	if d.state != htmlText || d.skip != "" || src[0] != '<' || len(src) < 3 {
		return 0
	}
	i := 1
	if src[i] == '/' {
		i++
	}
	if !isAlpha(src[i]) {
		return 0
	}
	start := i
	for i < len(src) && isAlnum(src[i]) {
		i++
	}
	if i == len(src) || i-start > len(d.word) || strings.IndexByte(" \t\r\n\f/>", src[i]) < 0 {
		return 0
	}
	end := tagEnd(src, i)
	if end == 0 {
		return 0
	}
	d.close, d.n = start == 2, i-start
	for j, c := range src[start:i] {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		d.word[j] = c
	}
	return end
}

// tagEnd returns where the tag whose attributes begin at i ends, or 0.
func tagEnd(src []byte, i int) int {
	for ; i < len(src) && src[i] != '>'; i++ {
		if src[i] != '=' {
			continue
		}
		for i++; i < len(src) && isHTMLSpace(src[i]); i++ {
		}
		if i == len(src) {
			return 0
		}
		if q := src[i]; q == '"' || q == '\'' {
			n := bytes.IndexByte(src[i+1:], q)
			if n < 0 {
				return 0
			}
			i += n + 1
			continue
		}
		for i < len(src) && src[i] != '>' && !isHTMLSpace(src[i]) {
			i++
		}
		i--
	}
	if i == len(src) {
		return 0
	}
	return i + 1
}

func isHTMLSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f'
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
	if c == ';' {
		switch string(d.word[:d.n]) {
		case "nbsp":
			return append(dst, "\u00a0"...), false
		case "amp":
			return append(dst, '&'), false
		case "#x", "#X": // html.UnescapeString makes a character of it
			return append(append(append(dst, '&'), d.word[:d.n]...), ';'), false
		}
	}
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
	case isHTMLSpace(c):
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
	name := d.word[:d.n]
	switch {
	case d.close:
		d.skip = ""
	case string(name) == "script" || string(name) == "style":
		d.skip = string(name)
	}
	if isInline(name) {
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
	case htmlEndTagOpen:
		if d.skip == "" {
			dst = append(dst, "</"...)
		}
	}
	return dst
}

// isInline reports whether the tag does not separate words.
func isInline(name []byte) bool {
	switch string(name) {
	case "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i",
		"ins", "kbd", "label", "mark", "nobr", "q", "s", "samp", "script", "small", "span", "strike", "strong",
		"style", "sub", "sup", "tt", "u", "var", "wbr":
		return true
	}
	return false
}
