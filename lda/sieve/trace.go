package sieve

import (
	"fmt"
	"strings"
)

// Step is what a script did at one place, for people who want to know why a
// message went where it went.
type Step struct {
	// Script is the name of the script, Line where in it.
	Script string
	Line   int
	// Depth is how deep the step lies in blocks and tests.
	Depth int
	Text  string
}

// String is the step on one line, indented by its depth.
func (s Step) String() string {
	return fmt.Sprintf("%s:%-4d %s%s", s.Script, s.Line, strings.Repeat("  ", s.Depth), s.Text)
}

// tracing reports whether steps are wanted; the words for them need not be
// found otherwise.
func (r *run) tracing() bool { return r.env.Trace != nil }

// trace tells a step, extra deeper than where the run is.
func (r *run) trace(extra int, format string, args ...any) {
	if r.env.Trace == nil {
		return
	}
	s := r.frame.script
	r.env.Trace(Step{Script: s.name, Line: s.position(r.pos).Line, Depth: r.depth + extra, Text: fmt.Sprintf(format, args...)})
}
