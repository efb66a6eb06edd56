package sieve

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Result is what is to be done with a message.
type Result struct {
	// Actions are what to do, in this order.
	Actions []Action
	// Remember is what Env.Seen has to know from now on, to be stored when the
	// actions have been carried out.
	Remember []Memory
	// Silent says why a vacation command sends no response; empty if it does, or
	// if there is none.
	Silent string
}

// Memory is an identifier that is to be remembered for a time.
type Memory struct {
	ID  string
	For time.Duration
}

// Action is one of *Keep, *FileInto, *Redirect, *Discard, *Reject and *Vacation.
type Action interface {
	fmt.Stringer
	action()
}

// Edit is a header that replaces that of the message: the message is then
// Header, which has CRLF line ends where it is new and ends in a blank line,
// and all that follows offset Body.
type Edit struct {
	Header []byte
	Body   int64
}

// Keep stores the message in the default mailbox (RFC 5228 section 4.3).
type Keep struct {
	// Flags are the IMAP flags to set: system flags as in \Seen, and keywords.
	Flags []string
	// Implicit says that no keep command asked for it.
	Implicit bool
	// Edit is the header to store, nil for the message's own.
	Edit *Edit
}

// FileInto stores the message in another mailbox.
type FileInto struct {
	// Mailbox is its name in UTF-8. With SpecialUse set, such as \Junk, the
	// mailbox of that use is meant, and Mailbox where there is none (RFC 8579).
	Mailbox, SpecialUse string
	Flags               []string
	// Create says that the mailbox is made if it is not there (RFC 5490).
	Create bool
	Edit   *Edit
}

// Redirect sends the message on, with its own reverse-path.
type Redirect struct {
	Address string
	Edit    *Edit
}

// Discard throws the message away, without a word.
type Discard struct{}

// Reject refuses the message (RFC 5429): in the SMTP transaction if that is
// still possible, else with a message to the sender.
type Reject struct {
	// Text is the reason, in UTF-8, with CRLF line ends.
	Text string
	// Ereject says that the script wants a refusal in the transaction.
	Ereject bool
}

func (*Keep) action()     {}
func (*FileInto) action() {}
func (*Redirect) action() {}
func (*Discard) action()  {}
func (*Reject) action()   {}
func (*Vacation) action() {}

// String describes the action on one line.
func (a *Keep) String() string {
	if a.Implicit {
		return "keep (implicit)" + flagList(a.Flags) + edited(a.Edit)
	}
	return "keep" + flagList(a.Flags) + edited(a.Edit)
}

// String describes the action on one line.
func (a *FileInto) String() string {
	s := fmt.Sprintf("store in mailbox %q", a.Mailbox)
	if a.SpecialUse != "" {
		s += " or that for " + a.SpecialUse
	}
	if a.Create {
		s += ", made if missing"
	}
	return s + flagList(a.Flags) + edited(a.Edit)
}

// String describes the action on one line.
func (a *Redirect) String() string { return "redirect to <" + a.Address + ">" + edited(a.Edit) }

// String describes the action on one line.
func (a *Discard) String() string { return "discard" }

// String describes the action on one line.
func (a *Reject) String() string { return "reject: " + shorten(a.Text) }

func flagList(flags []string) string {
	if len(flags) == 0 {
		return ""
	}
	return ", flags " + strings.Join(flags, " ")
}

func edited(e *Edit) string {
	if e == nil {
		return ""
	}
	return ", with an edited header"
}

// outcome collects the actions of a sequence of scripts.
type outcome struct {
	items    []item
	script   int      // number of the script in the sequence
	implicit bool     // the implicit keep is in force
	flags    []string // the internal variable of RFC 5232
	anyFlags bool     // a script of the sequence works with flags
	ownFlags bool     // the present one does
	remember []Memory
	before   []Memory // what scripts before the present one want to remember
	reply    *reply   // of vacation, composed at the end
	kept     *Keep    // a keep of an earlier script, which the last one confirms
}

// item is an action and the script it is from.
type item struct {
	Action
	script int
}

// begin starts the next script of the sequence.
func (o *outcome) begin() {
	o.script++
	o.implicit, o.ownFlags = true, false
	o.before = slices.Clone(o.remember)
	for i, it := range o.items {
		if k, ok := it.Action.(*Keep); ok { // to be confirmed
			o.kept = k
			o.items = slices.Delete(o.items, i, i+1)
			break
		}
	}
}

// keeps reports whether the message goes on to the next script.
func (o *outcome) keeps() bool {
	return o.implicit || slices.ContainsFunc(o.items, func(it item) bool {
		_, ok := it.Action.(*Keep)
		return ok
	})
}

// failed is the result where an error has ended a script: only that is done
// which scripts before it have done, and the message is kept.
func (r *run) failed() *Result {
	res := &Result{Remember: r.result.before}
	for _, it := range r.result.items {
		if it.script < r.result.script {
			res.Actions = append(res.Actions, it.Action)
		}
	}
	res.Actions = append(res.Actions, &Keep{Implicit: true})
	return res
}

// finish makes the result.
func (r *run) finish() (*Result, error) {
	o := &r.result
	res := &Result{Remember: o.remember}
	stored := false
	for _, it := range o.items {
		res.Actions = append(res.Actions, it.Action)
		stored = true
	}
	if o.implicit && !o.hasKeep() {
		res.Actions = append(res.Actions, r.implicitKeep())
		stored = true
	}
	if !stored {
		res.Actions = append(res.Actions, &Discard{})
	}
	if o.reply != nil {
		if err := r.answer(res); err != nil {
			return nil, err
		}
	}
	for _, a := range res.Actions {
		r.depth = 0
		r.trace(0, "result: %s", a)
	}
	return res, nil
}

func (o *outcome) hasKeep() bool {
	for _, it := range o.items {
		if _, ok := it.Action.(*Keep); ok {
			return true
		}
	}
	return false
}

// implicitKeep is the keep at the end of scripts that have not cancelled it.
func (r *run) implicitKeep() *Keep {
	k := &Keep{Implicit: true, Edit: r.edit()}
	switch o := &r.result; {
	case o.kept != nil && !o.ownFlags:
		k.Flags = o.kept.Flags
	case o.anyFlags:
		k.Flags = slices.Clone(o.flags)
	}
	return k
}

// add takes up an action, unless it is one that is there already or that
// another script of the sequence has decided against.
func (r *run) add(a Action) error {
	o := &r.result
	for i := range o.items {
		if done, err := r.meet(&o.items[i], a); done || err != nil {
			return err
		}
	}
	if len(o.items) >= r.limits.Actions {
		return r.errorf("the message leads to more than %d actions", r.limits.Actions)
	}
	if _, ok := a.(*Redirect); ok && r.redirects() >= max(0, r.limits.Redirects) {
		return r.errorf("the message leads to more than %d redirects", max(0, r.limits.Redirects))
	}
	o.items = append(o.items, item{a, o.script})
	return nil
}

func (r *run) redirects() int {
	n := 0
	for _, it := range r.result.items {
		if _, ok := it.Action.(*Redirect); ok {
			n++
		}
	}
	return n
}

// meet decides what a new action means beside an old one: done says that it is
// dealt with.
func (r *run) meet(old *item, a Action) (done bool, err error) {
	if rejects(old.Action) != rejects(a) || rejects(a) {
		if old.script < r.result.script {
			r.trace(1, "left out: an earlier script has decided otherwise")
			return true, nil
		}
		return true, r.errorf("%s and %s exclude each other", nameOf(old.Action), nameOf(a))
	}
	switch a := a.(type) {
	case *Keep:
		if o, ok := old.Action.(*FileInto); ok && isInbox(o.Mailbox) && o.SpecialUse == "" {
			old.Action = a
			return true, nil
		}
		if o, ok := old.Action.(*Keep); ok {
			o.Flags = a.Flags
			return true, nil
		}
	case *FileInto:
		return mergeFileInto(old, a), nil
	case *Redirect:
		o, ok := old.Action.(*Redirect)
		return ok && sameAddress(o.Address, a.Address), nil
	}
	return false, nil
}

// mergeFileInto merges a store into the same mailbox: of flags the later ones
// count.
func mergeFileInto(old *item, a *FileInto) bool {
	switch o := old.Action.(type) {
	case *Keep:
		if isInbox(a.Mailbox) && a.SpecialUse == "" {
			o.Flags = a.Flags
			return true
		}
	case *FileInto:
		if o.SpecialUse == a.SpecialUse && (o.Mailbox == a.Mailbox || isInbox(o.Mailbox) && isInbox(a.Mailbox)) {
			o.Flags = a.Flags
			o.Create = o.Create || a.Create
			return true
		}
	}
	return false
}

func rejects(a Action) bool {
	_, ok := a.(*Reject)
	return ok
}

func isInbox(name string) bool { return strings.EqualFold(name, "INBOX") }

// nameOf is the name of the command that an action comes from.
func nameOf(a Action) string {
	switch a := a.(type) {
	case *Keep:
		return "keep"
	case *FileInto:
		return "fileinto"
	case *Redirect:
		return "redirect"
	case *Reject:
		if a.Ereject {
			return "ereject"
		}
		return "reject"
	}
	return "discard"
}
