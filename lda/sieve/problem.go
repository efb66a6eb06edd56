package sieve

import (
	"fmt"
	"strings"
)

// Position is a place in a script. Line and Column count from 1, Column in
// characters; the zero Position is the script as a whole.
type Position struct{ Line, Column int }

// Problem is a mistake in a script, or, with Warning set, something in it that
// works but hardly as meant.
type Problem struct {
	// Script is the name that Compile was given, or that of the included script.
	Script string
	Position
	// Text says what is wrong, Mend what to write instead; Mend may be empty.
	Text, Mend string
	Warning    bool
}

// String is the problem on one line: "name:3:7: error: text; mend".
func (p Problem) String() string {
	var b strings.Builder
	if p.Script != "" {
		b.WriteString(p.Script + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	kind := "error: "
	if p.Warning {
		kind = "warning: "
	}
	b.WriteString(kind + p.Text)
	if p.Mend != "" {
		b.WriteString("; " + p.Mend)
	}
	return b.String()
}

// Problems is the error of Compile: all mistakes of a script, in its order.
type Problems []Problem

// Error is one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems is how many problems of a script are told; more help nobody.
const maxProblems = 50
