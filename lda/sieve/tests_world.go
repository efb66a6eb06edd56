package sieve

import (
	"math"
	"strconv"
	"strings"
	"time"
)

var worldSpecs = []*spec{
	{name: "environment", ext: "environment", tags: matchTags, args: []argumentKind{stringArgument, listArgument}, test: buildEnvironment},
	{name: "mailboxexists", ext: "mailbox", args: []argumentKind{listArgument}, test: buildMailboxExists},
	{name: "specialuse_exists", ext: "special-use", args: []argumentKind{stringArgument, listArgument}, optional: true, test: buildSpecialUseExists},
	{name: "duplicate", ext: "duplicate", test: buildDuplicate, tags: []tagSpec{
		{name: "handle", value: stringArgument}, {name: "header", value: stringArgument, group: "id"}, {name: "uniqueid", value: stringArgument, group: "id"},
		{name: "seconds", value: numberArgument}, {name: "last"}}},
	{name: "spamtest", ext: "spamtest", tags: joinTags(matchTags, []tagSpec{{name: "percent", ext: "spamtestplus"}}), args: []argumentKind{stringArgument}, test: buildSpamTest},
	{name: "virustest", ext: "virustest", tags: matchTags, args: []argumentKind{stringArgument}, test: buildVirusTest},
}

// environmentTest is RFC 5183.
type environmentTest struct {
	item    text
	matcher *matcher
}

func buildEnvironment(c *checker, n *call) checked {
	return checked{test: environmentTest{c.textOf(n.args[0]), c.matcher(n, n.args[1])}}
}

func (t environmentTest) eval(r *run) (bool, error) {
	name, err := t.item.eval(r)
	if err != nil {
		return false, err
	}
	value, known := r.environment(strings.ToLower(name))
	if !known {
		r.trace(0, "there is no item %s", shorten(name))
		return false, nil
	}
	return t.matcher.each(r, []string{value})
}

// environment returns an item of the environment.
func (r *run) environment(name string) (string, bool) {
	switch name {
	case "name":
		return "mailsrvd", true
	case "host":
		return r.env.Hostname, true
	}
	if value, known := r.env.Environment[name]; known {
		return value, true
	}
	value, known := map[string]string{"location": "MDA", "phase": "during"}[name]
	return value, known
}

// mailboxExistsTest is RFC 5490 section 3.1.
type mailboxExistsTest struct{ names []text }

func buildMailboxExists(c *checker, n *call) checked {
	t := mailboxExistsTest{c.texts(n.args[0])}
	for _, name := range t.names {
		if why := badMailbox(name.value); name.constant() && why != "" {
			c.warning(name.pos, "", "%s cannot name a mailbox: %s", quote(name.value), why)
		}
	}
	return checked{test: t}
}

func (t mailboxExistsTest) eval(r *run) (bool, error) {
	names, err := evalAll(r, t.names)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		ok, err := r.mailboxExists(name)
		r.trace(0, "mailbox %s: %s", shorten(name), yesNo(ok))
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// hookCost is what asking a hook costs, in bytes that are looked at: it may
// read from disk.
const hookCost = 1 << 16

func (r *run) mailboxExists(name string) (bool, error) {
	if err := r.spend(hookCost); err != nil || badMailbox(name) != "" {
		return false, err
	}
	if r.env.MailboxExists == nil {
		return isInbox(name), nil
	}
	ok, err := r.env.MailboxExists(r.ctx, name)
	if err != nil {
		return false, r.caused(err, "cannot find out whether a mailbox exists")
	}
	return ok, nil
}

// specialUseExistsTest is RFC 8579 section 3.
type specialUseExistsTest struct {
	mailbox *text
	uses    []text
}

func buildSpecialUseExists(c *checker, n *call) checked {
	t := specialUseExistsTest{uses: c.texts(n.args[1])}
	if n.args[0] != nil {
		mailbox := c.textOf(n.args[0])
		t.mailbox = &mailbox
	}
	for _, use := range t.uses {
		if use.constant() && !isSpecialUse(use.value) {
			c.problem(use.pos, `a special use is a flag such as "\\Junk"`, "%s is no special use", quote(use.value))
		}
	}
	return checked{test: t}
}

func (t specialUseExistsTest) eval(r *run) (bool, error) {
	uses, err := evalAll(r, t.uses)
	if err != nil || r.env.SpecialUse == nil {
		return false, err
	}
	wanted := ""
	if t.mailbox != nil {
		if wanted, err = t.mailbox.eval(r); err != nil {
			return false, err
		}
	}
	for _, use := range uses {
		if err := r.spend(hookCost); err != nil {
			return false, err
		}
		found, err := r.env.SpecialUse(r.ctx, use)
		if err != nil {
			return false, r.caused(err, "cannot find out which mailbox has a special use")
		}
		if found == "" || t.mailbox != nil && found != wanted {
			return false, nil
		}
	}
	return true, nil
}

// duplicateTest is RFC 7352.
type duplicateTest struct {
	handle, header, id *text
	period             time.Duration
	last               bool
}

const (
	// duplicatePeriod is how long an identifier is remembered if a script does
	// not say, and maxDuplicatePeriod the longest that it can ask for.
	duplicatePeriod    = 7 * 24 * time.Hour
	maxDuplicatePeriod = 30 * 24 * time.Hour
)

func buildDuplicate(c *checker, n *call) checked {
	t := duplicateTest{handle: c.optionalText(n, "handle"), header: c.optionalText(n, "header"), id: c.optionalText(n, "uniqueid"),
		period: duplicatePeriod, last: n.has("last")}
	if t.header != nil && t.header.constant() && !isFieldName(t.header.value) {
		c.problem(t.header.pos, "write the name without a colon", "%s cannot name a header field", quote(t.header.value))
	}
	if s, ok := n.number("seconds"); ok {
		t.period = min(time.Duration(min(s, math.MaxInt32))*time.Second, maxDuplicatePeriod)
	}
	return checked{test: t}
}

func (t duplicateTest) eval(r *run) (bool, error) {
	id, err := t.identifier(r)
	if err != nil || id == "" {
		return false, err
	}
	if err := r.spend(hookCost); err != nil {
		return false, err
	}
	seen := false
	if r.env.Seen != nil {
		if seen, err = r.env.Seen(r.ctx, id); err != nil {
			return false, r.caused(err, "cannot find out whether the message was there before")
		}
	}
	if !seen || t.last {
		r.result.rememberLater(Memory{id, t.period})
	}
	return seen, nil
}

// identifier names the message as the test wants; "" if it has no such name.
func (t duplicateTest) identifier(r *run) (string, error) {
	handle, what, value := "", "header", first(r.header, "Message-ID")
	var err error
	if t.handle != nil {
		if handle, err = t.handle.eval(r); err != nil {
			return "", err
		}
	}
	switch {
	case t.header != nil:
		name, err := t.header.eval(r)
		if err != nil {
			return "", err
		}
		value = first(r.header, name)
	case t.id != nil:
		what = "id"
		if value, err = t.id.eval(r); err != nil {
			return "", err
		}
	}
	if value == "" {
		r.trace(0, "the message has nothing to know it by")
		return "", nil
	}
	return "duplicate:" + hashOf(handle, what, value), nil
}

// rememberLater takes note of an identifier; of several times the last counts.
func (o *outcome) rememberLater(m Memory) {
	for i := range o.remember {
		if o.remember[i].ID == m.ID {
			o.remember[i] = m
			return
		}
	}
	o.remember = append(o.remember, m)
}

// spamTest is RFC 5235 section 2.
type spamTest struct {
	percent bool
	matcher *matcher
}

func buildSpamTest(c *checker, n *call) checked {
	return checked{test: spamTest{n.has("percent"), c.matcher(n, n.args[0])}}
}

func (t spamTest) eval(r *run) (bool, error) {
	switch spam := r.env.Spam; {
	case spam == nil && t.matcher.typ == matchCount:
		return t.matcher.each(r, nil)
	case spam == nil:
		return t.matcher.each(r, []string{"0"})
	case t.percent:
		return t.matcher.each(r, []string{strconv.Itoa(int(spam.percent()))})
	default:
		// 1 is clear, 10 is certain.
		return t.matcher.each(r, []string{strconv.Itoa(1 + int(math.Round(spam.percent()*9/100)))})
	}
}

func (s Spam) percent() float64 { return min(max(s.Percent, 0), 100) }

// virusTest is RFC 5235 section 3.
type virusTest struct{ matcher *matcher }

func buildVirusTest(c *checker, n *call) checked {
	return checked{test: virusTest{c.matcher(n, n.args[0])}}
}

func (t virusTest) eval(r *run) (bool, error) {
	return t.matcher.each(r, []string{strconv.Itoa(int(min(max(r.env.Virus, 0), 5)))})
}
