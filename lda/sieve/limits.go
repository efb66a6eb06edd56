package sieve

// Limits bound what scripts can cost. A zero field takes its default.
type Limits struct {
	// ScriptSize is the length of one script in bytes; 1 MiB by default.
	ScriptSize int
	// Nesting is how deep blocks, and how deep tests, may be nested; 32.
	Nesting int
	// Actions is how many actions one message may lead to, 32, and Redirects how
	// many of them may be redirects, 4. -1 forbids redirects.
	Actions, Redirects int
	// Variables is how many variables a script may use, 255, and VariableSize
	// what one can hold in bytes, 4000; longer values are cut (RFC 5229 section
	// 6).
	Variables, VariableSize int
	// Includes is how many scripts may be included in all, 255, and IncludeDepth
	// how deep; 10.
	Includes, IncludeDepth int
	// Header is how much of a message's header is looked at, 1 MiB, and Body how
	// much text of its body in all, 4 MiB.
	Header, Body int
	// Work is how much a run may do: a unit is one command or test, or 64 bytes
	// of text looked at; 20 million by default, which takes seconds at worst.
	Work int
	// Regex is how large a compiled regular expression may be, in instructions,
	// 5,000; those of a script and all that it includes may have twenty times as
	// many.
	Regex int
}

// WithDefaults returns l with every zero field set.
func (l Limits) WithDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.ScriptSize, 1 << 20}, {&l.Nesting, 32}, {&l.Actions, 32}, {&l.Redirects, 4},
		{&l.Variables, 255}, {&l.VariableSize, 4000}, {&l.Includes, 255}, {&l.IncludeDepth, 10},
		{&l.Header, 1 << 20}, {&l.Body, 4 << 20}, {&l.Work, 20_000_000}, {&l.Regex, 5000},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}

const (
	// maxArguments is how many arguments a command may have.
	maxArguments = 32
	// maxIdentifier is how long identifiers and tags may be, and maxVariable how
	// long the names of variables.
	maxIdentifier, maxVariable = 32, 64
	// maxMatchValue is the highest numbered variable, ${32}.
	maxMatchValue = 32
)
