package sieve

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// writer makes random scripts and messages, in what Pigeonhole 0.5 and we mean
// to have in common. It leaves out what is known to differ (testdata/pigeonhole),
// and question marks: those at the beginning of a pattern let what follows match
// anything in Pigeonhole 0.5.19, and several of them crash it.
type writer struct{ *rand.Rand }

func (w writer) of(list ...string) string { return list[w.IntN(len(list))] }

// word is a short text over few letters, so that things match now and then.
func (w writer) word() string {
	var b strings.Builder
	for range 1 + w.IntN(6) {
		b.WriteString(w.of("a", "b", "A", "B", "c", " ", "-", "1", "2"))
	}
	return w.of("a", "b", "1") + strings.TrimSpace(b.String())
}

func (w writer) pattern() string {
	var b strings.Builder
	for range 1 + w.IntN(6) {
		b.WriteString(w.of("a", "b", "*", "*", "1", " ", "-"))
	}
	return b.String()
}

// expression has its anchors at its ends only: elsewhere they match at line ends
// now and then in the C library.
func (w writer) expression() string {
	var b strings.Builder
	b.WriteString(w.of("", "", "^"))
	for range 1 + w.IntN(5) {
		b.WriteString(w.of("a", "b", "[ab]", "[^a]", ".", "(a|b)", "(ab)", "1", "[[:digit:]]", " ") + w.of("", "", "", "*", "+", "?", "{1,2}"))
	}
	return b.String() + w.of("", "", "$")
}

func (w writer) list(f func() string) string {
	n := 1 + w.IntN(3)
	words := quoted(n, f)
	if n == 1 && w.IntN(2) == 0 {
		return words[0]
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func quoted(n int, f func() string) []string {
	words := make([]string, n)
	for i := range words {
		words[i] = `"` + f() + `"`
	}
	return words
}

// match is comparator, match type and keys.
func (w writer) match() (tags, keys string) {
	switch w.IntN(7) {
	case 0, 1:
		return w.of(":is ", "") + w.of("", ":comparator \"i;ascii-casemap\" ", ":comparator \"i;octet\" "), w.list(w.word)
	case 2:
		return ":contains " + w.of("", ":comparator \"i;octet\" "), w.list(w.word)
	case 3, 4:
		return ":matches " + w.of("", ":comparator \"i;octet\" "), w.list(w.pattern)
	case 5:
		return ":regex " + w.of("", ":comparator \"i;octet\" "), w.list(w.expression)
	}
	return w.of(":value", ":count") + ` "` + w.of("gt", "ge", "lt", "le", "eq", "ne") + `" :comparator "i;ascii-numeric" `, `"` + w.of("0", "1", "2", "3", "12", "x") + `"`
}

var randomFields = []string{"subject", "x-a", "x-b", "x-none"}

func (w writer) test(depth int) string {
	if depth > 0 && w.IntN(3) == 0 {
		switch w.IntN(3) {
		case 0:
			return "not " + w.test(depth-1)
		case 1:
			return "allof(" + w.test(depth-1) + ", " + w.test(depth-1) + ")"
		}
		return "anyof(" + w.test(depth-1) + ", " + w.test(depth-1) + ")"
	}
	tags, keys := w.match()
	names := w.list(func() string { return w.of(randomFields...) })
	switch w.IntN(9) {
	case 0:
		return "address " + tags + w.of(":all ", ":localpart ", ":domain ", ":user ", ":detail ", "") + w.list(func() string { return w.of("from", "to", "cc") }) + " " + keys
	case 1:
		return "exists " + names
	case 2:
		return w.of("size :over ", "size :under ") + w.of("100", "200", "300", "1K")
	case 3:
		if strings.HasPrefix(tags, ":count") { // Pigeonhole counts none with :last
			tags, keys = ":contains ", `"a"`
		}
		return "header :index " + w.of("1", "2", "1 :last", "2 :last") + " " + tags + names + " " + keys
	case 4:
		if !strings.Contains(tags, "comparator") {
			tags += `:comparator "i;octet" `
		}
		return "string " + tags + `["${0}", "${1}", "` + w.of("${v}", "x ${v} y") + `"] ` + keys
	case 5:
		return "body " + w.of(":raw ", ":text ", ":content \"text\" ") + tags + keys
	case 6:
		return "hasflag " + tags + keys
	case 7:
		return "envelope " + tags + w.of(":localpart ", ":domain ", "") + `["from", "to"] ` + keys
	}
	return "header " + tags + names + " " + keys
}

func (w writer) statement(n int) string {
	switch w.IntN(6) {
	case 0:
		return `set ` + w.of("", ":lower ", ":upper ", ":upperfirst ", ":length ", ":quotewildcard ") + `"v" "` + w.of("${1}", "${v}a", w.word(), "${0}") + `";`
	case 1:
		return w.of("addflag", "removeflag", "setflag") + ` "` + w.of("a", "b a", "\\\\Seen", "${v}") + `";`
	case 2:
		return `fileinto ` + w.of(`"x`, `"y`, `"z${v}`, `:copy "cx`, `:copy "cz${v}`) + `";`
	}
	return fmt.Sprintf(`addflag "t%d";`, n)
}

func (w writer) script() string {
	var b strings.Builder
	b.WriteString(common())
	for i := range 12 {
		fmt.Fprintf(&b, "if %s { %s }", w.test(2), w.statement(2*i))
		if w.IntN(3) == 0 {
			fmt.Fprintf(&b, " elsif %s { %s } else { %s }", w.test(1), w.statement(2*i+1), w.statement(100+i))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (w writer) message() string {
	var b strings.Builder
	b.WriteString("From: " + w.of("a@b.example", "ab+1@c.example", "\"A b\" <b-a@b.example>") + "\nTo: " + w.of("a@b.example, b@c.example", "x <ab+b+1@b.example>") + "\n")
	for range w.IntN(6) {
		b.WriteString(w.of("Subject", "X-A", "X-B") + ": " + w.word() + w.of("", "\n  "+w.word(), " "+w.word()) + "\n")
	}
	b.WriteString("\n")
	for range w.IntN(4) {
		b.WriteString(w.word() + "\n")
	}
	return strings.ReplaceAll(b.String(), "\n", "\r\n")
}

// Random scripts over random messages lead to the same. RANDOM_SCRIPTS is how
// many, RANDOM_SEED where they begin.
func TestPigeonholeMakesTheSameOfRandomScripts(t *testing.T) {
	if _, err := exec.LookPath("sieve-test"); err != nil {
		t.Skip("missing: sieve-test")
	}
	number, seed := 40, uint64(1)
	if s := os.Getenv("RANDOM_SCRIPTS"); s != "" {
		number, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("RANDOM_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	a := &archive{p: newPeer(t), env: Env{From: "a@b.example", To: "ab@c.example"}}
	for i := range number {
		w := writer{rand.New(rand.NewPCG(seed, uint64(i)))}
		script, msg := w.script(), w.message()
		ours, theirs := a.outcomes(t, script, msg)
		if ours != theirs && !strings.Contains(theirs, "Panic") {
			t.Errorf("seed %d, %d:\n%s\n%s\nours:   %s\ntheirs: %s", seed, i, script, msg, ours, theirs)
		}
	}
}
