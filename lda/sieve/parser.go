package sieve

// parser builds the tree of a script (RFC 5228 section 8.2). At a mistake it
// reports and goes on behind the command, so that all are found at once.
type parser struct {
	lex     lexer
	tok     token
	last    token // the one before tok
	r       reporter
	nesting int // how deep blocks and tests may be nested
	blocks  int // how deep they are here
	tests   int
}

// parse returns the commands of a script. What has no form is left out, and
// reported.
func parse(src []byte, r reporter, nesting int) []*node {
	p := &parser{lex: lexer{src: src, r: r}, r: r, nesting: nesting}
	p.advance()
	var all []*node
	for p.tok.kind != tokenEOF {
		all = append(all, p.commands()...)
		if p.tok.kind == '}' {
			p.r.problem(p.tok.pos, "remove it, or open its block with {", "this } closes nothing")
			p.advance()
		}
	}
	return all
}

func (p *parser) advance() { p.last, p.tok = p.tok, p.lex.next() }

// accept takes the punctuation mark k if it comes next.
func (p *parser) accept(k tokenKind) bool {
	if p.tok.kind != k {
		return false
	}
	p.advance()
	return true
}

// commands reads up to a } or the end.
func (p *parser) commands() []*node {
	var list []*node
	for p.tok.kind != tokenEOF && p.tok.kind != '}' {
		if p.tok.kind == ';' { // Pigeonhole takes none either
			p.r.problem(p.tok.pos, "remove it", "this ; ends no command")
			p.advance()
			continue
		}
		if n := p.command(); n != nil {
			list = append(list, n)
		}
	}
	return list
}

// command reads one command with its ; or block.
func (p *parser) command() *node {
	if p.tok.kind != tokenIdentifier {
		p.r.problem(p.tok.pos, "", "a command must stand here, not %s", p.tok.describe())
		p.skip()
		return nil
	}
	n := p.call()
	switch {
	case n == nil:
		p.skip()
	case p.accept(';'):
	case p.tok.kind == '{':
		p.block(n)
	default:
		p.r.problem(n.end, "end the command with ; (or a block in braces)", "after %s a ; is missing before %s", quote(n.name), p.tok.describe())
		if p.tok.kind != tokenIdentifier {
			p.skip()
		}
	}
	return n
}

// block reads the block of n.
func (p *parser) block(n *node) {
	n.hasBlock = true
	open := p.tok.pos
	if p.blocks == p.nesting {
		p.r.problem(open, "", "blocks are nested more than %d deep", p.nesting)
		p.skip()
		return
	}
	p.advance()
	p.blocks++
	n.block = p.commands()
	p.blocks--
	if !p.accept('}') {
		p.r.problem(open, "close it with }", "the block that begins here does not end")
	}
}

// skip goes behind the next ; or block at this level, or before the } that ends
// it.
func (p *parser) skip() {
	depth := 0
	for {
		switch p.tok.kind {
		case tokenEOF:
			return
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return
			}
			if depth--; depth == 0 {
				p.advance()
				return
			}
		case ';':
			if depth == 0 {
				p.advance()
				return
			}
		}
		p.advance()
	}
}

// call reads identifier, arguments and tests: what commands and tests have in
// common. It returns nil when it gave up.
func (p *parser) call() *node {
	n := &node{name: p.tok.text, pos: p.tok.pos}
	p.advance()
	for {
		arg, ok := p.argument()
		if !ok {
			return nil
		}
		if arg.kind == noArgument {
			break
		}
		if len(n.args) == maxArguments {
			p.r.problem(arg.pos, "", "%s has more than %d arguments", quote(n.name), maxArguments)
			return nil
		}
		n.args = append(n.args, arg)
	}
	n.argsEnd = p.last.end
	n.end = n.argsEnd
	return p.callTests(n)
}

// callTests reads the test or test list behind the arguments of n.
func (p *parser) callTests(n *node) *node {
	if p.tok.kind != tokenIdentifier && p.tok.kind != '(' {
		return n
	}
	if p.tests == p.nesting {
		p.r.problem(p.tok.pos, "", "tests are nested more than %d deep", p.nesting)
		return nil
	}
	p.tests++
	defer func() { p.tests-- }()
	if p.tok.kind == '(' {
		n.listed = true
		p.advance()
		return p.testList(n)
	}
	t := p.call()
	if t == nil {
		return nil
	}
	n.tests, n.end = []*node{t}, t.end
	return n
}

// testList reads the tests of n up to and with the closing parenthesis.
func (p *parser) testList(n *node) *node {
	for {
		if p.tok.kind != tokenIdentifier {
			p.r.problem(p.tok.pos, "", "a test must stand here, not %s", p.tok.describe())
			return nil
		}
		t := p.call()
		if t == nil {
			return nil
		}
		n.tests = append(n.tests, t)
		switch {
		case p.accept(','):
		case p.accept(')'):
			n.end = p.last.end
			return n
		default:
			p.r.problem(p.tok.pos, "write , before the next test or ) behind the last", "the list of tests goes on with %s", p.tok.describe())
			return nil
		}
	}
}

// argument reads one argument; noArgument if none comes. It returns false when
// it gave up.
func (p *parser) argument() (argument, bool) {
	a := argument{pos: p.tok.pos}
	switch p.tok.kind {
	case tokenTag:
		a.kind, a.tag = tagArgument, p.tok.text
	case tokenNumber:
		a.kind, a.number = numberArgument, p.tok.number
	case tokenString:
		a.kind, a.list = stringArgument, []literal{{p.tok.pos, p.tok.text}}
	case '[':
		p.advance()
		a.kind = listArgument
		return a, p.stringList(&a)
	default:
		return a, true
	}
	p.advance()
	return a, true
}

// stringList reads the strings of a up to and with the closing bracket.
func (p *parser) stringList(a *argument) bool {
	if p.tok.kind == ']' {
		p.r.problem(a.pos, `write at least one string, as in [""]`, "a string list must not be empty")
		p.advance()
		return true
	}
	for {
		if p.tok.kind != tokenString {
			p.r.problem(p.tok.pos, "", "a string must stand here, not %s", p.tok.describe())
			return false
		}
		a.list = append(a.list, literal{p.tok.pos, p.tok.text})
		p.advance()
		switch {
		case p.accept(','):
		case p.accept(']'):
			return true
		default:
			p.r.problem(p.tok.pos, "write , before the next string or ] behind the last", "the string list goes on with %s", p.tok.describe())
			return false
		}
	}
}
