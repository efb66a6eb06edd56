package message

import "strings"

// BaseSubject returns the base subject of a decoded Subject (RFC 5256 section
// 2.1), for SORT and THREAD, and whether something was removed that marks a
// reply or forward. Compare base subjects by FoldString.
func BaseSubject(subject string) (base string, reply bool) {
	s := collapse(subject) // (1); the caller has decoded it
	for {
		s, reply = trimTrailers(s, reply) // (2)
		s, reply = trimLeaders(s, reply)  // (3) to (5)
		inner, ok := unwrapForward(s)     // (6)
		if !ok {
			return s, reply
		}
		s, reply = inner, true
	}
}

// trimTrailers removes "(fwd)" and white space at the end.
func trimTrailers(s string, reply bool) (string, bool) {
	for {
		s = strings.TrimRight(s, " \t")
		if !hasSuffixFold(s, "(fwd)") {
			return s, reply
		}
		s, reply = s[:len(s)-len("(fwd)")], true
	}
}

// trimLeaders removes "re:", "fw:", "fwd:" with their blobs, and blobs that
// something follows.
func trimLeaders(s string, reply bool) (string, bool) {
	for {
		s = strings.TrimLeft(s, " \t")
		last, end := 0, 0 // the last blob of those that s begins with
		for n := blobLen(s); n > 0; n = blobLen(s[end:]) {
			last, end = end, end+n
		}
		if n := leaderLen(s[end:]); n > 0 {
			s, reply = s[end+n:], true
			continue
		}
		if end == len(s) {
			end = last // it is the subject itself
		}
		return s[end:], reply
	}
}

// leaderLen returns the length of a subj-refwd with its colon at the start of s,
// or 0.
func leaderLen(s string) int {
	i := 2
	switch {
	case hasPrefixFold(s, "fwd"):
		i = 3
	case !hasPrefixFold(s, "re") && !hasPrefixFold(s, "fw"):
		return 0
	}
	i += len(s[i:]) - len(strings.TrimLeft(s[i:], " \t"))
	i += blobLen(s[i:])
	if !strings.HasPrefix(s[i:], ":") {
		return 0
	}
	return i + 1
}

// blobLen returns the length of a "[…]" with the white space behind it at the
// start of s, or 0.
func blobLen(s string) int {
	if !strings.HasPrefix(s, "[") {
		return 0
	}
	end := strings.IndexAny(s[1:], "[]") + 1
	if end == 0 || s[end] == '[' {
		return 0
	}
	end++
	return end + len(s[end:]) - len(strings.TrimLeft(s[end:], " \t"))
}

// unwrapForward removes "[fwd:" and "]" around s.
func unwrapForward(s string) (string, bool) {
	if !hasPrefixFold(s, "[fwd:") || !strings.HasSuffix(s, "]") {
		return s, false
	}
	return s[len("[fwd:") : len(s)-1], true
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
