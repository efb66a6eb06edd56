package sieve

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// comparator is a collation of RFC 4790: how texts are compared.
type comparator struct {
	name string
	// ext is the extension that brings it; empty for those of RFC 5228.
	ext string
	// fold appends the form of s to dst in which texts are equal when their
	// bytes are, and of which parts can be found in others if substrings is set.
	fold       func(dst []byte, s string) []byte
	substrings bool
	// compare orders two folded texts.
	compare func(a, b string) int
	// moves says that fold may change the length of what it folds.
	moves bool
	// octets says that a character, as "?" stands for, is one byte.
	octets bool
}

// comparators are all that we know (RFC 5228 section 2.7.3, RFC 4790 section 9,
// RFC 5051).
var comparators = []*comparator{asciiCasemap, octet, asciiNumeric, unicodeCasemap}

var (
	asciiCasemap = &comparator{name: "i;ascii-casemap", fold: foldASCII, substrings: true, compare: strings.Compare}
	octet        = &comparator{name: "i;octet", fold: foldNothing, substrings: true, compare: strings.Compare, octets: true}
	asciiNumeric = &comparator{name: "i;ascii-numeric", ext: "comparator-i;ascii-numeric", fold: foldNumber, compare: compareNumbers, moves: true}
	// unicodeCasemap needs no require, as in Pigeonhole 2.4.
	unicodeCasemap = &comparator{name: "i;unicode-casemap", fold: foldUnicode, substrings: true, compare: strings.Compare, moves: true}
)

// findComparator returns the comparator of this name, or nil.
func findComparator(name string) *comparator {
	for _, c := range comparators {
		if c.name == name {
			return c
		}
	}
	return nil
}

func foldNothing(dst []byte, s string) []byte { return append(dst, s...) }

func foldASCII(dst []byte, s string) []byte {
	n := len(dst)
	dst = append(dst, s...)
	for i := n; i < len(dst); i++ {
		if c := dst[i]; 'A' <= c && c <= 'Z' {
			dst[i] = c + 'a' - 'A'
		}
	}
	return dst
}

// foldNumber takes the digits that s begins with, without leading zeros. A text
// that begins with none is positive infinity, folded to nothing.
func foldNumber(dst []byte, s string) []byte {
	end := 0
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	digits := strings.TrimLeft(s[:end], "0")
	if end > 0 && digits == "" {
		digits = "0"
	}
	return append(dst, digits...)
}

// compareNumbers orders numbers of any size, as foldNumber gives them.
func compareNumbers(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	case len(a) != len(b):
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// foldUnicode maps to title case and decomposes (RFC 5051 section 2).
func foldUnicode(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 { // no UTF-8: as it stands
			dst = append(dst, s[i])
			i++
			continue
		}
		dst = append(dst, norm.NFKD.String(string(unicode.ToTitle(r)))...)
		i += n
	}
	return dst
}
