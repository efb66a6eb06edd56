package message

import (
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// FoldString returns s in the form in which texts are compared: without letter
// case (Unicode simple folding), decomposed (so that a letter with its accent
// and a letter followed by one are the same, as in i;unicode-casemap, RFC 5051),
// each run of white space as one space, soft hyphens and zero-width spaces left
// out. Two strings are equal for SORT and THREAD if their folded forms are.
func FoldString(s string) string {
	f := folder{}
	return string(f.fold(make([]byte, 0, len(s)+8), []byte(s)))
}

// folder folds a stream.
type folder struct {
	space bool // the last thing written was a space
}

// fold appends the folded form of src, which must not end within a character,
// to dst.
func (f *folder) fold(dst, src []byte) []byte {
	for len(src) > 0 {
		dst = slices.Grow(dst, len(src))
		n := f.foldASCII(&dst, src)
		if src = src[n:]; len(src) == 0 {
			break
		}
		r, n := utf8.DecodeRune(src)
		src = src[n:]
		switch folded := foldRune(r); {
		case folded == " " && f.space, folded == "":
		default:
			dst = append(dst, folded...)
			f.space = folded == " "
		}
	}
	return dst
}

// foldASCII folds the ASCII characters that src begins with into dst, which has
// room for them, and returns how many they are.
func (f *folder) foldASCII(dst *[]byte, src []byte) int {
	out := (*dst)[len(*dst):cap(*dst)]
	out = out[:len(src)]
	i, n := 0, 0
	space := uint16(0) // 1 behind a space
	if f.space {
		space = 1
	}
	for i < len(src) && src[i] < utf8.RuneSelf {
		c := asciiFold[src[i]]
		out[n] = byte(c)
		n += int(1 &^ (c >> 8 & space)) // a space behind a space takes no room
		space = c >> 8
		i++
	}
	f.space = space == 1
	*dst = (*dst)[:len(*dst)+n]
	return i
}

// asciiFold maps an ASCII byte to its folded form; bit 8 says that this is a
// space, as of all white space and NUL.
var asciiFold = func() (t [256]uint16) {
	for c := range utf8.RuneSelf {
		t[c] = uint16(unicode.ToLower(rune(c)))
		if c == 0 || unicode.IsSpace(rune(c)) {
			t[c] = 1<<8 | ' '
		}
	}
	return t
}()

// foldPage holds the folded forms of 256 runes.
type foldPage [256]string

// foldPages are filled on first use: a cache of what foldSlowly says.
var foldPages [0x110]atomic.Pointer[foldPage]

// foldRune returns the folded form of a rune beyond ASCII.
func foldRune(r rune) string {
	i := int(r >> 8)
	if i >= len(foldPages) {
		return foldSlowly(r)
	}
	page := foldPages[i].Load()
	if page == nil {
		page = new(foldPage)
		for j := range page {
			page[j] = foldSlowly(rune(i<<8 + j))
		}
		foldPages[i].Store(page)
	}
	return page[r&0xff]
}

func foldSlowly(r rune) string {
	switch r {
	case '\u00ad', '\u200b', '\u200c', '\u200d', '\u2060', '\ufeff':
		return ""
	}
	s := string(r)
	if d := norm.NFKD.PropertiesString(s).Decomposition(); d != nil {
		s = string(d)
	}
	return strings.Map(foldCase, s)
}

// foldCase maps all letters that differ in case only to one: the smallest of
// them, in lower case if it is ASCII.
func foldCase(r rune) rune {
	if unicode.IsSpace(r) {
		return ' '
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if least < utf8.RuneSelf {
		return unicode.ToLower(least)
	}
	return least
}
