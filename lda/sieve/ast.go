package sieve

// argumentKind tells what an argument is.
type argumentKind uint8

const (
	noArgument argumentKind = iota
	tagArgument
	numberArgument
	stringArgument
	listArgument
)

// String names the kind in problems.
func (k argumentKind) String() string {
	return [...]string{"nothing", "a tag", "a number", "a string", "a string list"}[k]
}

// literal is a string of a script.
type literal struct {
	pos  int
	text string
}

// argument is an argument of a command or test (RFC 5228 section 2.6).
type argument struct {
	kind   argumentKind
	pos    int
	tag    string // tagArgument: the name in lower case, without the colon
	number uint64 // numberArgument
	// list is the string of a stringArgument, or the strings of a listArgument.
	list []literal
}

// node is a command or a test, as parsed.
type node struct {
	name string // in lower case
	pos  int
	// argsEnd is the offset behind its arguments, end that behind its tests.
	argsEnd, end int
	args         []argument
	// tests are the test or, with listed set, the test list behind the
	// arguments.
	tests  []*node
	listed bool
	// block holds the commands of a command that has a block.
	block    []*node
	hasBlock bool
}
