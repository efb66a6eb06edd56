package imapd

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"svc.plus/mailsrvd/maildir"
)

func TestSessionsSeeEachOther(t *testing.T) {
	h := newHarness(t, nil)
	for _, s := range []string{"one", "two", "three", "four"} {
		h.deliver("INBOX", mail(s))
	}
	h.login("1", "2")
	h.talk(`
		C1: a STORE 2 +FLAGS (\Flagged)
		S1: * 2 FETCH (FLAGS (\Flagged...))
		S1: a OK ...
		C2: a NOOP
		S2: * 2 FETCH (UID 2 FLAGS (\Flagged...))
		S2: a OK ...
		C2: b STORE 2:3 +FLAGS.SILENT (\Deleted)
		S2: b OK ...
		C2: c NOOP
		S2: c OK ...
		C2: d EXPUNGE
		S2: * 3 EXPUNGE
		S2: * 2 EXPUNGE
		S2: d OK ...
		# No EXPUNGE while sequence numbers are in use; the messages are gone all the same.
		C1: e FETCH 1:* FLAGS
		S1: * 1 FETCH (FLAGS (...))
		S1: * 4 FETCH (FLAGS (...))
		S1: e OK [EXPUNGEISSUED] Some messages were already expunged.
		C1: f STORE 4 FLAGS (\Answered)
		S1: * 4 FETCH (FLAGS (\Answered...))
		S1: f OK ...
		C1: g SEARCH ALL
		S1: * SEARCH 1 4
		S1: g OK ...
		C1: h UID FETCH 4 UID
		S1: * 4 FETCH (UID 4)
		S1: * 3 EXPUNGE
		S1: * 2 EXPUNGE
		S1: h OK UID FETCH completed.
		C1: i FETCH 2 UID
		S1: * 2 FETCH (UID 4)
		S1: i OK ...
	`)
	h.deliver("INBOX", mail("five"))
	h.talk(`
		C1: j NOOP
		S1: * 3 EXISTS
		S1: * ... RECENT
		S1: j OK ...
		C2: j NOOP
		S2: ~j OK ...
		C2: j FETCH 3 UID
		S2: * 3 FETCH (UID 5)
		S2: j OK ...
	`)
}

func TestNewKeywordIsAnnouncedBeforeItIsUsed(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.login("1", "2")
	h.talk(`
		C1: a STORE 1 +FLAGS ($Label)
		S1: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Label)
		S1: * OK [PERMANENTFLAGS ...
		S1: * 1 FETCH (FLAGS ($Label...))
		S1: a OK ...
		C2: b NOOP
		S2: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Label)
		S2: * OK [PERMANENTFLAGS ...
		S2: * 1 FETCH (UID 1 FLAGS ($Label...))
		S2: b OK ...
	`)
}

func TestIdle(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.login("1", "2")
	h.talk("C1: a IDLE\nS1: + idling")
	h.deliver("INBOX", mail("two"))
	h.talk(`
		S1: * 2 EXISTS
		S1: * ... RECENT
		C2: b STORE 1 +FLAGS.SILENT (\Deleted)
		S2: ~b OK ...
		S1: * 1 FETCH (UID 1 FLAGS (\Deleted...))
		C2: c EXPUNGE
		S2: ~c OK ...
		S1: * 1 EXPUNGE
		C1: done
		S1: a OK IDLE completed.
		C1: d IDLE
		S1: + idling
		C1: NOOP
		S1: d BAD Expected DONE
		C1: e IDLE
		C1: DONE
		C1: f NOOP
		S1: + idling
		S1: e OK IDLE completed.
		S1: f OK NOOP completed.
	`)
}

func TestIdleWithoutAMailbox(t *testing.T) {
	h := newHarness(t, nil)
	h.talk(`
		S: * OK ...
		C: a LOGIN alice secret
		S: a OK ...
		C: b IDLE
		S: + idling
		C: DONE
		S: b OK ...
	`)
}

// News that comes between the last look and the wait must wake the wait.
func TestIdleLosesNoNews(t *testing.T) {
	h := newHarness(t, nil)
	h.login("1")
	h.talk("C1: a IDLE\nS1: + idling")
	for i := range 200 {
		go h.deliver("INBOX", mail(fmt.Sprint(i)))
	}
	for {
		line := h.conn("1").line(t)
		if line == "* 200 EXISTS" {
			break
		}
	}
	h.talk("C1: DONE\nS1: ~a OK ...")
}

func TestRemovedMailboxEndsItsSessions(t *testing.T) {
	h := newHarness(t, nil)
	h.login("1", "2")
	h.talk(`
		C1: a CREATE X
		S1: a OK ...
		C1: b SELECT X
		S1: ~b OK ...
		C2: c DELETE X
		S2: c OK ...
		C1: d NOOP
		S1: * BYE [NONEXISTENT] The selected mailbox was removed
		S1: EOF
	`)
}

func TestDeletingOnesOwnMailboxClosesIt(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: a CREATE X
		S: a OK ...
		C: b SELECT X
		S: ~b OK ...
		C: c DELETE X
		S: * OK [CLOSED] The selected mailbox was deleted.
		S: c OK ...
		C: d FETCH 1 FLAGS
		S: d BAD Command not allowed now: no mailbox is selected
		C: e RENAME INBOX Y
		S: e NO [CANNOT] ...
	`)
}

func TestRenamedMailboxStaysSelected(t *testing.T) {
	h := newHarness(t, nil)
	h.login("1", "2")
	h.talk(`
		C1: a CREATE X
		S1: a OK ...
		C1: b SELECT X
		S1: ~b OK ...
		C2: c RENAME X Y
		S2: c OK ...
		C1: d APPEND Y {3+}
		C1: abc
		S1: * 1 EXISTS
		S1: * ... RECENT
		S1: d OK ...
		C1: e FETCH 1 UID
		S1: * 1 FETCH (UID 1)
		S1: e OK ...
	`)
}

// News interrupts reads in the middle of TLS records; nothing of what the client
// sends meanwhile may be lost.
func TestIdleUnderTLS(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.login("2")
	server, client := tcpPair(t)
	h.srv.start(tls.Server(server, testTLS()))
	h.conns["1"] = &testConn{Conn: client}
	h.startTLS("1")
	h.talk(`
		S1: * OK ...
		C1: a LOGIN alice secret
		S1: a OK ...
		C1: b SELECT INBOX
		S1: ~b OK ...
	`)
	for i := range 50 {
		h.talk("C1: c IDLE\nS1: + idling")
		go h.conn("2").Write([]byte(fmt.Sprintf("d STORE 1 %cFLAGS.SILENT (\\Flagged)\r\n", "+-"[i%2])))
		h.talk("S1: * 1 FETCH (UID 1 FLAGS (...))")
		go h.conn("2").Write([]byte(fmt.Sprintf("d STORE 1 %cFLAGS.SILENT (\\Seen)\r\n", "+-"[i%2])))
		h.talk(`
			C1: DONE
			S1: ~c OK ...
			C1: e NOOP
			S1: ~e OK ...
			S2: ~d OK ...
			S2: ~d OK ...
		`)
	}
}

func TestExpungeOfMany(t *testing.T) {
	h := newHarness(t, nil)
	for range 50 {
		h.deliver("INBOX", mail("x"))
	}
	h.login("1", "2")
	h.talk(`
		C1: a STORE 1:10,20:30,50 +FLAGS.SILENT (\Deleted)
		S1: a OK ...
		C1: b UID EXPUNGE 5:25
		S1: * 25 EXPUNGE
		S1: * 24 EXPUNGE
		S1: * 23 EXPUNGE
		S1: * 22 EXPUNGE
		S1: * 21 EXPUNGE
		S1: * 20 EXPUNGE
		S1: * 10 EXPUNGE
		S1: * 9 EXPUNGE
		S1: * 8 EXPUNGE
		S1: * 7 EXPUNGE
		S1: * 6 EXPUNGE
		S1: * 5 EXPUNGE
		S1: b OK ...
		C1: c UID SEARCH DELETED
		S1: * SEARCH 1 2 3 4 26 27 28 29 30 50
		S1: c OK ...
		C1: d CLOSE
		S1: d OK ...
	`)
	// The other client's belief, moved only by what it is told, must end as the
	// truth.
	believed := make([]int, 50)
	for i := range believed {
		believed[i] = i + 1
	}
	h.talk("C2: e NOOP")
	for {
		line := h.conn("2").line(t)
		var n int
		if _, err := fmt.Sscanf(line, "* %d EXPUNGE", &n); err == nil {
			believed = append(believed[:n-1], believed[n:]...)
		}
		if strings.HasPrefix(line, "e OK") {
			break
		}
	}
	want := strings.Trim(fmt.Sprint(believed), "[]")
	h.talk("C2: f UID SEARCH ALL\nS2: * SEARCH " + want + "\nS2: f OK ...")
}

func TestSetsInAnEmptyMailbox(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: a FETCH 1:* FLAGS
		S: a OK ...
		C: a UID FETCH 1:* FLAGS
		S: a OK ...
		C: a FETCH 1 FLAGS
		S: a BAD Invalid message sequence number
		C: a UID FETCH 1 FLAGS
		S: a OK ...
		C: a SEARCH ALL
		S: * SEARCH
		S: a OK ...
		C: a STORE 1:* +FLAGS (\Seen)
		S: a OK ...
		C: a UID COPY 1:* INBOX
		S: a OK UID COPY completed.
	`)
}

func TestCopyAndMove(t *testing.T) {
	h := newHarness(t, nil)
	for _, s := range []string{"one", "two", "three"} {
		h.deliver("INBOX", mail(s))
	}
	h.login("")
	h.talk(`
		C: a COPY 1 Archive
		S: a NO [TRYCREATE] No such mailbox
		C: a CREATE Archive
		S: a OK ...
		C: a COPY 1,3 Archive
		S: a OK [COPYUID ... 1,3 1:2] COPY completed.
		C: a UID MOVE 2:3 Archive
		S: * OK [COPYUID ... 2:3 3:4] Moved UIDs.
		S: * 3 EXPUNGE
		S: * 2 EXPUNGE
		S: a OK ...
		C: a UID COPY 99 Archive
		S: a OK UID COPY completed.
		C: a COPY 5 Archive
		S: a BAD Invalid message sequence number
		C: a COPY 1 INBOX
		S: * 2 EXISTS
		S: * ... RECENT
		S: a OK [COPYUID ... 1 4] COPY completed.
		C: a SELECT Archive
		S: ~* 4 EXISTS
		S: ~a OK ...
		C: a FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]
		S: * 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)] {16}
		S: Subject: one
		S: 
		S: )
		S: ~a OK ...
	`)
}

func toUIDs(list ...maildir.UID) []maildir.UID { return list }
