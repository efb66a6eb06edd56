package imapd

import (
	"testing"

	"svc.plus/mailsrvd/imapd/wire"
)

func TestCondstore(t *testing.T) {
	h := newHarness(t, nil)
	for _, s := range []string{"one", "two", "three"} {
		h.deliver("INBOX", mail(s))
	}
	h.login("1", "2")
	h.talk(`
		C1: a STORE 1 +FLAGS (\Seen)
		S1: * 1 FETCH (FLAGS (\Seen...))
		S1: a OK ...
		C1: b FETCH 1:2 (UID MODSEQ)
		S1: * 1 FETCH (UID 1 MODSEQ (<<one>>))
		S1: * 2 FETCH (UID 2 MODSEQ (<<two>>))
		S1: b OK ...
		# From here on each FETCH response has the MODSEQ.
		C1: c STORE 2 +FLAGS (\Flagged)
		S1: * 2 FETCH (FLAGS (\Flagged...) MODSEQ (<<two2>>))
		S1: c OK ...
		C1: d STORE 2 +FLAGS.SILENT (\Answered)
		S1: * 2 FETCH (UID 2 MODSEQ (<<two3>>))
		S1: d OK ...
		C2: e STORE 3 FLAGS (\Draft)
		S2: ~e OK ...
		C1: f NOOP
		S1: * 3 FETCH (UID 3 FLAGS (\Draft...) MODSEQ (<<three>>))
		S1: f OK ...
		C1: g FETCH 1:* (FLAGS) (CHANGEDSINCE <<two2>>)
		S1: * 2 FETCH (FLAGS (\Answered \Flagged...) MODSEQ (<<two3>>))
		S1: * 3 FETCH (FLAGS (\Draft...) MODSEQ (<<three>>))
		S1: g OK ...
		C1: h UID STORE 1:3 (UNCHANGEDSINCE <<two2>>) +FLAGS (\Deleted)
		S1: * 1 FETCH (UID 1 FLAGS (\Deleted \Seen...) MODSEQ (...))
		S1: h OK [MODIFIED 2:3] UID STORE completed.
		C1: i SEARCH MODSEQ <<three>>
		S1: * SEARCH 1 3 (MODSEQ <<last>>)
		S1: i OK ...
		C1: j SEARCH MODSEQ "/flags/\\draft" all <<last>>
		S1: * SEARCH 1 (MODSEQ <<last>>)
		S1: j OK ...
		C1: k SEARCH RETURN (MAX) MODSEQ 1
		S1: * ESEARCH (TAG "k") MAX 3 MODSEQ <<three>>
		S1: k OK ...
		C1: l SEARCH MODSEQ 9223372036854775807
		S1: * SEARCH
		S1: l OK ...
		C1: m STATUS INBOX (HIGHESTMODSEQ)
		S1: * STATUS INBOX (HIGHESTMODSEQ <<high>>)
		S1: m OK ...
		C1: n FETCH 1 (FLAGS) (FOO)
		S1: n BAD Unknown modifier FOO
		C1: o FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)
		S1: o BAD Unknown modifier VANISHED
		C1: p STORE 1 (UNCHANGEDSINCE 0) FLAGS.SILENT ()
		S1: p OK [MODIFIED 1] STORE completed.
		C1: q SELECT INBOX (CONDSTORE)
		S1: ~* OK [HIGHESTMODSEQ ...] Highest
		S1: * OK [MAILBOXID ...
		S1: q OK ...
		C1: r SELECT INBOX (QRESYNC (1 2))
		S1: r BAD QRESYNC is not enabled
		C1: s ENABLE CONDSTORE
		S1: * ENABLED
		S1: * OK [HIGHESTMODSEQ ...
		S1: s OK ...
		C1: t FETCH 2 BODY[TEXT]
		S1: * 2 FETCH (BODY[TEXT] {12}
		S1: Hello two.
		S1:  FLAGS (\Answered \Flagged \Seen...) MODSEQ (...))
		S1: t OK ...
	`)
}

func TestCondstoreSwitchedOff(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.DisableCapabilities = []string{"CONDSTORE", "QRESYNC"} })
	h.deliver("INBOX", mail("x"))
	h.login("")
	h.talk(`
		C: a FETCH 1 MODSEQ
		S: a BAD Unknown data item MODSEQ
		C: a SELECT INBOX (CONDSTORE)
		S: a BAD Unknown parameter CONDSTORE
		C: a STATUS INBOX (HIGHESTMODSEQ)
		S: a BAD Unknown status item HIGHESTMODSEQ
		C: a ENABLE QRESYNC CONDSTORE
		S: * ENABLED
		S: a OK ...
		C: a STORE 1 (UNCHANGEDSINCE 1) FLAGS ()
		S: a BAD ...
	`)
}

func TestQresync(t *testing.T) {
	h := newHarness(t, nil)
	for _, s := range []string{"1", "2", "3", "4", "5", "6"} {
		h.deliver("INBOX", mail(s))
	}
	h.login("1", "2")
	h.talk(`
		C1: a SELECT INBOX
		S1: ~* OK [UIDVALIDITY <<validity>>] ...
		S1: ~* OK [HIGHESTMODSEQ <<high>>] ...
		S1: ~a OK ...
		C1: b UNSELECT
		S1: b OK ...
		C2: c STORE 2,4:5 +FLAGS.SILENT (\Deleted)
		C2: c EXPUNGE
		C2: c STORE 1 +FLAGS.SILENT (\Flagged)
		S2: ~c OK EXPUNGE ...
		S2: ~c OK STORE ...
		C1: d SELECT INBOX (QRESYNC (<<validity>> <<high>>))
		S1: d BAD QRESYNC is not enabled
		C1: e ENABLE QRESYNC
		S1: * ENABLED QRESYNC
		S1: e OK ...
		C1: f SELECT INBOX (QRESYNC (<<validity>> <<high>> 1:6 (1,3 1,3)))
		S1: ~* 3 EXISTS
		S1: ~* OK [HIGHESTMODSEQ <<high2>>] ...
		S1: * OK [MAILBOXID ...
		S1: * VANISHED (EARLIER) 2,4:5
		S1: * 1 FETCH (UID 1 FLAGS (\Flagged...) MODSEQ (...))
		S1: f OK ...
		# A client that was away for longer than we remember.
		C1: g SELECT INBOX (QRESYNC (<<validity>> 1 1,3:4))
		S1: ~* OK [HIGHESTMODSEQ ...
		S1: * OK [MAILBOXID ...
		S1: * VANISHED (EARLIER) 4
		S1: * 1 FETCH (UID 1 ...)
		S1: * 2 FETCH (UID 3 ...)
		S1: g OK ...
		C1: h SELECT INBOX (QRESYNC (12345 1))
		S1: ~* OK [HIGHESTMODSEQ ...
		S1: * OK [MAILBOXID ...
		S1: h OK ...
		C1: i UID FETCH 1:* (FLAGS) (CHANGEDSINCE <<high>> VANISHED)
		S1: * VANISHED (EARLIER) 2,4:5
		S1: * 1 FETCH (UID 1 FLAGS (...) MODSEQ (...))
		S1: i OK ...
		C1: j FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)
		S1: j BAD Unknown modifier VANISHED
		C1: j UID FETCH 1:* (FLAGS) (VANISHED)
		S1: j BAD VANISHED needs CHANGEDSINCE
		C2: k STORE 2 +FLAGS.SILENT (\Deleted)
		C2: k EXPUNGE
		S2: ~k OK EXPUNGE ...
		C1: l NOOP
		S1: * VANISHED 3
		S1: l OK ...
		C1: m STORE 2 +FLAGS (\Deleted)
		S1: * 2 FETCH (FLAGS (\Deleted...) MODSEQ (...))
		S1: m OK ...
		C1: n EXPUNGE
		S1: * VANISHED 6
		S1: n OK [HIGHESTMODSEQ ...] EXPUNGE completed.
		C1: o CLOSE
		S1: o OK [HIGHESTMODSEQ ...] CLOSE completed.
	`)
}

func TestMissingRanges(t *testing.T) {
	v := &view{uids: toUIDs(2, 3, 7, 9)}
	for _, c := range []struct{ in, want []wire.Range }{
		{[]wire.Range{{First: 1, Last: 10}}, []wire.Range{{First: 1, Last: 1}, {First: 4, Last: 6}, {First: 8, Last: 8}, {First: 10, Last: 10}}},
		{[]wire.Range{{First: 2, Last: 3}}, nil},
		{[]wire.Range{{First: 4, Last: 5}, {First: 9, Last: 12}}, []wire.Range{{First: 4, Last: 5}, {First: 10, Last: 12}}},
	} {
		got := v.missing(c.in)
		if string(wire.AppendRanges(nil, got)) != string(wire.AppendRanges(nil, c.want)) {
			t.Errorf("missing(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}
