package index

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// BODY is BODYSTRUCTURE without the extension data at the end of each part (RFC
// 9051 section 7.5.2). So a row keeps, for BODY, only where those stand: pairs
// of varints, what to take and what to leave out; what is behind the last pair
// is taken.

// bodyCuts appends the cuts that make body of full. It appends nothing if that
// cannot be done.
func bodyCuts(dst, full, body []byte) []byte {
	start := len(dst)
	taken := 0 // of full since the last cut
	for len(body) > 0 {
		n := common(full, body)
		taken += n
		full, body = full[n:], body[n:]
		if len(body) == 0 {
			break
		}
		// They part where BODY ends a part and BODYSTRUCTURE goes on with it.
		n = extensionLen(full)
		if body[0] != ')' || n == 0 {
			return dst[:start]
		}
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(taken)), uint64(n))
		full, taken = full[n:], 0
	}
	if len(full) > 0 {
		return dst[:start]
	}
	return dst
}

func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// extensionLen is the length of b up to the parenthesis that closes what b is
// inside of; 0 if there is none.
func extensionLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '(':
			depth++
		case ')':
			if depth == 0 {
				return i
			}
			depth--
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{':
			n := literalLen(b[i:])
			if n == 0 {
				return 0
			}
			i += n - 1
		}
	}
	return 0
}

// literalLen is the length of the literal that b begins with, its head
// included; 0 if there is none.
func literalLen(b []byte) int {
	end := bytes.Index(b, []byte("}\r\n"))
	if end < 0 {
		return 0
	}
	n, err := strconv.ParseUint(string(b[1:end]), 10, 31)
	if err != nil || uint64(len(b)-end-3) < n {
		return 0
	}
	return end + 3 + int(n)
}

// appendUncut appends full without what cuts leaves out.
func appendUncut(dst, full, cuts []byte) (out []byte, ok bool) {
	start := len(dst)
	for len(cuts) > 0 {
		take, a := binary.Uvarint(cuts)
		if a <= 0 {
			return dst[:start], false
		}
		leave, b := binary.Uvarint(cuts[a:])
		if b <= 0 || take > uint64(len(full)) || leave > uint64(len(full))-take {
			return dst[:start], false
		}
		dst = append(dst, full[:take]...)
		full, cuts = full[take+leave:], cuts[a+b:]
	}
	return append(dst, full...), true
}
