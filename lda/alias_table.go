package lda

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// AliasFile names a file of aliases.
type AliasFile struct {
	// Path is the file.
	Path string
	// Domain makes all its names names of this one local domain; empty means
	// that they count for every local domain, as in /etc/aliases.
	Domain string
	// Optional says that a missing file is an empty one.
	Optional bool
}

// aliasTable is all aliases, immutable once it is loaded.
type aliasTable struct {
	// global holds names of all local domains, domains those of one.
	global  map[string]*aliasEntry
	domains map[string]map[string]*aliasEntry
	// includes holds the targets of the included files, by path.
	includes map[string][]target
	// programs are those that aliases may run; nil is none.
	programs *Programs
	// delimiters are those between name and detail.
	delimiters string
	// problems are all mistakes found.
	problems []*Problem
}

// maxIncludes bounds the files that aliases include.
const maxIncludes = 1000

// loadAliases reads all files and finds all mistakes in them that need no look
// at accounts. The table is usable although there are problems.
func loadAliases(ctx context.Context, o Options) *aliasTable {
	t := &aliasTable{
		global:     map[string]*aliasEntry{},
		domains:    map[string]map[string]*aliasEntry{},
		includes:   map[string][]target{},
		delimiters: o.RecipientDelimiter,
		programs:   o.Programs,
	}
	for _, f := range o.Aliases {
		if ctx.Err() != nil {
			t.problems = append(t.problems, &Problem{File: f.Path, Text: context.Cause(ctx).Error()})
			break
		}
		t.load(f)
	}
	for _, e := range t.entries() {
		t.readIncludes(e, o.AllowInclude)
	}
	t.problems = append(t.problems, t.loops()...)
	return t
}

// load reads one file into the table.
func (t *aliasTable) load(f AliasFile) {
	b, err := readAliasFile(f.Path)
	if f.Optional && errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.problems = append(t.problems, &Problem{File: f.Path, Text: err.Error()})
		return
	}
	p := &aliasParser{file: f.Path, programs: t.programs}
	if f.Domain != "" {
		p.domain = canonicalDomain(f.Domain)
	}
	p.parse(string(b))
	for _, e := range p.entries {
		t.add(p, e)
	}
	t.problems = append(t.problems, p.problems...)
}

// add notes an entry; the first of a name counts.
func (t *aliasTable) add(p *aliasParser, e *aliasEntry) {
	names := t.global
	if e.domain != "" {
		if names = t.domains[e.domain]; names == nil {
			names = map[string]*aliasEntry{}
			t.domains[e.domain] = names
		}
	}
	if first, ok := names[e.name]; ok {
		p.problem(e.line, "alias %s is there already, at %s:%d; write all its targets in one place", e, first.file, first.line)
		return
	}
	names[e.name] = e
}

// entries gives all entries, by file and line.
func (t *aliasTable) entries() []*aliasEntry {
	var all []*aliasEntry
	for _, e := range t.global {
		all = append(all, e)
	}
	for _, names := range t.domains {
		for _, e := range names {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *aliasEntry) int {
		if c := strings.Compare(a.file, b.file); c != 0 {
			return c
		}
		return a.line - b.line
	})
	return all
}

// lookup finds the entry for a local part in a canonical domain: the full
// local part before the one without its detail, and the domain's own file
// before the one for all.
func (t *aliasTable) lookup(local, base, domain string) *aliasEntry {
	local, base = strings.ToLower(local), strings.ToLower(base)
	for _, names := range []map[string]*aliasEntry{t.domains[domain], t.global} {
		for _, name := range []string{local, base} {
			if e := names[name]; e != nil && name != catchAll {
				return e
			}
		}
	}
	return nil
}

// catchAll finds the entry for addresses that nobody has.
func (t *aliasTable) catchAll(domain string) *aliasEntry {
	if e := t.domains[domain][catchAll]; e != nil {
		return e
	}
	return t.global[catchAll]
}

// readIncludes reads the files that e includes.
func (t *aliasTable) readIncludes(e *aliasEntry, allowed bool) {
	for _, to := range e.targets {
		if to.kind != toInclude {
			continue
		}
		if !allowed {
			t.problems = append(t.problems, &Problem{e.file, e.line,
				fmt.Sprintf("alias %s: :include: is not allowed here; allow it in the configuration, or write the addresses into this file", e)})
			continue
		}
		if _, done := t.includes[to.local]; done {
			continue
		}
		if len(t.includes) >= maxIncludes {
			t.problems = append(t.problems, &Problem{e.file, e.line, fmt.Sprintf("more than %d files are included", maxIncludes)})
			return
		}
		t.includes[to.local] = t.readInclude(e, to.local)
	}
}

// readInclude reads an included file: targets in lines or with commas.
func (t *aliasTable) readInclude(e *aliasEntry, path string) []target {
	b, err := readAliasFile(path)
	if err != nil {
		t.problems = append(t.problems, &Problem{e.file, e.line, fmt.Sprintf("alias %s: %v", e, err)})
		return nil
	}
	var targets []target
	number := 0
	for line := range strings.Lines(string(b)) {
		number++
		for _, item := range splitTargets(cutComment(strings.TrimRight(line, "\r\n"))) {
			to, err := parseTarget(item)
			switch {
			case err != nil:
			case to.kind == toInclude:
				err = errors.New("an included file cannot include another")
			case to.kind == toProgram:
				err = errors.New("an included file cannot name programs, since others may write it; name them in the alias file")
			}
			if err != nil {
				t.problems = append(t.problems, &Problem{path, number, err.Error()})
				continue
			}
			targets = append(targets, to)
		}
	}
	return targets
}

// targets gives the targets of e with those of its included files.
func (t *aliasTable) targets(e *aliasEntry) []target {
	var all []target
	for _, to := range e.targets {
		if to.kind == toInclude {
			all = append(all, t.includes[to.local]...)
			continue
		}
		all = append(all, to)
	}
	return all
}

// loops reports each circle of aliases once. An alias that names itself is
// none: the name then means the user.
func (t *aliasTable) loops() []*Problem {
	w := &loopWalk{t: t, state: map[*aliasEntry]int{}}
	for _, e := range t.entries() {
		w.visit(e)
	}
	return w.problems
}

// loopWalk is a depth-first walk over entries. It is as deep as the longest
// chain of aliases, so it is bounded like expansion itself.
type loopWalk struct {
	t        *aliasTable
	state    map[*aliasEntry]int // 1 on the path, 2 done
	path     []*aliasEntry
	problems []*Problem
}

func (w *loopWalk) visit(e *aliasEntry) {
	w.state[e] = 1
	w.path = append(w.path, e)
	for _, to := range w.t.targets(e) {
		next := w.t.follow(e, to)
		switch {
		case next == nil || next == e:
		case w.state[next] == 1:
			w.report(next)
		case w.state[next] == 0 && len(w.path) >= maxDepth:
			w.problems = append(w.problems, &Problem{e.file, e.line, fmt.Sprintf("alias %s: more than %d aliases lead to one another", w.path[0], maxDepth)})
		case w.state[next] == 0:
			w.visit(next)
		}
	}
	w.path = w.path[:len(w.path)-1]
	w.state[e] = 2
}

// report writes the circle that ends at e.
func (w *loopWalk) report(e *aliasEntry) {
	from := slices.Index(w.path, e)
	var names []string
	for _, on := range w.path[from:] {
		names = append(names, on.String())
	}
	last := w.path[len(w.path)-1]
	w.problems = append(w.problems, &Problem{last.file, last.line,
		fmt.Sprintf("aliases lead in a circle: %s -> %s", strings.Join(names, " -> "), e)})
}

// follow finds the alias that a target of e means, if it means one. Names of
// users without an alias, and remote addresses, are nil. In a file for all
// domains a bare name is followed through that file alone.
func (t *aliasTable) follow(e *aliasEntry, to target) *aliasEntry {
	if to.kind != toAddress {
		return nil
	}
	domain := e.domain
	if to.domain != "" {
		domain = canonicalDomain(to.domain)
	}
	base, _ := splitDetail(to.local, t.delimiters)
	return t.lookup(to.local, base, domain)
}
