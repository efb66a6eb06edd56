package imapd

import "slices"

// threadByReferences makes the trees of the algorithm REFERENCES, steps 1 to 4
// (RFC 5256 section 3).
func threadByReferences(list []threaded) []*threadNode {
	t := referenceTree{byID: make(map[string]*threadNode, len(list))}
	for _, m := range list {
		t.insert(m)
	}
	var tops, roots []*threadNode
	for _, n := range t.nodes {
		if n.parent == nil {
			tops = append(tops, n)
		}
	}
	for _, n := range tops { // pruning makes new tops, which are done
		roots = append(roots, prune(n)...)
	}
	sortThreads(roots)
	return roots
}

// referenceTree is the forest while messages are put into it.
type referenceTree struct {
	byID  map[string]*threadNode
	nodes []*threadNode
}

// node returns the node of an identity, made as the place of a message that is
// not there if it is new.
func (t *referenceTree) node(id string) *threadNode {
	n := t.byID[id]
	if n == nil {
		n = &threadNode{threaded: threaded{index: -1}}
		t.byID[id] = n
		t.nodes = append(t.nodes, n)
	}
	return n
}

// insert puts a message below the last of its references, and links these to
// each other where they have no parent yet.
func (t *referenceTree) insert(m threaded) {
	var parent *threadNode
	for _, id := range m.references {
		n := t.node(id)
		if parent != nil && n.parent == nil && !n.above(parent) {
			parent.link(n)
		}
		parent = n
	}
	n := t.own(m)
	if n.parent != nil { // what others said about it gives way to what it says
		n.parent.unlink(n)
	}
	if parent != nil && !n.above(parent) {
		parent.link(n)
	}
}

// own returns the node for a message itself. A second message of one identity,
// or one without, gets a node that no reference finds.
func (t *referenceTree) own(m threaded) *threadNode {
	if m.id != "" {
		if n := t.node(m.id); n.index < 0 {
			n.threaded = m
			return n
		}
	}
	n := &threadNode{threaded: m}
	t.nodes = append(t.nodes, n)
	return n
}

// above reports whether n is other or one of its ancestors.
func (n *threadNode) above(other *threadNode) bool {
	if len(n.children) == 0 {
		return n == other
	}
	for ; other != nil; other = other.parent {
		if other == n {
			return true
		}
	}
	return false
}

func (n *threadNode) link(child *threadNode) { n.add(child) }

func (n *threadNode) unlink(child *threadNode) {
	n.children = slices.DeleteFunc(n.children, func(c *threadNode) bool { return c == child })
	child.parent = nil
}

// prune removes the places of messages that are not there: without children they
// vanish, else the children move up; at the top only a single one does (step
// 3). It returns what stands in the place of root. There is no recursion, since
// a thread may be as long as a mailbox.
func prune(root *threadNode) []*threadNode {
	order := []*threadNode{root}
	for i := 0; i < len(order); i++ {
		order = append(order, order[i].children...)
	}
	for _, n := range slices.Backward(order) {
		var kept []*threadNode
		for _, c := range n.children {
			if c.index >= 0 {
				kept = append(kept, c)
			} else {
				kept = append(kept, c.children...)
			}
		}
		for _, c := range kept {
			c.parent = n
		}
		n.children = kept
	}
	if root.index >= 0 || len(root.children) > 1 {
		return []*threadNode{root}
	}
	for _, c := range root.children {
		c.parent = nil
	}
	return root.children
}

// sortThreads orders siblings by sent date at every level, the deepest first.
func sortThreads(roots []*threadNode) {
	order := slices.Clone(roots)
	for i := 0; i < len(order); i++ {
		order = append(order, order[i].children...)
	}
	for _, n := range slices.Backward(order) {
		slices.SortFunc(n.children, bySent)
	}
	slices.SortFunc(roots, bySent)
}

// joinSubjects joins threads with the same base subject (step 5 of REFERENCES)
// and orders them.
func joinSubjects(roots []*threadNode) []*threadNode {
	table := make(map[string]*threadNode)
	for _, n := range roots {
		subject := n.first().subject
		have := table[subject]
		if subject != "" && (have == nil || n.index < 0 && have.index >= 0 || have.index >= 0 && have.reply && !n.reply) {
			table[subject] = n
		}
	}
	gone := make(map[*threadNode]bool)
	for _, n := range roots {
		subject := n.first().subject
		have := table[subject]
		if have == nil || have == n {
			continue
		}
		gone[n] = true
		if merged := merge(have, n); merged != have {
			gone[have] = true
			table[subject] = merged
			roots = append(roots, merged)
		}
	}
	roots = slices.DeleteFunc(roots, func(n *threadNode) bool { return gone[n] })
	sortThreads(roots)
	return roots
}

// merge joins thread n to the thread have of the same subject, and returns the
// root of both.
func merge(have, n *threadNode) *threadNode {
	switch {
	case have.index < 0 && n.index < 0:
		for _, c := range n.children {
			have.add(c)
		}
	case have.index < 0, n.index >= 0 && n.reply && !have.reply:
		have.add(n)
	default:
		root := &threadNode{threaded: threaded{index: -1, subject: n.first().subject}}
		root.add(have)
		root.add(n)
		return root
	}
	return have
}
