package imapd

import "testing"

func TestMailboxCommands(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: a LIST "" ""
		S: * LIST (\Noselect) "/" ""
		S: a OK ...
		C: a NAMESPACE
		S: * NAMESPACE (("" "/")) NIL NIL
		S: a OK ...
		C: a CREATE Work/
		S: a OK ...
		C: a CREATE Work
		S: a NO [ALREADYEXISTS] Mailbox already exists
		C: a CREATE inbox
		S: a NO [ALREADYEXISTS] ...
		C: a CREATE Old/Deep/Er
		S: a OK ...
		C: a CREATE Sent
		S: a OK ...
		C: a CREATE F&APw-r
		S: a OK ...
		C: a CREATE "bad&name"
		S: a NO [CANNOT] Mailbox name is not valid
		C: a LIST "" *
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\HasNoChildren) "/" F&APw-r
		S: * LIST (\NonExistent \Noselect \HasChildren) "/" Old
		S: * LIST (\NonExistent \Noselect \HasChildren) "/" Old/Deep
		S: * LIST (\HasNoChildren) "/" Old/Deep/Er
		S: * LIST (\HasNoChildren \Sent) "/" Sent
		S: * LIST (\HasNoChildren) "/" Work
		S: a OK LIST completed.
		C: a LIST "" %
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * LIST (\HasNoChildren) "/" F&APw-r
		S: * LIST (\NonExistent \Noselect \HasChildren) "/" Old
		S: * LIST (\HasNoChildren \Sent) "/" Sent
		S: * LIST (\HasNoChildren) "/" Work
		S: a OK ...
		C: a LIST Old/ %
		S: * LIST (\NonExistent \Noselect \HasChildren) "/" Old/Deep
		S: a OK ...
		C: a LIST "" Old/%/Er
		S: * LIST (\HasNoChildren) "/" Old/Deep/Er
		S: a OK ...
		C: a LIST "" iNbOx
		S: * LIST (\HasNoChildren) "/" INBOX
		S: a OK ...
		C: a RENAME Old/Deep/Er New
		S: a OK ...
		C: a RENAME New Work
		S: a NO [ALREADYEXISTS] ...
		C: a RENAME nothing Else
		S: a NO [NONEXISTENT] No such mailbox
		C: a DELETE New
		S: a OK ...
		C: a DELETE New
		S: a NO [NONEXISTENT] ...
		C: a DELETE INBOX
		S: a NO [CANNOT] INBOX cannot be deleted or renamed
		C: a SELECT New
		S: * OK [CLOSED] Previous mailbox closed.
		S: a NO [NONEXISTENT] ...
		C: a FETCH 1 FLAGS
		S: a BAD Command not allowed now: no mailbox is selected
	`)
}

func TestSubscriptions(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: a CREATE A/B
		C: a CREATE C
		C: a SUBSCRIBE A/B
		C: a SUBSCRIBE Gone/Away
		C: a SUBSCRIBE inbox
		C: a LSUB "" *
		S: a OK ...
		S: a OK ...
		S: a OK SUBSCRIBE completed.
		S: a OK SUBSCRIBE completed.
		S: a OK SUBSCRIBE completed.
		S: * LSUB () "/" A/B
		S: * LSUB () "/" Gone/Away
		S: * LSUB () "/" INBOX
		S: a OK ...
		C: b LSUB "" %
		S: * LSUB (\Noselect) "/" A
		S: * LSUB (\Noselect) "/" Gone
		S: * LSUB () "/" INBOX
		S: b OK ...
		C: c LIST (SUBSCRIBED) "" *
		S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
		S: * LIST (\HasNoChildren \Subscribed) "/" A/B
		S: * LIST (\NonExistent \Noselect \HasNoChildren \Subscribed) "/" Gone/Away
		S: c OK ...
		C: d LIST (SUBSCRIBED RECURSIVEMATCH) "" %
		S: * LIST (\HasNoChildren \Subscribed) "/" INBOX
		S: * LIST (\NonExistent \Noselect \HasChildren) "/" A ("CHILDINFO" ("SUBSCRIBED"))
		S: * LIST (\NonExistent \Noselect \HasChildren) "/" Gone ("CHILDINFO" ("SUBSCRIBED"))
		S: d OK ...
		C: e LIST "" (A% C) RETURN (SUBSCRIBED CHILDREN)
		S: * LIST (\NonExistent \Noselect \HasChildren) "/" A
		S: * LIST (\HasNoChildren) "/" C
		S: e OK ...
		C: f UNSUBSCRIBE A/B
		C: f UNSUBSCRIBE A/B
		C: f LSUB "" A*
		S: f OK UNSUBSCRIBE completed.
		S: f OK UNSUBSCRIBE completed.
		S: f OK LSUB completed.
		C: g LIST (RECURSIVEMATCH) "" %
		S: g BAD RECURSIVEMATCH needs another selection option
		C: h LIST (FOO) "" %
		S: h BAD Unknown selection option FOO
		C: i LIST "" % RETURN (FOO)
		S: i BAD Unknown return option FOO
	`)
}

func TestListReturnsStatusAndSpecialUse(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.deliver("INBOX", mail("one"))
	h.talk(`
		C: a CREATE Drafts/x
		S: ~a OK ...
		C: a CREATE Trash
		S: a OK ...
		C: a LIST "" % RETURN (STATUS (MESSAGES UNSEEN))
		S: * LIST (\HasNoChildren) "/" INBOX
		S: * STATUS INBOX (MESSAGES 1 UNSEEN 1)
		S: * LIST (\NonExistent \Noselect \HasChildren) "/" Drafts
		S: * LIST (\HasNoChildren \Trash) "/" Trash
		S: * STATUS Trash (MESSAGES 0 UNSEEN 0)
		S: ~a OK ...
		C: a LIST (SPECIAL-USE) "" *
		S: * LIST (\HasNoChildren \Trash) "/" Trash
		S: a OK ...
		C: a CREATE Y (FOO)
		S: a BAD Unknown parameter of CREATE
	`)
}

func TestStatus(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.deliver("INBOX", mail("two"))
	h.login("")
	h.talk(`
		C: a STORE 1 +FLAGS.SILENT (\Seen \Deleted)
		S: a OK ...
		C: a STATUS INBOX (MESSAGES UIDNEXT UNSEEN DELETED APPENDLIMIT)
		S: * STATUS INBOX (MESSAGES 2 UIDNEXT 3 UNSEEN 1 DELETED 1 APPENDLIMIT 52428800)
		S: a OK ...
		C: a STATUS INBOX (MAILBOXID)
		S: * STATUS INBOX (MAILBOXID (...))
		S: a OK ...
		C: a STATUS nothing (MESSAGES)
		S: a NO [NONEXISTENT] ...
		C: a STATUS INBOX (FOO)
		S: a BAD Unknown status item FOO
		C: a STATUS INBOX ()
		S: a BAD ...
	`)
}

func TestSelectDescribesTheMailbox(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.deliver("INBOX", mail("two"))
	h.login("2")
	h.talk(`
		C2: a STORE 1 FLAGS (\Seen $Junk)
		S2: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Junk)
		S2: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Junk \*)] Flags permitted.
		S2: * 1 FETCH (FLAGS (\Seen $Junk...))
		S2: a OK ...
		C: a LOGIN alice secret
		S: ~a OK ...
		C: b SELECT INBOX
		S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Junk)
		S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Junk \*)] Flags permitted.
		S: * 2 EXISTS
		S: * ... RECENT
		S: * OK [UNSEEN 2] First unseen.
		S: * OK [UIDVALIDITY ...] UIDs valid
		S: * OK [UIDNEXT 3] Predicted next UID
		S: * OK [HIGHESTMODSEQ ...] Highest
		S: * OK [MAILBOXID (<<id>>)] Ok
		S: b OK [READ-WRITE] SELECT completed.
		C: c ENABLE IMAP4rev2
		S: * ENABLED IMAP4REV2
		S: c OK ...
		C: d SELECT INBOX
		S: * OK [CLOSED] Previous mailbox closed.
		S: * FLAGS ...
		S: * OK [PERMANENTFLAGS ...
		S: * 2 EXISTS
		S: * OK [UIDVALIDITY ...
		S: * OK [UIDNEXT 3] ...
		S: * OK [HIGHESTMODSEQ ...
		S: * OK [MAILBOXID (<<id>>)] Ok
		S: * LIST () "/" INBOX
		S: d OK [READ-WRITE] ...
		C: e CLOSE
		S: e OK ...
		C: e CHECK
		S: e BAD ...
	`)
}

func TestExamineChangesNothing(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.login("2")
	h.talk(`
		C2: a STORE 1 FLAGS.SILENT (\Deleted)
		S2: a OK ...
		C: a LOGIN alice secret
		C: b EXAMINE INBOX
		S: ~* OK [PERMANENTFLAGS ()] Read-only mailbox.
		S: ~b OK [READ-ONLY] EXAMINE completed.
		C: c FETCH 1 BODY[TEXT]
		S: * 1 FETCH (BODY[TEXT] {12}
		S: Hello one.
		S: )
		S: c OK ...
		C: d STORE 1 +FLAGS (\Seen)
		S: d NO [NOPERM] Mailbox is read-only
		C: e EXPUNGE
		S: e NO [NOPERM] ...
		C: f UID EXPUNGE 1
		S: f NO [NOPERM] ...
		C: g CREATE X
		S: g OK ...
		C: h MOVE 1 X
		S: h NO [NOPERM] ...
		C: i COPY 1 X
		S: i OK [COPYUID ...
		C: j CLOSE
		S: j OK ...
		C2: b FETCH 1 FLAGS
		S2: * 1 FETCH (FLAGS (\Deleted...))
		S2: b OK ...
	`)
}

func TestIDAndEnable(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Version = "1.0" })
	h.talk(`
		S: * OK ...
		C: a ID NIL
		S: * ID ("name" "mailsrvd")
		S: a OK ID completed.
		C: a LOGIN alice secret
		S: a OK ...
		C: a ID ("name" "x" "version" NIL)
		S: * ID ("name" "mailsrvd" "version" "1.0")
		S: a OK ...
		C: a ID (name x)
		S: a BAD ...
		C: a ENABLE FOO utf8=accept
		S: * ENABLED UTF8=ACCEPT
		S: a OK ...
		C: a ENABLE UTF8=ACCEPT
		S: * ENABLED
		S: a OK ...
		C: a CREATE "Füß"
		S: a OK ...
		C: a LIST "" F*
		S: * LIST (\HasNoChildren) "/" "Füß"
		S: a OK ...
	`)
}

func TestGlobMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b", true}, {"%", "a/b", false}, {"%", "a", true}, {"", "", true}, {"", "a", false},
		{"a", "a", true}, {"a", "ab", false}, {"a%", "a", true}, {"a%", "abc", true}, {"a%", "a/c", false},
		{"%/%", "a/b", true}, {"%/%", "a/b/c", false}, {"*/c", "a/b/c", true}, {"%/c", "a/b/c", false},
		{"*b*", "abc", true}, {"*%", "a/b", true}, {"%*", "a/b", true}, {"a*b%c", "axx/xbyc", true},
		{"a*b%c", "axx/xby/c", false}, {"ü%", "über", true},
	} {
		if got := globMatch(c.pattern, c.name, '/'); got != c.want {
			t.Errorf("globMatch(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func TestCloseAndUnselect(t *testing.T) {
	h := newHarness(t, nil)
	for range 3 {
		h.deliver("INBOX", mail("x"))
	}
	h.login("")
	h.talk(`
		C: a STORE 1:2 +FLAGS.SILENT (\Deleted)
		S: a OK ...
		C: b CHECK
		S: b OK CHECK completed.
		C: c UNSELECT
		S: c OK UNSELECT completed.
		C: d NOOP
		S: d OK ...
		C: e FETCH 1 UID
		S: e BAD Command not allowed now: no mailbox is selected
		C: f EXAMINE INBOX
		S: ~f OK [READ-ONLY] ...
		C: g CLOSE
		S: g OK CLOSE completed.
		C: h STATUS INBOX (MESSAGES DELETED)
		S: * STATUS INBOX (MESSAGES 3 DELETED 2)
		S: h OK ...
		C: i SELECT INBOX
		S: ~i OK [READ-WRITE] ...
		C: j CLOSE
		S: j OK CLOSE completed.
		C: k STATUS INBOX (MESSAGES DELETED)
		S: * STATUS INBOX (MESSAGES 1 DELETED 0)
		S: k OK ...
		C: l CLOSE
		S: l BAD ...
	`)
}
