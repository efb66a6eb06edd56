package imapd

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestNotifySelected(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.login("1", "2")
	h.talk(`
		C1: a NOTIFY SET (SELECTED (MessageNew (RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge FlagChange))
		S1: a OK NOTIFY completed.
		C2: b STORE 1 +FLAGS.SILENT (\Seen)
		S2: b OK ...
		S1: * 1 FETCH (UID 1 FLAGS (\Seen...))
	`)
	h.deliver("INBOX", mail("two"))
	// Without any command: the message, and what was asked for of it.
	h.talk(`
		S1: * 2 EXISTS
		S1: * ... RECENT
		S1: * 2 FETCH (UID 2 RFC822.SIZE ... BODY[HEADER.FIELDS (SUBJECT)] {16}
		S1: Subject: two
		S1: 
		S1: )
		C2: c STORE 1 +FLAGS.SILENT (\Deleted)
		S2: ~c OK ...
		S1: * 1 FETCH (UID 1 FLAGS (\Deleted \Seen...))
		C2: d EXPUNGE
		S2: ~d OK ...
		S1: * 1 EXPUNGE
		C1: e FETCH 1 FLAGS
		S1: * 1 FETCH (FLAGS (...))
		S1: e OK ...
		C1: f NOTIFY NONE
		S1: f OK ...
	`)
	h.deliver("INBOX", mail("three"))
	// Now it is told as ever, by commands and by IDLE.
	h.talk(`
		C1: g NOOP
		S1: * 2 EXISTS
		S1: * ... RECENT
		S1: g OK ...
		C1: h IDLE
		S1: + idling
		C2: i STORE 1 +FLAGS.SILENT (\Flagged)
		S2: ~i OK ...
		S1: * 1 FETCH (UID 2 FLAGS (\Flagged...))
		C1: DONE
		S1: h OK ...
	`)
}

func TestNotifySelectedDelayed(t *testing.T) {
	h := newHarness(t, nil)
	for range 2 {
		h.deliver("INBOX", mail("x"))
	}
	h.login("1", "2")
	h.talk(`
		C1: a NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge))
		S1: a OK ...
		C2: b STORE 1 +FLAGS (\Deleted)
		S2: ~b OK ...
		C2: c EXPUNGE
		S2: * 1 EXPUNGE
		S2: c OK ...
	`)
	h.deliver("INBOX", mail("y"))
	// The arrival is told at once, the expunge with a command that may tell it.
	h.talk(`
		S1: * 3 EXISTS
		S1: * ... RECENT
		C1: d FETCH 2 UID
		S1: * 2 FETCH (UID 2)
		S1: ~d OK ...
		C1: e NOOP
		S1: * 1 EXPUNGE
		S1: e OK ...
	`)
}

func TestNotifyOfOtherMailboxes(t *testing.T) {
	h := newHarness(t, nil)
	h.login("1", "2")
	h.talk(`
		C2: a CREATE Lists
		S2: ~a OK ...
		C2: a CREATE Lists/go
		S2: ~a OK ...
		C1: b UNSELECT
		S1: b OK ...
		C1: c NOTIFY SET STATUS (mailboxes INBOX (MessageNew MessageExpunge)) (subtree Lists (MessageNew MessageExpunge FlagChange))
		S1: * STATUS INBOX (MESSAGES 0 UIDNEXT 1 UIDVALIDITY ...)
		S1: * STATUS Lists (MESSAGES 0 UIDNEXT 1 UIDVALIDITY ... UNSEEN 0)
		S1: * STATUS Lists/go (MESSAGES 0 UIDNEXT 1 UIDVALIDITY ... UNSEEN 0)
		S1: c OK ...
	`)
	h.deliver("Lists/go", mail("x"))
	h.talk(`
		S1: * STATUS Lists/go (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ... UNSEEN 1)
		C2: d SELECT Lists/go
		S2: ~d OK ...
		C2: e STORE 1 +FLAGS (\Seen \Deleted)
		S2: ~e OK ...
		S1: * STATUS Lists/go (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ... UNSEEN 0)
		C2: f EXPUNGE
		S2: ~f OK ...
		S1: * STATUS Lists/go (MESSAGES 0 UIDNEXT 2 UIDVALIDITY ... UNSEEN 0)
	`)
	h.deliver("INBOX", mail("x"))
	// Flags of INBOX were not asked for; with CONDSTORE there is the modseq.
	h.talk(`
		S1: * STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ...)
		C2: g SELECT INBOX
		S2: ~g OK ...
		C2: h STORE 1 +FLAGS (\Seen)
		S2: ~h OK ...
		C1: i ENABLE CONDSTORE
		S1: ~i OK ...
	`)
	h.deliver("INBOX", mail("x"))
	h.talk(`
		S1: * STATUS INBOX (MESSAGES 2 UIDNEXT 3 UIDVALIDITY ... HIGHESTMODSEQ ...)
		C1: j SELECT INBOX
		S1: ~j OK ...
	`)
	// Nothing was asked for of the selected mailbox: a command tells of it.
	h.deliver("INBOX", mail("x"))
	h.deliver("Lists", mail("x"))
	h.talk(`
		S1: * STATUS Lists (MESSAGES 1 ...
		C1: k NOOP
		S1: * 3 EXISTS
		S1: ~k OK ...
	`)
}

func TestNotifyOfFolders(t *testing.T) {
	h := newHarness(t, nil)
	h.login("1", "2")
	h.talk(`
		C1: a NOTIFY SET (PERSONAL (MailboxName SubscriptionChange MessageNew MessageExpunge MailboxMetadataChange ServerMetadataChange))
		S1: a OK ...
		C2: b CREATE Work
		S2: ~b OK ...
		S1: * LIST () "/" Work
	`)
	h.deliver("Work", mail("x"))
	h.talk(`
		S1: * STATUS Work (MESSAGES 1 ...
		C2: c RENAME Work "Old work"
		S2: c OK ...
		S1: * LIST () "/" "Old work" ("OLDNAME" (Work))
	`)
	h.deliver("Old work", mail("x"))
	h.talk(`
		S1: * STATUS "Old work" (MESSAGES 2 ...
		C2: d SUBSCRIBE "Old work"
		S2: d OK ...
		S1: * LIST (\Subscribed) "/" "Old work"
		C2: e UNSUBSCRIBE "Old work"
		S2: e OK ...
		S1: * LIST () "/" "Old work"
		C2: f SETMETADATA "Old work" (/private/comment "x")
		S2: f OK ...
		S1: * METADATA "Old work" /private/comment
		C2: g SETMETADATA "" (/private/comment "x" /shared/admin "y")
		S2: g OK ...
		S1: * METADATA "" /private/comment /shared/admin
		C2: h DELETE "Old work"
		S2: h OK ...
		S1: * LIST (\NonExistent) "/" "Old work"
		C1: i NOTIFY SET (INBOXES (MailboxName))
		S1: i OK ...
		C2: j CREATE Quiet
		S2: ~j OK ...
		C1: k NOOP
		S1: k OK ...
	`)
}

func TestNotifySubscribed(t *testing.T) {
	h := newHarness(t, nil)
	h.login("1", "2")
	h.talk(`
		C1: a CREATE A
		S1: ~a OK ...
		C1: a CREATE B
		S1: ~a OK ...
		C1: b SUBSCRIBE A
		S1: b OK ...
		C1: c NOTIFY SET STATUS (SUBSCRIBED (MessageNew MessageExpunge)) (PERSONAL NONE)
		S1: * STATUS A (MESSAGES 0 ...
		S1: c OK ...
		C2: d SUBSCRIBE B
		S2: d OK ...
		C1: e NOOP
		S1: e OK ...
	`)
	h.deliver("B", mail("x"))
	h.talk(`
		S1: * STATUS B (MESSAGES 1 ...
		C2: f UNSUBSCRIBE A
		S2: f OK ...
		C1: g NOOP
		S1: g OK ...
	`)
	h.deliver("A", mail("x"))
	h.deliver("B", mail("x"))
	h.talk(`
		S1: * STATUS B (MESSAGES 2 ...
	`)
}

func TestNotifyIsBounded(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.NotifyMailboxes = 2 })
	h.login("1", "2")
	h.talk(`
		C1: a CREATE A
		S1: ~a OK ...
		C1: b NOTIFY SET (PERSONAL (MessageNew MessageExpunge))
		S1: b OK ...
		C2: c CREATE B
		S2: ~c OK ...
		S1: * OK [NOTIFICATIONOVERFLOW] ...
		C1: d NOTIFY SET (PERSONAL (MessageNew MessageExpunge))
		S1: d NO [NOTIFICATIONOVERFLOW] ...
		C1: e NOTIFY SET (PERSONAL (MailboxName))
		S1: e OK ...
		C2: f CREATE C
		S2: ~f OK ...
		S1: * LIST () "/" C
	`)
}

func TestNotifyRefusals(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	for _, c := range []struct{ args, want string }{
		{"FOO", "BAD ..."}, {"SET", "BAD ..."}, {"SET STATUS", "BAD ..."}, {"SET ()", "BAD ..."}, {"SET (FOO NONE)", "BAD Unknown mailbox filter FOO"},
		{"SET (INBOXES)", "BAD ..."}, {"SET (INBOXES ())", "BAD ..."}, {"SET (INBOXES NONE) ", "BAD ..."}, {"SET (SUBTREE NONE)", "BAD ..."},
		{"SET (INBOXES (MessageNew))", "BAD MessageNew and MessageExpunge go together"},
		{"SET (INBOXES (FlagChange))", "BAD FlagChange needs MessageNew and MessageExpunge"},
		{"SET (INBOXES (MessageNew (UID) MessageExpunge))", "BAD Data items are for SELECTED only"},
		{"SET (SELECTED (MailboxName))", "BAD SELECTED has events of messages only"},
		{"SET (SELECTED NONE) (SELECTED-DELAYED NONE)", "BAD SELECTED may be there once"},
		{"SET (SELECTED (MessageNew (FOO) MessageExpunge))", "BAD Unknown data item FOO"},
		{"SET (INBOXES (MessageNew MessageExpunge AnnotationChange))", "NO [BADEVENT (MessageNew ...)] Unknown event ANNOTATIONCHANGE"},
		{"SET (INBOXES " + strings.Repeat("(", 300), "BAD ..."},
		{"SET (SELECTED NONE) (MAILBOXES (INBOX none \"a&b\") NONE)", "OK ..."},
		{"NONE", "OK ..."},
	} {
		h.talk("C: a NOTIFY " + c.args + "\nS: a " + c.want)
	}
}

// A mailbox that somebody removes behind our back is not followed any more, and
// nothing else suffers.
func TestNotifySurvivesRemovedMailboxes(t *testing.T) {
	h := newHarness(t, nil)
	h.login("1", "2")
	h.talk(`
		C1: a CREATE Gone
		S1: ~a OK ...
		C1: b NOTIFY SET (PERSONAL (MessageNew MessageExpunge))
		S1: b OK ...
	`)
	if err := os.RemoveAll(h.auth.dir + "/alice/Maildir/.Gone"); err != nil {
		t.Fatal(err)
	}
	h.talk(`
		C2: c SELECT Gone
		S2: ~c NO [NONEXISTENT] ...
		C1: d NOOP
		S1: d OK ...
		C1: e UNSELECT
		S1: e OK ...
	`)
	h.deliver("INBOX", mail("x"))
	h.talk(`
		S1: * STATUS INBOX (MESSAGES 1 ...
		C1: f UNAUTHENTICATE
		S1: f OK ...
	`)
	h.deliver("INBOX", mail("x"))
	h.talk(`
		C1: g NOOP
		S1: g OK ...
	`)
}

// News neither comes in the middle of a command nor gives a client that has
// stopped there more time.
func TestNotifyWaitsForTheEndOfACommand(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.Stall = 300 * time.Millisecond })
	h.login("1")
	h.talk(`
		C1: a NOTIFY SET (SELECTED (MessageNew MessageExpunge)) (PERSONAL (MailboxName))
		S1: a OK ...
		C1: b APPEND INBOX {10}
		S1: + OK
	`)
	h.deliver("INBOX", mail("x"))
	if err := h.store().Create(t.Context(), "Work"); err != nil {
		t.Fatal(err)
	}
	h.talk(`
		S1: * BYE Disconnected for inactivity
		S1: EOF
	`)
	h.login("2")
	h.talk(`
		C2: a NOTIFY SET (SELECTED (MessageNew MessageExpunge))
		S2: a OK ...
		C2: b APPEND INBOX {6}
		S2: + OK
	`)
	h.deliver("INBOX", mail("x"))
	h.talk(`
		C2: A: b\r\n
		S2: * 3 EXISTS
		S2: * ... RECENT
		S2: b OK ...
	`)
}
