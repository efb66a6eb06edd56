package dkim

import (
	"strings"

	"golang.org/x/net/idna"
)

// canonicalName gives a domain or selector in lower case, in A-labels (RFC 8616
// section 4), without a final dot.
func canonicalName(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if a, err := idna.Lookup.ToASCII(s); err == nil {
		return a
	}
	return s
}

// validName reports whether s may stand in a tag and in a DNS question.
func validName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return len(s) <= 253 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}
