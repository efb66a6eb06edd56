package imapd

import "testing"

func TestReplace(t *testing.T) {
	h := newHarness(t, nil)
	for range 3 {
		h.deliver("INBOX", mail("x"))
	}
	h.login("")
	h.talk(`
		C: a REPLACE 2 INBOX (\Draft) {3+}
		C: new
		S: * OK [APPENDUID ... 4] Replacement stored.
		S: * 2 EXPUNGE
		S: * 3 EXISTS
		S: * ... RECENT
		S: a OK REPLACE completed.
		C: b UID REPLACE 99 INBOX {3}
		S: b NO [NONEXISTENT] There must be one message to replace
		C: c UID REPLACE 1 nowhere {3}
		S: c NO [TRYCREATE] No such mailbox
		C: d REPLACE 9 INBOX {3}
		S: d BAD Invalid message sequence number
		C: e REPLACE 1 INBOX {0}
		S: e NO Message is empty
		C: f UID FETCH 1:* FLAGS
		S: * 1 FETCH (UID 1 FLAGS (...))
		S: * 2 FETCH (UID 3 FLAGS (...))
		S: * 3 FETCH (UID 4 FLAGS (\Draft...))
		S: f OK ...
		C: g EXAMINE INBOX
		S: ~g OK ...
		C: h REPLACE 1 INBOX {3}
		S: h NO [NOPERM] ...
	`)
}

func TestCatenate(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.AppendSize = 2000 })
	h.deliver("INBOX", multipart)
	h.login("")
	h.talk(`
		C: a SELECT INBOX
		S: ~* OK [UIDVALIDITY <<v>>] ...
		S: ~a OK ...
		C: b APPEND INBOX (\Draft) CATENATE (TEXT {12+}
		C: Subject: c\r\n URL "/INBOX;UIDVALIDITY=<<v>>/;UID=1/;SECTION=1.MIME" URL "/INBOX/;UID=1/;SECTION=1" TEXT {2}
		S: + OK
		C: !! URL ";UID=1/;SECTION=3.TEXT/;PARTIAL=6.4")
		S: ~b OK [APPENDUID <<v>> 2] APPEND completed.
		C: c FETCH 2 BODY.PEEK[]
		S: * 2 FETCH (BODY[] {51}
		S: Subject: c
		S: Content-Type: text/plain
		S: 
		S: first!!body)
		S: c OK ...
	`)
	for _, url := range []string{
		"/nowhere/;UID=1", "/INBOX;UIDVALIDITY=5/;UID=1", "/INBOX/;UID=99", "/INBOX/;UID=1/;SECTION=9", "/INBOX",
		"imap://other/INBOX/;UID=1", "/INBOX/;UID=0", "/INBOX/;UID=1/;SECTION=x", "/INBOX/;UID=1/;FOO=1", "/IN%ZZ/;UID=1", "",
		"/;UID=1",
	} {
		h.talk(`
			C: d APPEND INBOX CATENATE (URL "` + url + `" TEXT {17+}
			C: x1 CREATE pwned\r\n)
			S: d NO [BADURL "` + url + `"] No such part
		`)
	}
	h.talk(`
		C: e APPEND INBOX CATENATE (FOO bar)
		S: e BAD Expected TEXT or URL
		C: e APPEND INBOX CATENATE (TEXT {3+}
		C: abc
		S: e BAD ...
		C: e APPEND INBOX CATENATE ()
		S: e BAD ...
		C: e APPEND INBOX CATENATE (TEXT {0+}
		C: )
		S: e NO Message is empty
		C: f APPEND INBOX CATENATE (TEXT {3000})
		S: f BAD ...
		C: f APPEND INBOX CATENATE (TEXT {3000}
		S: f NO [TOOBIG] Message is too big
		C: g STATUS INBOX (MESSAGES)
		S: * STATUS INBOX (MESSAGES 2)
		S: g OK ...
	`)
}
