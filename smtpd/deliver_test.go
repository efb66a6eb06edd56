package smtpd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

// send gives a message to recipients and expects the last reply, or for LMTP
// the last replies.
func send(t *testing.T, h *house, to []string, header string, replies ...string) {
	t.Helper()
	var b strings.Builder
	from, greeting := "x@there.test", "\nS* 220\nC: EHLO there.test\nS* 250\n"
	switch h.o.Mode {
	case LMTP:
		greeting = strings.Replace(greeting, "EHLO", "LHLO", 1)
	case Submission:
		greeting, from = login, "alice@here.test"
		header = "From: alice@here.test\n" + header
	case Local:
		from = "alice@here.test"
	}
	b.WriteString(greeting + "C: MAIL FROM:<" + from + ">\nS* 250\n")
	for _, r := range to {
		fmt.Fprintf(&b, "C: RCPT TO:%s\nS* 250\n", r)
	}
	b.WriteString("C: DATA\nS* 354\n")
	for l := range strings.Lines(header) {
		b.WriteString("C: " + strings.TrimSuffix(l, "\n") + "\n")
	}
	b.WriteString("C: \nC: body\nC: .\n")
	for _, r := range replies {
		b.WriteString("S: " + r + "\n")
	}
	talk(t, h.dial(t), b.String())
}

var (
	later = status.New(451, 2, 0, "Mailbox is busy")
	never = status.New(554, 2, 1, "Mailbox is closed")
)

// One reply cannot say two things: DESIGN rule 3 as a table.
func TestSeveralRecipients(t *testing.T) {
	const ok = "250 2.0.0 Ok: queued as …"
	for name, c := range map[string]struct {
		mode      Mode
		to        []string
		local     map[string]error
		enqueue   error
		replies   []string
		delivered string // users
		queued    string // addresses
		reported  string
	}{
		"all well": {MX, []string{"<alice@here.test>", "<bob@here.test>"}, nil, nil, []string{ok}, "alice bob", "", ""},
		"all fail for good: the reply is theirs": {MX, []string{"<alice@here.test>", "<bob@here.test>"},
			map[string]error{"alice": never, "bob": never}, nil, []string{"554 5.2.1 Mailbox is closed"}, "", "", ""},
		"all fail, one may heal: the client tries again": {MX, []string{"<alice@here.test>", "<bob@here.test>"},
			map[string]error{"alice": never, "bob": later}, nil, []string{"451 4.2.0 Mailbox is busy"}, "", "", ""},
		"some fail for now: they are queued": {MX, []string{"<alice@here.test>", "<bob@here.test>"},
			map[string]error{"bob": later}, nil, []string{ok}, "alice", "bob@here.test", ""},
		"some fail for good: a stranger is not told": {MX, []string{"<alice@here.test>", "<bob@here.test>"},
			map[string]error{"bob": never}, nil, []string{ok}, "alice", "", ""},
		"an unknown error may heal": {MX, []string{"<alice@here.test>", "<bob@here.test>"},
			map[string]error{"bob": errors.New("disk on fire")}, nil, []string{ok}, "alice", "bob@here.test", ""},
		"the queue fails too: nothing is promised": {MX, []string{"<alice@here.test>", "<bob@here.test>"},
			map[string]error{"bob": later}, status.SystemFull(nil), []string{"452 4.3.1 Insufficient system storage, try again later"}, "alice", "", ""},
		"an alias out of the house is queued": {MX, []string{"<forward@here.test>"}, nil, nil, []string{ok}, "", "bob@there.test", ""},
		"the queue refuses: nobody local gets it twice": {MX, []string{"<alice@here.test>", "<forward@here.test>"},
			nil, errors.New("disk on fire"), []string{"451 4.3.0 Local error, try again later"}, "", "", ""},
		"an alias to nowhere": {MX, []string{"<null@here.test>"}, nil, nil, []string{ok}, "", "", ""},
		"an alias to nowhere is somebody": {MX, []string{"<null@here.test>", "<bob@here.test>"},
			map[string]error{"bob": never}, nil, []string{ok}, "", "", ""},
		"two ways to one mailbox are one": {MX, []string{"<alice@here.test>", "<alice@also.test>", "<list@here.test>"},
			nil, nil, []string{ok}, "alice bob", "", ""},
		"one mailbox of an alias fails: only it is queued": {MX, []string{"<list@here.test>"},
			map[string]error{"bob": later}, nil, []string{ok}, "alice", "bob@here.test", ""},
		"all mailboxes of an alias fail": {MX, []string{"<list@here.test>"},
			map[string]error{"alice": later, "bob": later}, nil, []string{"451 4.2.0 Mailbox is busy"}, "", "", ""},
		"a program of an alias fails: only it is queued": {MX, []string{"<tickets@here.test>"},
			map[string]error{"/bin/ticket": later}, nil, []string{ok}, "alice", "tickets@here.test", ""},
		"a program runs for each address": {MX, []string{"<tickets@here.test>", "<tickets@also.test>"},
			nil, nil, []string{ok}, "/bin/ticket /bin/ticket alice", "", ""},
		"our user's failure is told": {Submission, []string{"<bob@here.test>", "<x@there.test>"},
			map[string]error{"bob": never}, nil, []string{ok}, "", "x@there.test", "bob@here.test"},
		"our user's mail waits": {Submission, []string{"<bob@here.test>"},
			map[string]error{"bob": later}, nil, []string{ok}, "", "bob@here.test", ""},
		"our user's mail fails": {Submission, []string{"<bob@here.test>"},
			map[string]error{"bob": never}, nil, []string{"554 5.2.1 Mailbox is closed"}, "", "", ""},
		"our user wants no report": {Submission, []string{"<bob@here.test> NOTIFY=NEVER", "<alice@here.test>"},
			map[string]error{"bob": never}, nil, []string{ok}, "alice", "", ""},
		"our user wants to know of success": {Submission, []string{"<bob@here.test> NOTIFY=SUCCESS", "<x@there.test> NOTIFY=SUCCESS"},
			nil, nil, []string{ok}, "bob", "x@there.test", "bob@here.test"},
		"a stranger's wish is not granted": {MX, []string{"<bob@here.test> NOTIFY=SUCCESS"}, nil, nil, []string{ok}, "bob", "", ""},
		"LMTP answers for each": {LMTP, []string{"<alice@here.test>", "<bob@here.test>", "<carol@here.test>"},
			map[string]error{"bob": never, "carol": later}, nil,
			[]string{"250 2.0.0 <alice@here.test> Ok: queued as …", "554 5.2.1 <bob@here.test> Mailbox is closed", "451 4.2.0 <carol@here.test> Mailbox is busy"}, "alice", "", ""},
		"LMTP does not repeat half an alias": {LMTP, []string{"<list@here.test>"},
			map[string]error{"bob": later}, nil, []string{"250 2.0.0 <list@here.test> Ok: queued as …"}, "alice", "bob@here.test", ""},
		"local submission": {Local, []string{"<bob@here.test>", "<x@there.test>"}, map[string]error{"bob": later}, nil, []string{ok}, "", "bob@here.test x@there.test", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, c.mode, nil)
			h.local, h.enqueue = c.local, c.enqueue
			send(t, h, c.to, "Subject: x", c.replies...)
			delivered, queued, reported := h.mail()
			for what, d := range map[string]struct {
				got  []delivery
				want string
			}{"delivered": {delivered, c.delivered}, "queued": {queued, c.queued}, "reported": {reported, c.reported}} {
				if got := recipientsOf(d.got); got != d.want {
					t.Errorf("%s: %q, want %q", what, got, d.want)
				}
			}
		})
	}
}

// TestQueuedPartOfAnAliasIsThatPartAlone: what an attempt later is for, whatever
// the address leads to by then.
func TestQueuedPartOfAnAliasIsThatPartAlone(t *testing.T) {
	for place, c := range map[string]struct {
		address string
		want    message.Local
	}{
		"bob":         {"list@here.test", message.Local{User: "bob", Address: "list@here.test"}},
		"/bin/ticket": {"tickets@here.test", message.Local{Program: "/bin/ticket", Address: "tickets@here.test"}},
	} {
		h := build(t, MX, nil)
		h.local = map[string]error{place: later}
		send(t, h, []string{"<" + c.address + ">"}, "Subject: x", "250…")
		_, queued, _ := h.mail()
		if len(queued) != 1 || len(queued[0].env.Recipients) != 1 || queued[0].env.Recipients[0].Local == nil || *queued[0].env.Recipients[0].Local != c.want {
			t.Errorf("%s: %+v", place, queued)
		}
	}
}

func recipientsOf(ds []delivery) string {
	var all []string
	for _, d := range ds {
		all = append(all, d.to...)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestFailuresThatNobodyIsToldAreLogged(t *testing.T) {
	h := build(t, MX, nil)
	h.local = map[string]error{"bob": never}
	send(t, h, []string{"<alice@here.test>", "<bob@here.test>"}, "Subject: x", "250…")
	if log := h.log.String(); !strings.Contains(log, `msg="delivery failed"`) || !strings.Contains(log, "to=bob@here.test code=554") {
		t.Errorf("log:\n%s", log)
	}
}

func TestEnvelopeKeepsDSNOptions(t *testing.T) {
	h := build(t, Submission, nil)
	talk(t, h.dial(t), login+`
	C: MAIL FROM:<alice@here.test> RET=HDRS ENVID=q+2B1 BODY=8BITMIME SMTPUTF8
	S* 250
	C: RCPT TO:<x@there.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;y+2Bz@there.test
	S* 250
	C: RCPT TO:<forward@here.test> NOTIFY=NEVER
	S* 250
	C: DATA
	S* 354
	C: From: alice@here.test
	C: .
	S* 250`)
	_, queued, _ := h.mail()
	if len(queued) != 1 {
		t.Fatalf("%d queued", len(queued))
	}
	env := queued[0].env
	if env.Trace == "" || env.ReversePath != "alice@here.test" || env.User != "alice" || !env.Trusted ||
		env.Ret != "HDRS" || env.EnvID != "q+1" || !env.EightBit || !env.SMTPUTF8 {
		t.Errorf("%+v", env)
	}
	want := []message.Recipient{
		{Address: "x@there.test", Notify: []string{"DELAY", "FAILURE"}, ORcpt: "rfc822;y+z@there.test"},
		{Address: "bob@there.test", Notify: []string{"NEVER"}, ORcpt: "rfc822;forward@here.test"},
	}
	if fmt.Sprint(env.Recipients) != fmt.Sprint(want) {
		t.Errorf("recipients %+v", env.Recipients)
	}
}

func TestRequireTLSReachesTheEnvelope(t *testing.T) {
	h := build(t, Submission, nil)
	talk(t, h.dial(t), login+`
	C: MAIL FROM:<alice@here.test> REQUIRETLS
	S* 250
	C: RCPT TO:<x@there.test>
	S* 250
	C: DATA
	S* 354
	C: From: alice@here.test
	C: .
	S* 250`)
	_, queued, _ := h.mail()
	if len(queued) != 1 || !queued[0].env.RequireTLS {
		t.Errorf("%+v", queued)
	}
}

func TestDelivererThatForgetsARecipientLosesNothing(t *testing.T) {
	h := build(t, MX, func(o *Options) { o.Deliverer = forgetful{} })
	send(t, h, []string{"<alice@here.test>"}, "Subject: x", "451 4.3.0 Local error, try again later")
}
