package inbound

import (
	"bytes"
	"slices"
	"strings"

	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

const fieldName = "Authentication-Results"

// Longest texts of strangers in the header.
const (
	maxValue  = 255
	maxReason = 120
)

// resultsField writes the field (RFC 8601 section 2.2), one result per line.
func resultsField(authservID string, verdicts []Verdict) []byte {
	var b bytes.Buffer
	b.WriteString(fieldName + ": " + value(authservID))
	if !slices.ContainsFunc(verdicts, func(v Verdict) bool { return !v.local }) {
		b.WriteString("; none")
	}
	for _, v := range verdicts {
		if v.local {
			continue
		}
		b.WriteString(";\r\n\t" + v.Check + "=" + v.Result)
		if v.Comment != "" {
			b.WriteString(" (" + comment(v.Comment) + ")")
		}
		if v.Reason != "" && v.Result != pass {
			b.WriteString("\r\n\t reason=" + quoted(v.Reason, maxReason))
		}
		for _, p := range v.Properties {
			b.WriteString("\r\n\t " + p.Name + "=" + value(p.Value))
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// value is a token if it can be one, else a quoted-string (RFC 2045 section
// 5.1).
func value(s string) string {
	token := s != "" && len(s) <= maxValue
	for i := 0; i < len(s) && token; i++ {
		token = s[i] > ' ' && s[i] < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?=`, rune(s[i]))
	}
	if token {
		return s
	}
	return quoted(s, maxValue)
}

// quoted is a quoted-string of at most limit characters of s; what is not
// printable ASCII becomes a question mark.
func quoted(s string, limit int) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(printable(s, limit))
	return `"` + s + `"`
}

// comment is s without what would end a comment.
func comment(s string) string {
	return strings.NewReplacer("(", "?", ")", "?", `\`, "?").Replace(printable(s, maxValue))
}

func printable(s string, limit int) string {
	s = s[:min(len(s), limit)]
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, []byte(s)))
}

// Clean takes the Authentication-Results fields out of a header block that
// carry our name, or whose name cannot be told (RFC 8601 section 5). The result
// shares the block's memory when nothing is to be taken out.
func (i *Inspector) Clean(header []byte) []byte {
	return withoutResults(header, i.o.AuthservID)
}

// CleanResults is Clean for who judges nothing: a server of users, who could write
// results of ours as well as strangers could.
func CleanResults(header []byte, authservID string) []byte {
	if ascii, err := dns.ToASCII(authservID); err == nil {
		authservID = ascii
	}
	return withoutResults(header, authservID)
}

func withoutResults(header []byte, authservID string) []byte {
	var kept []byte
	copied := false
	at := 0
	for name, raw := range message.EachField(header) {
		drop := bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte(fieldName)) && claims(raw, authservID)
		if drop && !copied {
			kept, copied = append(make([]byte, 0, len(header)), header[:at]...), true
		}
		at += len(raw)
		if copied && !drop {
			kept = append(kept, raw...)
		}
	}
	if !copied {
		return header
	}
	return append(kept, header[at:]...)
}

// claims reports whether a field says that it is ours, or might be read so.
func claims(field []byte, authservID string) bool {
	_, body, _ := bytes.Cut(field, []byte(":"))
	id, ok := authserv(body)
	if !ok {
		return true
	}
	if ascii, err := dns.ToASCII(id); err == nil {
		id = ascii
	}
	return strings.EqualFold(strings.TrimSuffix(id, "."), authservID)
}

// authserv reads the authserv-id at the beginning of a field's body: a value
// after any comments.
func authserv(body []byte) (id string, ok bool) {
	body, ok = skipComments(body)
	if !ok || len(body) == 0 {
		return "", false
	}
	if body[0] == '"' {
		return unquote(body[1:])
	}
	end := bytes.IndexAny(body, " \t\r\n;(")
	if end < 0 {
		end = len(body)
	}
	return string(body[:end]), end > 0
}

// unquote reads a quoted-string behind its first quote.
func unquote(b []byte) (string, bool) {
	var s []byte
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			return strings.TrimSpace(string(s)), true
		case '\\':
			if i++; i == len(b) {
				return "", false
			}
		case '\r', '\n':
			continue
		}
		s = append(s, b[i])
	}
	return "", false
}

// skipComments passes over white space and comments, which nest.
func skipComments(b []byte) ([]byte, bool) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case c == ' ', c == '\t', c == '\r', c == '\n', depth > 0:
		default:
			return b[i:], true
		}
	}
	return nil, depth == 0
}
