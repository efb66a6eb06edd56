package imapd

import (
	"cmp"
	"slices"
	"time"

	"svc.plus/mailsrvd/internal/message"
)

// threaded is what THREAD needs to know of a message.
type threaded struct {
	index      int
	sent       int64
	subject    string // base subject, folded
	reply      bool   // the subject said so
	id         string
	references []string // ancestors, the eldest first
}

// threadNode is a message, or the place of one that is not there (index < 0), in
// a tree.
type threadNode struct {
	threaded
	parent   *threadNode
	children []*threadNode
}

// threadAlgorithms are those of RFC 5256 section 3, and REFS: REFERENCES without
// joining threads by subject.
var threadAlgorithms = map[string]func([]threaded) []*threadNode{
	"ORDEREDSUBJECT": threadBySubject,
	"REFERENCES":     func(list []threaded) []*threadNode { return joinSubjects(threadByReferences(list)) },
	"REFS":           threadByReferences,
}

// thread runs THREAD and UID THREAD (RFC 5256).
func (s *session) thread(c *call) error {
	s.dec.SP()
	name := s.dec.Word()
	algorithm := threadAlgorithms[name]
	if s.dec.Err() == nil && algorithm == nil {
		s.dec.Failf("Unknown thread algorithm %s", name)
	}
	s.dec.SP()
	p := &searchParser{s: s, now: time.Now()}
	key, err := p.parseCharsetAndKeys()
	if err != nil {
		return err
	}
	found, err := s.find(c, key)
	if err != nil {
		return err
	}
	list, err := s.threadedOf(c, found)
	if err != nil {
		return err
	}
	s.enc.Raw("* THREAD")
	roots := algorithm(list)
	if len(roots) > 0 {
		s.enc.SP()
	}
	for _, root := range roots {
		s.writeThread(c, root)
	}
	s.enc.CRLF()
	return nil
}

// threadedOf reads what THREAD needs of the messages.
func (s *session) threadedOf(c *call, indexes []int) ([]threaded, error) {
	list := make([]threaded, len(indexes))
	for i := range list {
		list[i].index = -1 // one that cannot be read stays so
	}
	err := s.each(c, costHeader, indexes, func(i int, cand *candidate) error {
		fields, err := cand.header("References") // and what else is asked for here
		if err != nil {
			return err
		}
		sent, err := cand.sentTime()
		if err != nil {
			return err
		}
		t := threaded{index: indexes[i], sent: sent, references: ancestors(fields)}
		base, reply := message.BaseSubject(fields.Text("Subject"))
		t.subject, t.reply = message.FoldString(base), reply
		if ids := message.MessageIDs(fields.Value("Message-ID")); len(ids) > 0 {
			t.id = ids[0]
		}
		list[i] = t
		return nil
	})
	return slices.DeleteFunc(list, func(t threaded) bool { return t.index < 0 }), err
}

// maxReferences bounds the ancestors of a message that count: the first, which
// is the root, and the last ones.
const maxReferences = 100

func ancestors(fields message.Fields) []string {
	ids := message.MessageIDs(fields.Value("References"))
	if n := len(ids); n > maxReferences {
		ids = append(ids[:1], ids[n-maxReferences+1:]...)
	}
	if len(ids) == 0 {
		ids = message.MessageIDs(fields.Value("In-Reply-To"))
		ids = ids[:min(1, len(ids))]
	}
	return ids
}

// writeThread writes a thread in parentheses: a line of descent as numbers, and
// branches as threads of their own. It does not recurse along a line, which a
// mailing list can make very long.
func (s *session) writeThread(c *call, n *threadNode) {
	s.enc.Byte('(')
	for first := true; n != nil; first = false {
		if n.index >= 0 {
			if !first {
				s.enc.SP()
			}
			s.enc.Number(uint64(s.numbers(c, []int{n.index})[0]))
		}
		if len(n.children) == 1 {
			n = n.children[0]
			continue
		}
		if len(n.children) > 0 && n.index >= 0 {
			s.enc.SP()
		}
		for _, child := range n.children {
			s.writeThread(c, child)
		}
		n = nil
	}
	s.enc.Byte(')')
}

// bySent orders messages by sent date, then by their place in the mailbox.
func bySent(a, b *threadNode) int {
	return cmp.Or(cmp.Compare(a.first().sent, b.first().sent), cmp.Compare(a.first().index, b.first().index))
}

// first is the message that a node is ordered by: itself, or its first child.
func (n *threadNode) first() *threadNode {
	for n.index < 0 && len(n.children) > 0 {
		n = n.children[0]
	}
	return n
}

// threadBySubject is ORDEREDSUBJECT: a thread is all messages with one base
// subject, the first of which is the parent of the others.
func threadBySubject(list []threaded) []*threadNode {
	nodes := nodesOf(list)
	slices.SortFunc(nodes, bySent)
	threads := make(map[string]*threadNode)
	var roots []*threadNode
	for _, n := range nodes {
		if root := threads[n.subject]; root != nil {
			root.add(n)
			continue
		}
		threads[n.subject] = n
		roots = append(roots, n)
	}
	return roots
}

func nodesOf(list []threaded) []*threadNode {
	nodes := make([]*threadNode, len(list))
	for i, t := range list {
		nodes[i] = &threadNode{threaded: t}
	}
	return nodes
}

func (n *threadNode) add(child *threadNode) {
	child.parent = n
	n.children = append(n.children, child)
}
