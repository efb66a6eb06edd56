package inbound

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"svc.plus/mailsrvd/dkim"
	"svc.plus/mailsrvd/internal/dns"
	"svc.plus/mailsrvd/internal/message"
)

// chain is what the ARC sets of a message are worth (RFC 8617).
type chain struct {
	dkim.ARC
	verdict Verdict
}

// arc checks the chain. Its result is told where there is one.
func (i *Inspector) arc(ctx context.Context, m Mail) chain {
	if i.o.ARC == Off || !chained(m.Header) {
		return chain{}
	}
	c := chain{ARC: dkim.VerifyARC(ctx, m.Content, i.o.Resolver.TXT)}
	if c.Value == dkim.None {
		return c
	}
	// There is no temperror for arc (RFC 8617 section 10.1).
	c.verdict = Verdict{Check: "arc", Result: fail, Properties: []Property{{"smtp.remote-ip", m.Remote.String()}}}
	if c.Err != nil {
		c.verdict.Reason = c.Err.Error()
	}
	if c.Value == dkim.Pass {
		c.verdict.Result = pass
		c.verdict.Comment = "i=" + strconv.Itoa(len(c.Sealers)) + " by " + c.Sealers[len(c.Sealers)-1].Domain
	}
	return c
}

// chained spares most mail a reader: it has no chain.
func chained(header []byte) bool {
	for name := range message.EachField(header) {
		if len(name) > 4 && strings.EqualFold(string(name[:4]), "arc-") {
			return true
		}
	}
	return false
}

// vouches reports whether a chain of trusted sealers says that DMARC passed for
// the author's domain when the first of them got the message, and who that is.
// The sealers are looked at from the newest on: each must be trusted, and either
// have seen DMARC pass itself or have found the chain before it good.
func (c chain) vouches(from string, trusted []string) (sealer string, ok bool) {
	if c.Value != dkim.Pass {
		return "", false
	}
	for _, s := range slices.Backward(c.Sealers) {
		if !slices.Contains(trusted, s.Domain) {
			return "", false
		}
		results := parseResults(s.Results)
		if passed(results, "dmarc", from) {
			return s.Domain, true
		}
		if !passed(results, "arc", "") {
			return "", false
		}
	}
	return "", false
}

// passed reports whether results have a pass of the method, for the author's
// domain if one is given.
func passed(results []result, method, from string) bool {
	return slices.ContainsFunc(results, func(r result) bool {
		if r.method != method || r.value != pass {
			return false
		}
		domain, err := dns.ToASCII(r.properties["header.from"])
		return from == "" || err == nil && domain == from
	})
}

// result is one resinfo of an Authentication-Results field (RFC 8601 section
// 2.2), in lower case.
type result struct {
	method, value string
	properties    map[string]string
}

var equals = regexp.MustCompile(`[ \t\r\n]*=[ \t\r\n]*`)

// parseResults reads what stands in an Authentication-Results field, the name
// first. What it does not understand it passes over.
func parseResults(text string) []result {
	var list []result
	_, text, _ = strings.Cut(withoutComments(text), ";")
	for info := range strings.SplitSeq(text, ";") {
		words := strings.Fields(equals.ReplaceAllString(strings.ToLower(info), "="))
		if len(words) == 0 {
			continue
		}
		method, value, ok := strings.Cut(words[0], "=")
		if !ok {
			continue
		}
		method, _, _ = strings.Cut(method, "/") // its version
		r := result{method: method, value: value, properties: map[string]string{}}
		for _, w := range words[1:] {
			if name, v, ok := strings.Cut(w, "="); ok {
				r.properties[name] = v
			}
		}
		list = append(list, r)
	}
	return list
}

// withoutComments takes comments out, which nest, and quotes, whose content must
// not be read as more results.
func withoutComments(s string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && (depth > 0 || quoted):
			i++
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
			b.WriteByte('?')
		case c == '(':
			depth++
		case c == ')':
			if depth = max(depth-1, 0); depth == 0 {
				b.WriteByte(' ')
			}
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}
