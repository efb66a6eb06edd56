package sieve

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"
)

var includeSpecs = []*spec{
	{name: "include", ext: "include", args: []argumentKind{stringArgument}, command: buildInclude,
		tags: []tagSpec{{name: "personal", group: "location"}, {name: "global", group: "location"}, {name: "once"}, {name: "optional"}}},
	{name: "return", ext: "include", command: buildReturn},
	{name: "global", ext: "include", args: []argumentKind{listArgument}, command: buildGlobal},
}

// includeCommand is RFC 6609 section 3.2.
type includeCommand struct {
	script *Script
	once   bool
}

func buildInclude(c *checker, n *call) statement {
	name, ok := c.constant(n.args[0], "the name of a script")
	if !ok {
		return nil
	}
	pos := n.args[0].pos
	if !IsScriptName(name) {
		c.problem(pos, "", "%s cannot name a script", quote(name))
		return nil
	}
	from := Personal
	if n.has("global") {
		from = Global
	}
	if c.count++; c.count > c.limits.Includes {
		c.problem(n.pos, "", "there are more than %d include commands", c.limits.Includes)
		return nil
	}
	s := c.included(pos, from, name, n)
	if s == nil {
		return nil
	}
	return includeCommand{s, n.has("once")}
}

// IsScriptName reports whether s can name a script: what RFC 5804 section 1.6
// allows, without slashes.
func IsScriptName(s string) bool {
	return s != "" && len(s) <= 512 && utf8.ValidString(s) && s[0] != '.' && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || 0x7f <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == '/'
	})
}

// included compiles an included script, each once. It returns nil where there
// is nothing to execute.
func (c *checker) included(pos int, from Location, name string, n *call) *Script {
	id := string(from) + ":" + name
	switch {
	case slices.Contains(c.stack, id) && !n.has("once"):
		c.problem(pos, "", "the script %s includes itself", quote(name))
		return nil
	case len(c.stack) >= c.limits.IncludeDepth:
		c.problem(pos, "", "scripts include each other more than %d deep", c.limits.IncludeDepth)
		return nil
	}
	if s, ok := c.known[id]; ok {
		return s
	}
	src, err := c.source(from, name)
	if errors.Is(err, fs.ErrNotExist) {
		return c.missing(pos, name, n.has("optional"))
	}
	if err != nil {
		c.err = err
		return nil
	}
	if c.known == nil {
		c.known = map[string]*Script{}
	}
	s := &Script{}
	c.known[id] = s // before it is compiled: it may include itself once
	c.stack = append(c.stack, id)
	c.compile(s, name, src)
	c.stack = c.stack[:len(c.stack)-1]
	return s
}

func (c *checker) source(from Location, name string) ([]byte, error) {
	if c.o.Include == nil {
		return nil, fs.ErrNotExist
	}
	return c.o.Include(c.ctx, from, name)
}

// missing deals with a script that is not there.
func (c *checker) missing(pos int, name string, optional bool) *Script {
	switch {
	case optional:
		return nil
	case c.o.Missing:
		c.warning(pos, "add it, or write :optional", "there is no script %s", quote(name))
		return &Script{name: name, missing: true, limits: c.limits}
	}
	c.problem(pos, "add it, or write :optional", "there is no script %s", quote(name))
	return nil
}

// includeCost is what the execution of a script costs beside its commands, in bytes
// that are looked at: its frame is made anew.
const includeCost = 1 << 10

func (i includeCommand) exec(r *run) error {
	if err := r.spend(includeCost); err != nil {
		return err
	}
	if i.script.missing {
		return r.errorf("there is no script %s", quote(i.script.name))
	}
	if i.once && r.included[i.script] {
		r.trace(0, "include %s: left out, it was there before", i.script.name)
		return nil
	}
	r.trace(0, "include %s", i.script.name)
	if r.included == nil {
		r.included = map[*Script]bool{}
	}
	r.included[i.script] = true
	back, pos := r.frame, r.pos
	r.enter(i.script)
	r.depth++
	err := r.block(i.script.commands)
	r.depth--
	if err != nil && err != errReturn {
		return err // with the frame it happened in
	}
	r.frame, r.pos = back, pos
	return nil
}

// enter begins the execution of a script in a frame of its own.
func (r *run) enter(s *Script) {
	r.frame = &frame{script: s}
	if s.flags {
		r.result.anyFlags, r.result.ownFlags = true, true
	}
}

// returnCommand ends the included script (RFC 6609 section 3.3).
type returnCommand struct{}

func buildReturn(*checker, *call) statement { return returnCommand{} }

func (returnCommand) exec(r *run) error {
	r.trace(0, "return")
	return errReturn
}

// buildGlobal makes variables ones that are shared with included scripts
// (RFC 6609 section 3.4.1).
func buildGlobal(c *checker, n *call) statement {
	if !c.required["variables"] {
		c.problem(n.pos, needs("variables"), "global needs the extension variables")
		return nil
	}
	if c.shared == nil {
		c.shared = map[string]bool{}
	}
	for _, l := range n.args[0].list {
		name := strings.ToLower(l.text)
		switch {
		case c.locals.has(name) && !c.shared[name]:
			c.problem(l.pos, "write global before its first use", "the variable %s was used before", quote(name))
		case c.mayName(l.pos, name, &c.globals):
			c.shared[name] = true
			c.globals.place(name)
		}
	}
	return nil
}
