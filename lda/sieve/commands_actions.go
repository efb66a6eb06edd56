package sieve

import (
	"strings"
	"unicode/utf8"
)

var flagsTag = tagSpec{name: "flags", ext: "imap4flags", value: listArgument}

var copyTag = tagSpec{name: "copy", ext: "copy"}

var actionSpecs = []*spec{
	{name: "keep", tags: []tagSpec{flagsTag}, command: buildKeep},
	{name: "discard", command: buildDiscard},
	{name: "fileinto", ext: "fileinto", args: []argumentKind{stringArgument}, command: buildFileInto,
		tags: []tagSpec{flagsTag, copyTag, {name: "create", ext: "mailbox"}, {name: "specialuse", ext: "special-use", value: stringArgument}}},
	{name: "redirect", tags: []tagSpec{copyTag}, args: []argumentKind{stringArgument}, command: buildRedirect},
	{name: "reject", ext: "reject", args: []argumentKind{stringArgument}, command: buildReject},
	{name: "ereject", ext: "ereject", args: []argumentKind{stringArgument}, command: buildReject},
}

// keepCommand is RFC 5228 section 4.3.
type keepCommand struct{ flags flagsArgument }

func buildKeep(c *checker, n *call) statement { return keepCommand{c.flagsArgument(n)} }

func (k keepCommand) exec(r *run) error {
	flags, err := k.flags.eval(r)
	if err != nil {
		return err
	}
	a := &Keep{Flags: flags, Edit: r.edit()}
	r.trace(0, "%s", a)
	return r.add(a)
}

// discardCommand is RFC 5228 section 4.4.
type discardCommand struct{}

func buildDiscard(*checker, *call) statement { return discardCommand{} }

func (discardCommand) exec(r *run) error {
	r.trace(0, "discard: the message is not kept implicitly")
	r.result.implicit = false
	return nil
}

// fileIntoCommand is RFC 5228 section 4.1, with RFC 3894, 5232, 5490 and 8579.
type fileIntoCommand struct {
	mailbox      text
	use          *text
	flags        flagsArgument
	copy, create bool
}

func buildFileInto(c *checker, n *call) statement {
	f := fileIntoCommand{mailbox: c.textOf(n.args[0]), use: c.optionalText(n, "specialuse"),
		flags: c.flagsArgument(n), copy: n.has("copy"), create: n.has("create")}
	if f.mailbox.constant() {
		if why := badMailbox(f.mailbox.value); why != "" {
			c.problem(f.mailbox.pos, "", "%s cannot name a mailbox: %s", quote(f.mailbox.value), why)
		}
	}
	if f.use != nil && f.use.constant() && !isSpecialUse(f.use.value) {
		c.problem(f.use.pos, `a special use is a flag such as "\\Junk"`, "%s is no special use", quote(f.use.value))
	}
	return f
}

// maxMailbox is how long the name of a mailbox may be, in bytes.
const maxMailbox = 1000

// badMailbox says why s cannot name a mailbox; "" if it can.
func badMailbox(s string) string {
	switch {
	case s == "":
		return "it is empty"
	case !utf8.ValidString(s):
		return "it is no UTF-8"
	case len(s) > maxMailbox:
		return "it is too long"
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 }):
		return "it has control characters"
	}
	return ""
}

// isSpecialUse reports whether s has the form of a use (RFC 8579 section 3).
func isSpecialUse(s string) bool {
	return len(s) > 1 && s[0] == '\\' && isKeyword(s[1:])
}

func (f fileIntoCommand) exec(r *run) error {
	a := &FileInto{Create: f.create}
	var err error
	if a.Mailbox, err = f.mailbox.eval(r); err != nil {
		return err
	}
	if why := badMailbox(a.Mailbox); why != "" {
		return r.errorf("%s cannot name a mailbox: %s", quote(a.Mailbox), why)
	}
	if f.use != nil {
		if a.SpecialUse, err = f.use.eval(r); err != nil {
			return err
		}
		if !isSpecialUse(a.SpecialUse) {
			return r.errorf("%s is no special use", quote(a.SpecialUse))
		}
	}
	if a.Flags, err = f.flags.eval(r); err != nil {
		return err
	}
	a.Edit = r.edit()
	r.trace(0, "fileinto: %s", a)
	r.result.cancel(f.copy)
	return r.add(a)
}

// cancel cancels the implicit keep, unless :copy was there (RFC 3894).
func (o *outcome) cancel(unless bool) {
	if !unless {
		o.implicit = false
	}
}

// redirectCommand is RFC 5228 section 4.2.
type redirectCommand struct {
	address text
	copy    bool
}

func buildRedirect(c *checker, n *call) statement {
	d := redirectCommand{c.textOf(n.args[0]), n.has("copy")}
	if d.address.constant() {
		if _, err := parseSieveAddress(d.address.value); err != nil {
			c.problem(d.address.pos, "", "%s is no address: %v", quote(d.address.value), err)
		}
	}
	if c.limits.Redirects < 0 {
		c.problem(n.pos, "", "redirect is not allowed here")
	}
	return d
}

func (d redirectCommand) exec(r *run) error {
	s, err := d.address.eval(r)
	if err != nil {
		return err
	}
	addr, err := parseSieveAddress(s)
	if err != nil {
		return r.errorf("%s is no address: %v", quote(s), err)
	}
	a := &Redirect{Address: addr.String(), Edit: r.edit()}
	r.trace(0, "%s", a)
	r.result.cancel(d.copy)
	return r.add(a)
}

// rejectCommand is reject or ereject (RFC 5429).
type rejectCommand struct {
	reason  text
	ereject bool
}

func buildReject(c *checker, n *call) statement {
	return rejectCommand{c.textOf(n.args[0]), n.name == "ereject"}
}

func (j rejectCommand) exec(r *run) error {
	s, err := j.reason.eval(r)
	if err != nil {
		return err
	}
	a := &Reject{Text: s, Ereject: j.ereject}
	r.trace(0, "%s", a)
	r.result.implicit = false
	if y := r.result.reply; y != nil && y.script < r.result.script {
		r.trace(1, "left out: an earlier script answers")
		return nil
	} else if y != nil {
		return r.errorf("reject and vacation exclude each other")
	}
	return r.add(a)
}

// rejectedBy returns the number of the script that refuses the message; 0 if
// none does.
func (o *outcome) rejectedBy() int {
	for _, it := range o.items {
		if rejects(it.Action) {
			return it.script
		}
	}
	return 0
}
