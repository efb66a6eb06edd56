package sieve

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"unicode/utf8"
)

// Options say what scripts may do. The zero Options are those of a user's
// script with all extensions.
type Options struct {
	// Without lists extensions that scripts may not use.
	Without []string
	// Include finds the scripts that others include (RFC 6609); nil: there are
	// none. An error that is fs.ErrNotExist means that there is no such script.
	Include func(ctx context.Context, from Location, name string) ([]byte, error)
	// Missing allows a script that includes one which is not there yet, as when
	// it is uploaded before the other; running it fails.
	Missing bool
	// Protected lists header fields that editheader may not change, beside
	// Received and Auto-Submitted, which it may not delete.
	Protected []string
	// Vacation bounds how often somebody is answered.
	Vacation Period
	Limits   Limits
}

// Location is where an included script lies (RFC 6609 section 3.2).
type Location string

// The locations: the user's own scripts, and those that all users share.
const (
	Personal Location = "personal"
	Global   Location = "global"
)

// Script is a checked script. It is immutable and safe for concurrent use.
type Script struct {
	name     string
	src      []byte
	lines    []int // offsets of the lines
	commands []command
	limits   Limits
	o        Options
	requires []string
	warnings Problems
	// variables says that the script can name variables, flags that it works
	// with IMAP flags.
	variables, flags bool
	missing          bool // it could not be found (Options.Missing)
}

// Compile checks a script. The error is Problems, of this script and those it
// includes, or the error of Options.Include. name is for problems and traces.
func Compile(ctx context.Context, name string, source []byte, o Options) (*Script, error) {
	return compileWith(ctx, name, source, o, builtin)
}

// compileWith is Compile with another table of commands.
func compileWith(ctx context.Context, name string, source []byte, o Options, specs specTable) (*Script, error) {
	u := &unit{ctx: ctx, o: o, specs: specs}
	u.limits = o.Limits.WithDefaults()
	s := &Script{}
	u.compile(s, name, source)
	var errs, warnings Problems
	for _, p := range u.problems {
		if p.Warning {
			warnings = append(warnings, p)
		} else {
			errs = append(errs, p)
		}
	}
	switch {
	case u.err != nil:
		return nil, u.err
	case len(errs) > 0:
		return nil, u.problems
	}
	s.warnings = warnings
	return s, nil
}

// Warnings are what works in the script, but hardly as meant.
func (s *Script) Warnings() Problems { return s.warnings }

// Requires lists the extensions that the script uses, sorted.
func (s *Script) Requires() []string { return slices.Clone(s.requires) }

// Name is the name that Compile was given.
func (s *Script) Name() string { return s.name }

// position finds the line and column of an offset.
func (s *Script) position(pos int) Position {
	if len(s.lines) == 0 || pos > len(s.src) {
		return Position{}
	}
	line := sort.SearchInts(s.lines, pos+1)
	return Position{Line: line, Column: utf8.RuneCount(s.src[s.lines[line-1]:pos]) + 1}
}

// lineStarts returns the offset of each line.
func lineStarts(src []byte) []int {
	lines := []int{0}
	for i, c := range src {
		if c == '\n' {
			lines = append(lines, i+1)
		}
	}
	return lines
}

// unit is one call of Compile: a script and all that it includes.
type unit struct {
	ctx      context.Context
	o        Options
	limits   Limits
	specs    specTable
	problems Problems
	err      error // of a hook
	globals  scope
	known    map[string]*Script // included ones, by location and name
	count    int                // of include commands
	regexes  int                // instructions of all regular expressions
	stack    []string           // what is being compiled, from the outermost script on
}

// compile makes s the checked script of a source.
func (u *unit) compile(s *Script, name string, source []byte) {
	*s = Script{name: name, src: source, lines: lineStarts(source), limits: u.limits, o: u.o}
	c := &checker{unit: u, script: s, required: map[string]bool{}, first: len(u.problems)}
	if len(source) > u.limits.ScriptSize {
		c.problem(0, "", "the script is longer than %d bytes", u.limits.ScriptSize)
		return
	}
	s.commands = c.block(parse(source, c, u.limits.Nesting))
	for ext := range c.required {
		s.requires = append(s.requires, ext)
	}
	slices.Sort(s.requires)
	s.variables, s.flags = c.required["variables"], c.required["imap4flags"]
	own := u.problems[c.first:]
	slices.SortStableFunc(own, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}

// problem adds an error at an offset of the script.
func (c *checker) problem(pos int, mend, format string, args ...any) {
	c.add(Problem{Text: fmt.Sprintf(format, args...), Mend: mend}, pos)
}

// warning adds a warning.
func (c *checker) warning(pos int, mend, format string, args ...any) {
	c.add(Problem{Text: fmt.Sprintf(format, args...), Mend: mend, Warning: true}, pos)
}

func (c *checker) add(p Problem, pos int) {
	if c.told++; c.told > maxProblems {
		return
	}
	p.Script, p.Position = c.script.name, c.script.position(pos)
	c.problems = append(c.problems, p)
}
