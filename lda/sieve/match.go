package sieve

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// matchType is how a value is compared with a key (RFC 5228 section 2.7.1,
// RFC 5231, and :regex of Pigeonhole).
type matchType uint8

const (
	matchIs matchType = iota
	matchContains
	matchMatches
	matchRegex
	matchValue
	matchCount
)

// String is the tag.
func (t matchType) String() string {
	return [...]string{":is", ":contains", ":matches", ":regex", ":value", ":count"}[t]
}

// matcher is how a test compares: match type, comparator and keys.
type matcher struct {
	typ      matchType
	relation string // of :value and :count: gt, ge, lt, le, eq, ne
	cmp      *comparator
	keys     []text
	// ready holds the keys that are constants, prepared; the others are nil.
	ready []*key
}

// key is a prepared key.
type key struct {
	text   string // as in the script
	folded []byte
	glob   *glob
	regex  *regex
}

// prepare makes a key ready to compare with.
func (m *matcher) prepare(s string, limits *Limits) (*key, error) {
	k := &key{text: s}
	var err error
	switch m.typ {
	case matchRegex:
		k.regex, err = compileRegex(s, m.cmp != octet, limits.Regex)
	case matchMatches:
		k.glob = parseGlob(s, m.cmp.fold)
	default:
		k.folded = m.cmp.fold(nil, s)
	}
	return k, err
}

// prepareCost is what preparing a key costs, as bytes looked at, for each of
// its own.
func (m *matcher) prepareCost() int {
	if m.typ == matchRegex {
		return 6400
	}
	return 1
}

// matching is one run of a matcher over the values of a test.
type matching struct {
	*matcher
	r     *run
	keys  []*key
	count int // values so far
}

// begin prepares the keys.
func (m *matcher) begin(r *run) (*matching, error) {
	x := &matching{matcher: m, r: r, keys: m.ready}
	for i, k := range m.ready {
		if k != nil {
			continue
		}
		if &x.keys[0] == &m.ready[0] {
			x.keys = append([]*key(nil), m.ready...)
		}
		s, err := m.keys[i].eval(r)
		if err != nil {
			return nil, err
		}
		if err := r.spend(len(s) * m.prepareCost()); err != nil {
			return nil, err
		}
		if x.keys[i], err = m.prepare(s, &r.limits); err != nil { // it matches nothing
			r.trace(1, "the regular expression %s is not valid: %v", quote(s), err)
		}
	}
	return x, nil
}

// each compares values until one matches.
func (m *matcher) each(r *run, values []string) (bool, error) {
	x, err := m.begin(r)
	if err != nil {
		return false, err
	}
	for _, v := range values {
		if ok, err := x.value(v); ok || err != nil {
			return ok, err
		}
	}
	return x.end()
}

// value compares one value with all keys. With :count it only counts.
func (x *matching) value(s string) (bool, error) {
	if x.typ == matchCount {
		x.count++
		return false, x.r.spend(0)
	}
	return x.compare(s)
}

// end returns what :count says about the number of values; false for other
// match types.
func (x *matching) end() (bool, error) {
	if x.typ != matchCount {
		return false, nil
	}
	return x.compare(strconv.Itoa(x.count))
}

// compare compares s with all keys.
func (x *matching) compare(s string) (bool, error) {
	var folded []byte
	if x.typ != matchRegex {
		x.r.scratch = x.cmp.fold(x.r.scratch[:0], s)
		folded = x.r.scratch
	}
	for _, k := range x.keys {
		if err := x.r.spend(len(s)); err != nil {
			return false, err
		}
		ok, err := x.one(k, s, folded)
		if err != nil {
			return false, err
		}
		if x.r.tracing() {
			x.r.trace(2, "%s %s %s: %s", shorten(s), x.verb(), shorten(k.text), yesNo(ok))
		}
		if ok {
			return true, nil
		}
	}
	return false, nil
}

// one compares s with one key.
func (x *matching) one(k *key, s string, folded []byte) (bool, error) {
	switch x.typ {
	case matchIs:
		return bytes.Equal(folded, k.folded), nil
	case matchContains:
		return bytes.Contains(folded, k.folded), nil
	case matchMatches:
		return x.glob(k, s, folded)
	case matchRegex:
		return x.regex(k, s)
	}
	return related(x.cmp.compare(string(folded), string(k.folded)), x.relation), nil
}

// glob compares with :matches, and sets the match variables.
func (x *matching) glob(k *key, s string, folded []byte) (bool, error) {
	m := globMatch{s: string(folded), octets: x.cmp.octets, spend: x.r.spend}
	ok := k.glob.match(&m)
	if !ok || m.err != nil {
		return false, m.err
	}
	var offsets []int
	if x.cmp.moves {
		offsets = foldOffsets(x.cmp, s)
	}
	values := make([]string, 1, 1+len(m.spans))
	values[0] = s
	for _, sp := range m.spans[:min(len(m.spans), maxMatchValue)] {
		if offsets != nil {
			sp.start, sp.end = offsets[sp.start], offsets[sp.end]
		}
		values = append(values, s[sp.start:sp.end])
	}
	x.r.setMatch(values)
	return true, nil
}

// foldOffsets maps each offset of the folded form of s to the offset of the
// character of s that it comes from.
func foldOffsets(c *comparator, s string) []int {
	var offsets []int
	for i := 0; i < len(s); {
		_, n := utf8.DecodeRuneInString(s[i:])
		for range c.fold(nil, s[i:i+n]) {
			offsets = append(offsets, i)
		}
		i += n
	}
	return append(offsets, len(s))
}

// regex compares with :regex, and sets the match variables.
func (x *matching) regex(k *key, s string) (bool, error) {
	if k.regex == nil {
		return false, nil
	}
	// A step of the automaton costs about as much as eight bytes of plain search.
	if err := x.r.spend(8 * (len(s) + 1) * k.regex.size); err != nil {
		return false, err
	}
	if !x.r.matchVariables() {
		return k.regex.re.MatchString(s), nil
	}
	found := k.regex.re.FindStringSubmatch(s)
	if found == nil {
		return false, nil
	}
	x.r.setMatch(found[:min(len(found), maxMatchValue+1)])
	return true, nil
}

// related reports whether the order of two values is as the relation says
// (RFC 5231 section 4).
func related(order int, relation string) bool {
	switch relation {
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	case "le":
		return order <= 0
	case "eq":
		return order == 0
	}
	return order != 0
}

// verb says in a trace what is compared.
func (x *matching) verb() string {
	switch x.typ {
	case matchIs:
		return "is"
	case matchContains:
		return "contains"
	case matchMatches, matchRegex:
		return "matches"
	}
	words := map[string]string{"gt": "is greater than", "ge": "is at least", "lt": "is less than", "le": "is at most", "eq": "equals", "ne": "is not"}
	return words[x.relation]
}

// shorten shows a value in a trace.
func shorten(s string) string {
	const most = 72
	if len(s) > most {
		return fmt.Sprintf("%q...", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}

func yesNo(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}
