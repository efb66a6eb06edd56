package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with the configuration or with something
// that it names.
type Problem struct {
	// File and Line tell where; Line is 0 when no line is to blame (a key that
	// is missing, a default).
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	// Key is the full name of the key, "tls.key" or "dkim[0].selector"; empty
	// for the file as a whole.
	Key string `json:"key,omitempty"`
	// Text says what is wrong, Mend what to do about it.
	Text string `json:"text"`
	Mend string `json:"mend,omitempty"`
	// Warning marks what works today but will surprise.
	Warning bool `json:"warning,omitempty"`
}

// Error gives the problem on one line, without the mend.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Warning {
		b.WriteString(": warning: ")
	} else {
		b.WriteString(": error: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// String gives the problem for people: the line of Error, and the mend below.
func (p Problem) String() string {
	if p.Mend == "" {
		return p.Error()
	}
	return p.Error() + "\n    mend: " + p.Mend
}

// Problems is the error that Load returns: all problems, by line.
type Problems []Problem

// Error gives all problems with their mends, one after the other.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// HasErrors reports whether any of the problems is more than a warning.
func (ps Problems) HasErrors() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return !p.Warning })
}

// Sort orders the problems by file, line and key.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
}
