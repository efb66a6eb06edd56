package sieve

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// regex is a compiled regular expression with its size in instructions, which
// is what a comparison costs for every character.
type regex struct {
	re   *regexp.Regexp
	size int
}

// compileRegex compiles a POSIX extended regular expression with GNU's
// additions, as Pigeonhole's :regex takes them, in at most limit instructions.
// Matching is leftmost-longest, in time that grows with text and expression
// only; back-references, which would break that, are refused.
func compileRegex(pattern string, ignoreCase bool, limit int) (*regex, error) {
	if len(pattern) > limit {
		return nil, errRegexSize
	}
	t := regexTranslator{in: pattern}
	flags := "(?s)"
	if ignoreCase {
		flags = "(?si)"
	}
	expr, err := t.translate()
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(flags+expr, syntax.Perl)
	if err != nil {
		return nil, regexError(err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	switch {
	case err != nil:
		return nil, regexError(err)
	case len(prog.Inst) > limit:
		return nil, errRegexSize
	}
	re, err := regexp.Compile(flags + expr)
	if err != nil {
		return nil, regexError(err)
	}
	re.Longest()
	return &regex{re, len(prog.Inst)}, nil
}

var errRegexSize = errors.New("it is too large")

// regexError tells the cause without the translated expression around it.
func regexError(err error) error {
	var e *syntax.Error
	if errors.As(err, &e) {
		return errors.New(e.Code.String())
	}
	return err
}

// regexTranslator rewrites a POSIX extended regular expression for Go.
type regexTranslator struct {
	in     string
	at     int
	out    strings.Builder
	atom   int   // where the last atom begins in out; -1 if there is none
	times  bool  // it has a quantifier already
	groups []int // where open groups begin in out
}

func (t *regexTranslator) translate() (string, error) {
	t.atom = -1
	for t.at < len(t.in) {
		if err := t.next(); err != nil {
			return "", err
		}
	}
	if len(t.groups) > 0 {
		return "", errors.New("a ( is not closed")
	}
	return t.out.String(), nil
}

// next rewrites what comes next.
func (t *regexTranslator) next() error {
	switch c := t.in[t.at]; c {
	case '\\':
		return t.escape()
	case '[':
		return t.bracket()
	case '*', '+', '?':
		t.at++
		return t.quantify(string(c))
	case '{':
		return t.interval()
	case '(':
		t.groups = append(t.groups, t.out.Len())
		t.raw("(")
	case ')':
		t.closeGroup()
	case '|', '^', '$':
		t.raw(string(c))
	case '.':
		t.literal(".", 1)
	default:
		_, n := utf8.DecodeRuneInString(t.in[t.at:])
		t.literal(regexp.QuoteMeta(strings.ToValidUTF8(t.in[t.at:t.at+n], "\ufffd")), n)
	}
	return nil
}

// raw writes what is no atom for the one character read.
func (t *regexTranslator) raw(s string) {
	t.out.WriteString(s)
	t.at++
	t.atom = -1
}

// literal writes an atom for the n bytes read.
func (t *regexTranslator) literal(s string, n int) {
	t.atom, t.times = t.out.Len(), false
	t.out.WriteString(s)
	t.at += n
}

// closeGroup ends a group; a ) without one stands for itself.
func (t *regexTranslator) closeGroup() {
	if len(t.groups) == 0 {
		t.literal(`\)`, 1)
		return
	}
	start := t.groups[len(t.groups)-1]
	t.groups = t.groups[:len(t.groups)-1]
	t.literal(")", 1)
	t.atom = start
}

// escape rewrites a backslash and the character behind it.
func (t *regexTranslator) escape() error {
	if t.at+1 == len(t.in) {
		return errors.New(`there is nothing behind the last \`)
	}
	c := t.in[t.at+1]
	switch {
	case '1' <= c && c <= '9':
		return fmt.Errorf(`the back-reference \%c is not supported`, c)
	case strings.IndexByte("wWsS", c) >= 0:
		t.literal(`\`+string(c), 2)
		return nil
	}
	if anchor, ok := map[byte]string{'b': `\b`, 'B': `\B`, '<': `\b`, '>': `\b`, '`': `\A`, '\'': `\z`}[c]; ok {
		t.at++
		t.raw(anchor)
		return nil
	}
	_, n := utf8.DecodeRuneInString(t.in[t.at+1:])
	t.literal(regexp.QuoteMeta(strings.ToValidUTF8(t.in[t.at+1:t.at+1+n], "\ufffd")), 1+n)
	return nil
}

// quantify repeats the last atom. A second quantifier repeats what the first
// made; in Go it would mean another thing.
func (t *regexTranslator) quantify(q string) error {
	if t.atom < 0 {
		return fmt.Errorf("there is nothing that %s could repeat", q)
	}
	if t.times {
		s := t.out.String()
		t.out.Reset()
		t.out.WriteString(s[:t.atom] + "(?:" + s[t.atom:] + ")")
	}
	t.times = true
	t.out.WriteString(q)
	return nil
}

// interval rewrites {n}, {n,}, {n,m} or {,m}.
func (t *regexTranslator) interval() error {
	end := strings.IndexByte(t.in[t.at:], '}')
	if end < 0 {
		return errors.New("a { is not closed")
	}
	low, high, ranged := strings.Cut(t.in[t.at+1:t.at+end], ",")
	t.at += end + 1
	if low == "" && ranged {
		low = "0"
	}
	n, err := strconv.ParseUint(low, 10, 16)
	if err != nil {
		return errors.New("{ } must hold numbers")
	}
	q := "{" + low + "}"
	if ranged {
		m, err := strconv.ParseUint(high, 10, 16)
		if high != "" && (err != nil || m < n) {
			return errors.New("{ } must hold numbers, the lower one first")
		}
		q = "{" + low + "," + high + "}"
	}
	return t.quantify(q)
}

// bracket rewrites a bracket expression, in which a backslash stands for itself.
func (t *regexTranslator) bracket() error {
	var b strings.Builder
	b.WriteByte('[')
	start := t.at
	t.at++
	if t.at < len(t.in) && t.in[t.at] == '^' {
		b.WriteByte('^')
		t.at++
	}
	for first := true; ; first = false {
		switch rest := t.in[t.at:]; {
		case rest == "":
			return errors.New("a [ is not closed")
		case rest[0] == ']' && !first:
			b.WriteByte(']')
			n := t.at + 1 - start
			t.at = start
			t.literal(b.String(), n)
			return nil
		}
		if err := t.member(&b); err != nil {
			return err
		}
	}
}

// member rewrites a class, a range or a character of a bracket expression.
func (t *regexTranslator) member(b *strings.Builder) error {
	if rest, ok := strings.CutPrefix(t.in[t.at:], "[:"); ok {
		end := strings.Index(rest, ":]")
		if end < 0 {
			return errors.New("a [: is not closed")
		}
		b.WriteString("[:" + rest[:end] + ":]")
		t.at += 2 + end + 2
		return nil
	}
	from, err := t.element()
	if err != nil {
		return err
	}
	to := from
	if rest := t.in[t.at:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
		t.at++
		if to, err = t.element(); err != nil {
			return err
		}
	}
	if to < from {
		return errors.New("a range in [ ] ends before it begins")
	}
	fmt.Fprintf(b, `\x{%x}-\x{%x}`, from, to)
	return nil
}

// element reads a character of a bracket expression, which may be written as
// [.x.] or [=x=].
func (t *regexTranslator) element() (rune, error) {
	rest := t.in[t.at:]
	for _, mark := range []string{".", "="} {
		if inner, ok := strings.CutPrefix(rest, "["+mark); ok {
			r, n := utf8.DecodeRuneInString(inner)
			if !strings.HasPrefix(inner[n:], mark+"]") {
				return 0, errors.New("only single characters can stand in [. .] and [= =]")
			}
			t.at += 2 + n + 2
			return r, nil
		}
	}
	if rest == "" {
		return 0, errors.New("a [ is not closed")
	}
	r, n := utf8.DecodeRuneInString(rest)
	t.at += n
	return r, nil
}
