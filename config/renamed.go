package config

import (
	"fmt"
	"strings"
)

// rename is a key that has got another name. A configuration is for good: the
// old name goes on working, with a warning, for a year at the least.
type rename struct {
	// from and to are full names, "section.key". A key of a list of sections
	// stays in its section.
	from, to string
	// until is the day from which the old name may be refused, 2006-01-02.
	until string
}

// renames lists all of them, the newest last. When a key is renamed, its line
// comes here in the same commit.
var renames []rename

// rename moves values from old names to new ones, before anything is read.
func (l *loader) rename(tree map[string]any) {
	for _, r := range l.renames {
		from, oldKey := cutLast(r.from)
		to, newKey := cutLast(r.to)
		switch v := find(tree, from).(type) {
		case map[string]any:
			if _, here := v[oldKey]; here {
				l.move(v, madeSection(tree, to), r, r.from, r.to, oldKey, newKey)
				if len(v) == 0 {
					drop(tree, from)
				}
			}
		default:
			for i, m := range tables(v) {
				if _, here := m[oldKey]; here {
					at := fmt.Sprintf("%s[%d].", from, i)
					l.move(m, m, r, at+oldKey, at+newKey, oldKey, newKey)
				}
			}
		}
	}
}

// move takes one value over; from and to are the names with indices.
func (l *loader) move(old, new map[string]any, r rename, from, to, oldKey, newKey string) {
	if _, both := new[newKey]; both {
		l.add(from, "is the old name of "+r.to+", which is set as well", "remove the old one")
		delete(old, oldKey)
		return
	}
	p := l.c.Problem(from, "is now called "+r.to, fmt.Sprintf("write it so; the old name works until %s at least", r.until))
	p.Warning = true
	l.problems = append(l.problems, p)
	new[newKey] = old[oldKey]
	delete(old, oldKey)
	l.c.lines[to] = l.c.lines[from]
}

// madeSection is a section of the tree, made if it is not there.
func madeSection(tree map[string]any, name string) map[string]any {
	if name == "" {
		return tree
	}
	for part := range strings.SplitSeq(name, ".") {
		child, ok := tree[part].(map[string]any)
		if !ok {
			child = map[string]any{}
			tree[part] = child
		}
		tree = child
	}
	return tree
}

// drop takes a section out that is empty now and may exist no longer.
func drop(tree map[string]any, name string) {
	parent, last := cutLast(name)
	if m, ok := find(tree, parent).(map[string]any); ok && last != "" {
		delete(m, last)
	}
}

func cutLast(name string) (section, key string) {
	i := strings.LastIndexByte(name, '.')
	return name[:max(i, 0)], name[i+1:]
}
