package imapd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestContextSearch(t *testing.T) {
	h := newHarness(t, nil)
	for range 4 {
		h.deliver("INBOX", mail("x"))
	}
	h.login("1", "2")
	h.talk(`
		C1: a UID SEARCH RETURN (COUNT UPDATE) UNSEEN UNDELETED
		S1: * ESEARCH (TAG "a") UID COUNT 4
		S1: a OK ...
		C1: b SEARCH RETURN (ALL UPDATE CONTEXT) KEYWORD $new
		S1: * ESEARCH (TAG "b")
		S1: b OK ...
		C1: c STORE 2:3 +FLAGS.SILENT (\Seen)
		S1: * ESEARCH (TAG "a") UID REMOVEFROM (0 2:3)
		S1: c OK ...
		C2: d STORE 3 -FLAGS.SILENT (\Seen)
		S2: ~d OK ...
		C2: d STORE 4 +FLAGS.SILENT ($new)
		S2: ~d OK ...
		C1: e NOOP
		S1: * FLAGS ...
		S1: * OK [PERMANENTFLAGS ...
		S1: * 3 FETCH ...
		S1: * 4 FETCH ...
		S1: * ESEARCH (TAG "a") UID ADDTO (0 3)
		S1: * ESEARCH (TAG "b") ADDTO (0 4)
		S1: e OK ...
		C2: f STORE 1 +FLAGS.SILENT (\Deleted)
		S2: ~f OK ...
		C2: f STORE 4 +FLAGS.SILENT (\Deleted)
		S2: ~f OK ...
		C2: f EXPUNGE
		S2: ~f OK ...
		C1: g NOOP
		S1: * ESEARCH (TAG "a") UID REMOVEFROM (0 1,4)
		S1: * ESEARCH (TAG "b") REMOVEFROM (0 4)
		S1: * 4 EXPUNGE
		S1: * 1 EXPUNGE
		S1: g OK ...
	`)
	h.deliver("INBOX", mail("x"))
	h.talk(`
		C1: h NOOP
		S1: * 3 EXISTS
		S1: * ... RECENT
		S1: * ESEARCH (TAG "a") UID ADDTO (0 5)
		S1: h OK ...
		C1: i CANCELUPDATE "a"
		S1: i OK CANCELUPDATE completed.
		C1: j UID FETCH 5 BODY[]
		S1: ~j OK ...
		C1: k CANCELUPDATE "b" "a"
		S1: k BAD There is no context of this tag
	`)
}

// In IDLE too, with the flags that FETCH sets.
func TestContextInIdle(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("x"))
	h.login("1", "2")
	h.talk(`
		C1: a UID SEARCH RETURN (UPDATE) UNSEEN
		S1: a OK ...
		C1: b FETCH 1 BODY[TEXT]
		S1: ~* ESEARCH (TAG "a") UID REMOVEFROM (0 1)
		S1: b OK ...
		C1: c IDLE
		S1: + idling
		C2: d STORE 1 -FLAGS (\Seen)
		S2: ~d OK ...
		S1: * 1 FETCH ...
		S1: * ESEARCH (TAG "a") UID ADDTO (0 1)
		C1: DONE
		S1: c OK ...
	`)
}

func TestContextSort(t *testing.T) {
	h := newHarness(t, nil)
	for _, subject := range []string{"m", "c", "x"} {
		h.deliver("INBOX", mail(subject))
	}
	h.login("1")
	h.talk(`
		C1: a UID SORT RETURN (ALL UPDATE) (SUBJECT) UTF-8 UNDELETED
		S1: * ESEARCH (TAG "a") UID ALL 2,1,3
		S1: a OK ...
		C1: b UID SORT RETURN (ALL UPDATE) (REVERSE SUBJECT) UTF-8 UNSEEN
		S1: * ESEARCH (TAG "b") UID ALL 3,1:2
		S1: b OK ...
	`)
	h.deliver("INBOX", mail("d"))
	h.deliver("INBOX", mail("a"))
	h.talk(`
		C1: c NOOP
		S1: * 5 EXISTS
		S1: * ... RECENT
		S1: * ESEARCH (TAG "a") UID ADDTO (2 4 1 5)
		S1: * ESEARCH (TAG "b") UID ADDTO (3 4 5 5)
		S1: c OK ...
		C1: d UID STORE 1,4 +FLAGS.SILENT (\Deleted)
		S1: * ESEARCH (TAG "a") UID REMOVEFROM (3 4 3 1)
		S1: d OK ...
		C1: e EXPUNGE
		S1: * ESEARCH (TAG "b") UID REMOVEFROM (2 1 2 4)
		S1: * 4 EXPUNGE
		S1: * 1 EXPUNGE
		S1: e OK ...
	`)
}

func TestContextRefusals(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("x"))
	h.login("")
	for _, keys := range []string{"1", "$", "OLDER 10", "YOUNGER 10", "TEXT x", "OR SEEN BODY x", "NOT UID $"} {
		h.talk("C: a SEARCH RETURN (UPDATE COUNT) " + keys + "\nS: * ESEARCH (TAG \"a\") COUNT ...\nS: * NO [NOUPDATE \"a\"] ...\nS: a OK ...")
	}
	for i := range maxContexts {
		h.talk(fmt.Sprintf("C: a%d SEARCH RETURN (UPDATE COUNT) SEEN\nS: * ESEARCH ...\nS: a%d OK ...", i, i))
	}
	// One tag again takes its own place, another has none.
	h.talk(`
		C: a0 SEARCH RETURN (UPDATE COUNT) SEEN
		S: * ESEARCH ...
		S: a0 OK ...
		C: b SEARCH RETURN (UPDATE COUNT) SEEN
		S: * ESEARCH ...
		S: * NO [NOUPDATE "b"] Too many contexts
		S: b OK ...
		C: c SELECT INBOX
		S: ~c OK ...
		C: d CANCELUPDATE "a0"
		S: d BAD ...
		C: e CANCELUPDATE
		S: e BAD ...
	`)
	h2 := newHarness(t, func(o *Options) { o.DisableCapabilities = []string{"CONTEXT=SEARCH"} })
	h2.login("")
	h2.talk(`
		C: a SEARCH RETURN (UPDATE) SEEN
		S: a BAD Unknown return option UPDATE
		C: b SORT RETURN (UPDATE) (DATE) UTF-8 SEEN
		S: b BAD Unknown return option UPDATE
		C: c CANCELUPDATE "a"
		S: c BAD Unknown command
	`)
}

// A client that does nothing but what ADDTO and REMOVEFROM say has what a new
// search finds, after any number of changes.
func TestContextAgreesWithSearch(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	h := newHarness(t, nil)
	subjects := "aabcdefgh"
	for range 10 {
		h.deliver("INBOX", mail(string(subjects[rng.IntN(len(subjects))])))
	}
	h.login("1", "2")
	mine := &contextClient{h: h, kept: map[string][]string{}}
	mine.run("s", "UID SEARCH RETURN (ALL UPDATE) UNSEEN")
	mine.run("t", "UID SORT RETURN (ALL UPDATE) (SUBJECT REVERSE ARRIVAL) UTF-8 UNFLAGGED UNDELETED")
	for range 150 {
		uid := 1 + rng.IntN(25)
		switch rng.IntN(6) {
		case 0:
			h.deliver("INBOX", mail(string(subjects[rng.IntN(len(subjects))])))
		case 1:
			mine.run("x", fmt.Sprintf("UID STORE %d %sFLAGS (\\Seen \\Flagged)", uid, []string{"+", "-", ""}[rng.IntN(3)]))
		case 2:
			h.talk(fmt.Sprintf("C2: y UID STORE %d %sFLAGS (\\Seen)\nS2: ~y OK ...", uid, []string{"+", "-"}[rng.IntN(2)]))
		case 3:
			h.talk(fmt.Sprintf("C2: y UID STORE %d +FLAGS (\\Deleted)\nS2: ~y OK ...\nC2: z EXPUNGE\nS2: ~z OK ...", uid))
		case 4:
			mine.run("x", "UID EXPUNGE 1:*")
		case 5:
			mine.run("x", "NOOP")
		}
	}
	mine.run("x", "NOOP")
	for tag, again := range map[string]string{"s": "UID SEARCH RETURN (ALL) UNSEEN", "t": "UID SORT RETURN (ALL) (SUBJECT REVERSE ARRIVAL) UTF-8 UNFLAGGED UNDELETED"} {
		mine.run("again", again)
		want := mine.kept["again"]
		got := mine.kept[tag]
		if tag == "s" {
			slices.SortFunc(got, func(a, b string) int { return toNumber(a) - toNumber(b) })
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: kept %q, found %q", tag, got, want)
		}
		delete(mine.kept, "again")
	}
}

func toNumber(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// contextClient follows results by what the server tells.
type contextClient struct {
	h    *harness
	kept map[string][]string
}

// run runs a command on connection 1.
func (c *contextClient) run(tag, command string) {
	c.h.talk("C1: " + tag + " " + command)
	for {
		line := c.h.conn("1").line(c.h.t)
		if strings.HasPrefix(line, tag+" ") {
			if !strings.HasPrefix(line, tag+" OK") {
				c.h.t.Fatal(line)
			}
			return
		}
		if rest, ok := strings.CutPrefix(line, "* ESEARCH (TAG \""); ok {
			c.esearch(rest)
		}
	}
}

// esearch takes a response from the tag on.
func (c *contextClient) esearch(line string) {
	tag, rest, _ := strings.Cut(line, `"`)
	list := c.kept[tag]
	words := strings.Fields(strings.NewReplacer("(", "", ")", "").Replace(rest))
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "ALL":
			i++
			list = expand(words[i])
		case "ADDTO", "REMOVEFROM":
			add := words[i] == "ADDTO"
			for i+2 < len(words) {
				at := toNumber(words[i+1])
				for _, uid := range expand(words[i+2]) {
					list = c.change(list, add, at, uid)
				}
				i += 2
			}
		}
	}
	c.kept[tag] = list
}

func (c *contextClient) change(list []string, add bool, at int, uid string) []string {
	switch {
	case add && at == 0:
		return append(list, uid)
	case add:
		return slices.Insert(list, at-1, uid)
	case at > 0 && list[at-1] != uid:
		c.h.t.Fatalf("%s is not at %d of %q", uid, at, list)
	}
	i := slices.Index(list, uid)
	if i < 0 {
		c.h.t.Fatalf("%s is not in %q", uid, list)
	}
	return slices.Delete(list, i, i+1)
}

// expand writes a set out.
func expand(set string) (numbers []string) {
	for _, r := range strings.Split(set, ",") {
		first, last, ok := strings.Cut(r, ":")
		if !ok {
			last = first
		}
		for n := toNumber(first); n <= toNumber(last); n++ {
			numbers = append(numbers, strconv.Itoa(n))
		}
	}
	return numbers
}
