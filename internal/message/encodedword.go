package message

import (
	"encoding/base64"
	"strings"
)

// DecodeText decodes the encoded-words (RFC 2047) of an unfolded header value
// to UTF-8. Raw 8-bit text is taken as UTF-8 if it is that, otherwise as
// Windows-1252. What cannot be decoded stays as it is; the result is always
// valid UTF-8.
func DecodeText(s string) string {
	if !strings.Contains(s, "=?") {
		return toUTF8(s)
	}
	d := textDecoder{}
	d.decode(s)
	return d.out.String()
}

// textDecoder decodes a value with encoded-words.
type textDecoder struct {
	out     strings.Builder
	charset string // of the bytes waiting in run
	run     []byte // decoded bytes of adjacent words of one charset: a character may be split between them
}

func (d *textDecoder) decode(s string) {
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		n := encodedWordLen(s[i:])
		if n == 0 {
			d.plain(s[:i+2])
			s = s[i+2:]
			continue
		}
		// White space between two encoded-words is not shown (RFC 2047 section 6.2).
		if gap := s[:i]; d.charset == "" || strings.Trim(gap, " \t\r\n") != "" {
			d.plain(gap)
		}
		d.word(s[i : i+n])
		s = s[i+n:]
	}
	d.plain(s)
	d.flush()
}

func (d *textDecoder) plain(s string) {
	if s == "" {
		return
	}
	d.flush()
	d.out.WriteString(toUTF8(s))
}

func (d *textDecoder) flush() {
	if d.charset != "" {
		d.out.WriteString(decodeCharset(d.charset, d.run))
		d.charset, d.run = "", d.run[:0]
	}
}

func (d *textDecoder) word(s string) {
	charset, rest, _ := strings.Cut(s[2:len(s)-2], "?")
	charset, _, _ = strings.Cut(charset, "*") // the language of RFC 2231 section 5
	if !strings.EqualFold(charset, d.charset) {
		d.flush()
	}
	d.charset = charset
	if rest[0] == 'b' || rest[0] == 'B' {
		d.run = appendBase64(d.run, rest[2:])
		return
	}
	d.run = appendQ(d.run, rest[2:])
}

// maxEncodedWord is the longest encoded-word that is decoded: RFC 2047 allows
// 75 characters, senders do not count.
const maxEncodedWord = 8 << 10

// encodedWordLen returns the length of the encoded-word that s begins with, or
// 0. White space in it is not allowed; anything else is (RFC 2047 section 2 and
// what senders make of it).
func encodedWordLen(s string) int {
	if !strings.HasPrefix(s, "=?") {
		return 0
	}
	s = s[:min(len(s), maxEncodedWord)]
	charset := strings.IndexByte(s[2:], '?')
	if charset <= 0 {
		return 0
	}
	i := 2 + charset + 1
	if len(s) < i+2 || strings.IndexByte("bBqQ", s[i]) < 0 || s[i+1] != '?' {
		return 0
	}
	i += 2
	end := strings.Index(s[i:], "?=")
	if end < 0 || strings.ContainsAny(s[:i+end], " \t\r\n") {
		return 0
	}
	return i + end + 2
}

// appendQ decodes the Q encoding (RFC 2047 section 4.2).
func appendQ(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			dst = append(dst, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}

// appendBase64 decodes base64 without asking for padding; it stops at what is
// no base64.
func appendBase64(dst []byte, s string) []byte {
	s = strings.TrimRight(s, "=")
	n := len(dst)
	dst = append(dst, make([]byte, base64.RawStdEncoding.DecodedLen(len(s)))...)
	m, _ := base64.RawStdEncoding.Decode(dst[n:], []byte(s))
	return dst[:n+m]
}
