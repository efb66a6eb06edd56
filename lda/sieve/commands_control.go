package sieve

import "strings"

var controlSpecs = []*spec{
	{name: "require", args: []argumentKind{listArgument}, command: buildRequire},
	{name: "if", tests: oneTest, block: true, command: buildIf},
	// A lone elsif or else is no statement: see checker.continuation.
	{name: "elsif", tests: oneTest, block: true, command: buildIf},
	{name: "else", block: true, command: buildIf},
	{name: "stop", command: buildStop},
	{name: "error", ext: "ihave", args: []argumentKind{stringArgument}, command: buildError},
}

// buildRequire takes note of extensions (RFC 5228 section 3.2).
func buildRequire(c *checker, n *call) statement {
	if c.begun {
		c.problem(n.pos, "move it to the beginning of the script", "require must stand before all other commands")
	}
	for _, l := range n.args[0].list {
		switch {
		case c.o.supports(l.text):
			c.require(l.text)
		case strings.HasPrefix(l.text, "comparator-"):
			c.problem(l.pos, "", "there is no comparator %s", quote(strings.TrimPrefix(l.text, "comparator-")))
		default:
			c.problem(l.pos, c.likeExtension(l.text), "there is no extension %s", quote(l.text))
		}
	}
	return nil
}

// likeExtension looks for an extension with a name like one that is not known.
func (c *checker) likeExtension(name string) string {
	for _, ext := range extensions {
		if len(name) <= 2*maxIdentifier && c.told < maxProblems && c.o.supports(ext) && distance(strings.ToLower(name), ext) <= 1+len(name)/4 {
			return "did you mean " + ext + "?"
		}
	}
	return ""
}

// ifCommand is an if with its elsif and else (RFC 5228 section 3.1).
type ifCommand struct {
	branches []branch
	closed   bool // by an else
	decided  bool // a branch is taken for certain, because of ihave
}

// branch is a condition and what it guards.
type branch struct {
	pos   int
	cond  test // nil for else
	block []command
	dead  bool // it is never taken, because of ihave
	exits bool // it is taken for certain, and ends the script
}

func buildIf(c *checker, n *call) statement {
	s := &ifCommand{}
	c.branch(s, n)
	return s
}

// continuation adds an elsif or else to the if before it.
func (c *checker) continuation(n *call, open *ifCommand) statement {
	switch {
	case open == nil:
		c.problem(n.pos, "", "%s must follow the block of an if or elsif", quote(n.name))
		c.block(n.block)
		return nil
	case open.closed:
		c.problem(n.pos, "", "%s stands behind the else", quote(n.name))
		c.block(n.block)
		return nil
	}
	c.branch(open, n)
	return open
}

// branch checks a branch of s, unless ihave says that it is never taken.
func (c *checker) branch(s *ifCommand, n *call) {
	b := branch{pos: n.pos}
	cond := checked{known: true, value: true}
	if n.name == "else" {
		s.closed = true
	} else if !s.decided {
		cond = c.testOf(n.tests[0])
		b.cond = cond.test
	}
	if b.dead = s.decided || cond.no(); !b.dead {
		b.block = c.block(n.block)
	}
	certain := n.name != "else" && cond.yes()
	b.exits = certain && exits(b.block)
	s.decided = s.decided || certain
	s.branches = append(s.branches, b)
}

// decidedExit reports whether the if ends the script for certain, because of
// ihave.
func (s *ifCommand) decidedExit() bool {
	for _, b := range s.branches {
		if b.exits {
			return true
		}
	}
	return false
}

// exits reports whether commands always end the script.
func exits(commands []command) bool {
	for _, c := range commands {
		switch c.statement.(type) {
		case stopCommand, errorCommand, returnCommand:
			return true
		}
	}
	return false
}

func (s *ifCommand) exec(r *run) error {
	for i, b := range s.branches {
		if b.dead {
			continue
		}
		r.pos = b.pos
		if b.cond != nil {
			r.trace(0, "%s", [...]string{"if", "elsif"}[min(i, 1)])
			ok, err := r.test(b.cond)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		} else {
			r.trace(0, "else")
		}
		r.depth++
		defer func() { r.depth-- }()
		return r.block(b.block)
	}
	return nil
}

// stopCommand ends all scripts (RFC 5228 section 3.3).
type stopCommand struct{}

func buildStop(*checker, *call) statement { return stopCommand{} }

func (stopCommand) exec(r *run) error {
	r.trace(0, "stop")
	return errStop
}

// errorCommand fails on purpose (RFC 5463 section 5).
type errorCommand struct{ message text }

func buildError(c *checker, n *call) statement { return errorCommand{c.textOf(n.args[0])} }

func (e errorCommand) exec(r *run) error {
	s, err := e.message.eval(r)
	if err != nil {
		return err
	}
	return r.errorf("the script gives up: %s", s)
}
