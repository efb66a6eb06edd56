package queue

import (
	"strings"
	"testing"
)

// Senders have turns, and the jobs of each stay in order.
func TestSendersHaveTurns(t *testing.T) {
	var l line
	names := map[*job]string{}
	push := func(sender, name string) {
		j := &job{entry: &entry{sender: sender}}
		names[j] = name
		l.push(j)
	}
	pop := func(n int) string {
		var got []string
		for range n {
			got = append(got, names[l.pop()])
		}
		return strings.Join(got, " ")
	}
	for _, name := range []string{"a1", "a2", "a3", "a4"} {
		push("a", name)
	}
	push("b", "b1")
	if got := pop(2); got != "a1 b1" {
		t.Errorf("first: %s", got)
	}
	push("c", "c1")
	push("b", "b2")
	if got := pop(5); got != "a2 c1 b2 a3 a4" {
		t.Errorf("then: %s", got)
	}
	if l.pop() != nil || l.len() != 0 || len(l.bySender) != 0 || len(l.turns) != 0 {
		t.Errorf("not empty: %+v", l)
	}
}
