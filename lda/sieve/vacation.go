package sieve

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"svc.plus/mailsrvd/internal/message"
)

var vacationSpecs = []*spec{{name: "vacation", ext: "vacation", args: []argumentKind{stringArgument}, command: buildVacation,
	tags: []tagSpec{
		{name: "days", value: numberArgument, group: "period"},
		{name: "seconds", ext: "vacation-seconds", value: numberArgument, group: "period"},
		{name: "subject", value: stringArgument}, {name: "from", value: stringArgument},
		{name: "addresses", value: listArgument}, {name: "mime"}, {name: "handle", value: stringArgument},
	}}}

// Vacation sends a response to the sender (RFC 5230). It goes out with the null
// reverse-path, and once only: the Result's Remember says until when.
type Vacation struct {
	// To is the recipient of the response.
	To string
	// Message is the whole response, with CRLF line ends.
	Message []byte
}

// String describes the action on one line.
func (a *Vacation) String() string { return "answer <" + a.To + ">" }

// Period bounds how long somebody who was answered gets no further answer. A
// zero field takes its default.
type Period struct {
	// Min is the shortest time that a script can ask for, a day; Max the longest,
	// 90 days; Default is where it does not ask, 7 days.
	Min, Default, Max time.Duration
}

// of returns the period for what a script asks for.
func (p Period) of(asked *time.Duration) time.Duration {
	const day = 24 * time.Hour
	if p.Min == 0 {
		p.Min = day
	}
	if p.Default == 0 {
		p.Default = 7 * day
	}
	if p.Max == 0 {
		p.Max = 90 * day
	}
	d := p.Default
	if asked != nil {
		d = *asked
	}
	return min(max(d, p.Min), p.Max)
}

// vacationCommand is RFC 5230 section 4.
type vacationCommand struct {
	period                time.Duration
	subject, from, handle *text
	addresses             []text
	mime                  bool
	reason                text
}

func buildVacation(c *checker, n *call) statement {
	v := vacationCommand{reason: c.textOf(n.args[0]), mime: n.has("mime"), subject: c.optionalText(n, "subject"),
		from: c.optionalText(n, "from"), handle: c.optionalText(n, "handle"), period: c.o.Vacation.of(nil)}
	for tag, unit := range map[string]time.Duration{"days": 24 * time.Hour, "seconds": time.Second} {
		if d, ok := n.number(tag); ok {
			asked := time.Duration(min(d, 1<<31/uint64(unit/time.Second))) * unit
			v.period = c.o.Vacation.of(&asked)
		}
	}
	if a := n.tags["addresses"]; a != nil {
		v.addresses = c.texts(a)
	}
	if v.from != nil && v.from.constant() && v.from.value != "" {
		if _, err := parseSieveAddress(v.from.value); err != nil {
			c.problem(v.from.pos, "", "%s is no address: %v", quote(v.from.value), err)
		}
	}
	for _, t := range v.addresses {
		if _, err := parseSieveAddress(t.value); t.constant() && err != nil {
			c.warning(t.pos, "", "%s is no address and is ignored: %v", quote(t.value), err)
		}
	}
	return v
}

// reply is a response that may be sent at the end.
type reply struct {
	period                        time.Duration
	subject, from, handle, reason string
	addresses                     []string
	mime                          bool
	script                        int // number in the sequence
}

func (v vacationCommand) exec(r *run) error {
	y := &reply{period: v.period, mime: v.mime, script: r.result.script}
	for _, p := range []struct {
		t   *text
		dst *string
	}{{v.subject, &y.subject}, {v.from, &y.from}, {v.handle, &y.handle}, {&v.reason, &y.reason}} {
		if p.t == nil {
			continue
		}
		s, err := p.t.eval(r)
		if err != nil {
			return err
		}
		*p.dst = s
	}
	var err error
	if y.addresses, err = evalAll(r, v.addresses); err != nil {
		return err
	}
	r.trace(0, "vacation: %s", shorten(y.reason))
	return r.result.setReply(r, y)
}

// setReply takes up a response. One that an earlier script has decided against,
// by answering or refusing the message, is left out.
func (o *outcome) setReply(r *run, y *reply) error {
	by := o.rejectedBy()
	if o.reply != nil {
		by = o.reply.script
	}
	switch {
	case by == 0:
		o.reply = y
	case by < o.script:
		r.trace(0, "left out: an earlier script has decided otherwise")
	case o.reply != nil:
		return r.errorf("vacation may be executed only once")
	default:
		return r.errorf("reject and vacation exclude each other")
	}
	return nil
}

// answer adds the response to the result, unless there are reasons for silence.
func (r *run) answer(res *Result) error {
	y := r.result.reply
	own, why := r.whySilent(y)
	if why == "" {
		id := y.id(r.env.From)
		if r.env.Seen != nil {
			seen, err := r.env.Seen(r.ctx, id)
			if err != nil {
				return r.caused(err, "cannot find out whether the sender was answered before")
			}
			if seen {
				why = "the sender was answered not long ago"
			}
		}
		res.Remember = append(res.Remember, Memory{id, y.period})
	}
	if why != "" {
		res.Remember = slices.Clone(r.result.remember)
		res.Silent = why
		r.trace(0, "vacation: no answer: %s", why)
		return nil
	}
	res.Actions = append(res.Actions, &Vacation{To: r.env.From, Message: r.composeReply(y, own)})
	return nil
}

// id names a response to a sender, for as long as it shall not be repeated: by
// its handle, or by what it says (RFC 5230 section 4.2).
func (y *reply) id(to string) string {
	words := []string{"handle", y.handle}
	if y.handle == "" {
		words = []string{"text", y.subject, y.from, fmt.Sprint(y.mime), y.reason}
	}
	return "vacation:" + hashOf(append(words, strings.ToLower(to))...)
}

// hashOf is a short name for a list of strings.
func hashOf(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// listFields mark mail of a mailing list (RFC 2369, RFC 2919).
var listFields = []string{"List-Id", "List-Owner", "List-Subscribe", "List-Post", "List-Unsubscribe", "List-Help", "List-Archive"}

// whySilent returns the user's address that the message was sent to, and why it
// must not be answered (RFC 5230 sections 4.5 and 4.6, RFC 3834 section 2); ""
// if it may.
func (r *run) whySilent(y *reply) (own message.Address, why string) {
	h := r.msg.header
	for _, name := range listFields {
		if len(h.named(name)) > 0 {
			return own, "it is from a mailing list"
		}
	}
	for _, f := range h.named("Auto-Submitted") {
		if keyword, _, _ := strings.Cut(f.Value(), ";"); !strings.EqualFold(strings.TrimSpace(keyword), "no") {
			return own, "it was not written by a person"
		}
	}
	for _, f := range h.named("Precedence") {
		if slices.Contains([]string{"junk", "bulk", "list"}, strings.ToLower(f.Value())) {
			return own, "it is bulk mail"
		}
	}
	for _, f := range h.named("X-Auto-Response-Suppress") {
		for word := range strings.SplitSeq(f.Value(), ",") {
			if w := strings.ToLower(strings.TrimSpace(word)); w == "all" || w == "oof" {
				return own, "its sender wants no automatic answer"
			}
		}
	}
	mine := r.ownAddresses(y)
	if why := silentTo(r.env.From, mine); why != "" {
		return own, why
	}
	return addressed(h, mine)
}

// ownAddresses are those that mean the user.
func (r *run) ownAddresses(y *reply) []string {
	all := append([]string{r.env.To, r.env.Owner}, r.env.Addresses...)
	for _, s := range y.addresses {
		if a, err := parseSieveAddress(s); err == nil {
			all = append(all, a.String())
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

// silentTo says why a sender gets no answer.
func silentTo(sender string, mine []string) string {
	if sender == "" {
		return "the reverse-path is null"
	}
	a, err := parseAddrSpec(sender)
	if err != nil {
		return "the reverse-path is no address"
	}
	local := strings.ToLower(a.Mailbox)
	switch {
	case slices.Contains([]string{"mailer-daemon", "listserv", "majordomo"}, local),
		strings.HasPrefix(local, "owner-"), strings.Contains(local, "-request"):
		return "the sender is a program"
	case slices.ContainsFunc(mine, func(m string) bool { return sameAddress(m, sender) }):
		return "the sender is the user"
	}
	return ""
}

// addressed finds which of the user's addresses the message was sent to.
func addressed(h *header, mine []string) (own message.Address, why string) {
	for _, name := range []string{"To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"} {
		for _, f := range h.named(name) {
			list, _ := addressesOf(f.Value())
			for _, a := range list {
				if slices.ContainsFunc(mine, func(m string) bool { return sameAddress(m, a.String()) }) {
					return a, ""
				}
			}
		}
	}
	return own, "none of the user's addresses is in To, Cc or Bcc"
}

// composeReply writes the response (RFC 5230 section 5).
func (r *run) composeReply(y *reply, own message.Address) []byte {
	h := r.msg.header
	from := composeAddress(own)
	if a, err := parseSieveAddress(y.from); err == nil {
		from = composeAddress(a)
	}
	var b bytes.Buffer
	add := func(name, value string) { b.Write(fold(name, value)) }
	add("From", from)
	add("To", r.sender())
	b.Write(composeField("Subject", y.subjectFor(h)))
	add("Date", r.now.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	add("Message-ID", "<"+rand.Text()+"@"+r.messageHost(own)+">")
	ids := message.MessageIDs(first(h, "Message-ID"))
	if len(ids) > 0 {
		add("In-Reply-To", "<"+ids[0]+">")
		references := append(message.MessageIDs(first(h, "References")), ids[0])
		add("References", "<"+strings.Join(references[max(0, len(references)-20):], "> <")+">")
	}
	add("Auto-Submitted", "auto-replied (vacation)")
	add("Precedence", "bulk")
	add("X-Auto-Response-Suppress", "All")
	add("MIME-Version", "1.0")
	if y.mime {
		b.Write(mimeEntity(y.reason))
	} else {
		b.Write(composeText(y.reason))
	}
	return b.Bytes()
}

// sender is the address that is answered, with the name that the message gives
// it.
func (r *run) sender() string {
	for _, name := range []string{"Sender", "Resent-From", "From"} {
		list, _ := addressesOf(first(r.msg.header, name))
		for _, a := range list {
			if sameAddress(a.String(), r.env.From) {
				return composeAddress(a)
			}
		}
	}
	return "<" + r.env.From + ">"
}

// first returns the value of the first field of a name.
func first(h *header, name string) string {
	if fields := h.named(name); len(fields) > 0 {
		return fields[0].Value()
	}
	return ""
}

// subjectFor is the subject of the response.
func (y *reply) subjectFor(h *header) string {
	const most = 256 // characters
	subject := y.subject
	if subject == "" {
		subject = "Automated reply"
		if fields := h.named("Subject"); len(fields) > 0 && fields[0].Text() != "" {
			subject = "Auto: " + fields[0].Text()
		}
	}
	if utf8.RuneCountInString(subject) > most {
		subject = string([]rune(subject)[:most-1]) + "…"
	}
	return subject
}

// messageHost is the right side of the Message-ID.
func (r *run) messageHost(own message.Address) string {
	if r.env.Hostname != "" {
		return r.env.Hostname
	}
	return own.Host
}

// mimeEntity makes the response's body of the reason of :mime, which is a MIME
// entity: of its header only the fields that describe content are taken.
func mimeEntity(reason string) []byte {
	entity := []byte(crlf(reason))
	end, _ := headerLen(entity)
	var b bytes.Buffer
	for name, raw := range message.EachField(entity[:end]) {
		if strings.HasPrefix(strings.ToLower(string(name)), "content-") {
			b.Write(raw)
			if !bytes.HasSuffix(raw, []byte("\n")) {
				b.WriteString("\r\n")
			}
		}
	}
	b.WriteString("\r\n")
	b.Write(entity[end:])
	if !bytes.HasSuffix(entity, []byte("\n")) {
		b.WriteString("\r\n")
	}
	return b.Bytes()
}
