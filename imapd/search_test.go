package imapd

import "testing"

func TestSearch(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("apple"))
	h.deliver("INBOX", "From: Zoë <zoe@example.org>\nTo: alice@example.org\nCc: carl@example.org\nDate: Tue, 1 Mar 2011 00:30:00 +0900\n"+
		"Subject: =?utf-8?Q?=C3=84pfel_und_Birnen?=\nX-Flag: \nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe, and a long text that makes this one larger than the others are.\n")
	h.deliver("INBOX", multipart)
	h.login("")
	h.talk(`
		C: a STORE 1 +FLAGS.SILENT (\Seen \Answered $Label)
		C: a STORE 2 +FLAGS.SILENT (\Flagged \Draft \Deleted)
		S: ~a OK ...
		S: ~a OK ...
	`)
	for _, c := range []struct{ keys, want string }{
		{"ALL", " 1 2 3"},
		{"SEEN", " 1"}, {"UNSEEN", " 2 3"}, {"ANSWERED", " 1"}, {"UNANSWERED", " 2 3"},
		{"FLAGGED", " 2"}, {"UNFLAGGED", " 1 3"}, {"DRAFT", " 2"}, {"UNDRAFT", " 1 3"},
		{"DELETED", " 2"}, {"UNDELETED", " 1 3"}, {"KEYWORD $label", " 1"}, {"UNKEYWORD $Label", " 2 3"},
		{"KEYWORD none", ""}, {"UNKEYWORD none", " 1 2 3"},
		{"1:2", " 1 2"}, {"*", " 3"}, {"2:99", " 2 3"}, {"UID 2:*", " 2 3"}, {"UID 50", ""}, {"UID 50:*", " 3"},
		{"NOT 1", " 2 3"}, {"OR 1 3", " 1 3"}, {"OR (1 2) (3 UNSEEN)", " 3"}, {"(1:2) UNSEEN", " 2"}, {"not not 2", " 2"},
		{"LARGER 150 SMALLER 100000", " 2 3"}, {"SMALLER 150", " 1"}, {"LARGER 9223372036854775807", ""},
		{"SINCE 1-Jan-2020", " 1 2 3"}, {"BEFORE 1-Jan-2020", ""}, {"ON 1-Jan-2020", ""},
		{"SENTON 7-Feb-1994", " 1 3"}, {"SENTBEFORE 8-Feb-1994", " 1 3"}, {"SENTSINCE 1-Mar-2011", " 2"}, {"SENTON 1-Mar-2011", " 2"},
		{"OLDER 1000", ""}, {"YOUNGER 1000", " 1 2 3"}, {"SAVEDSINCE 1-Jan-2020", " 1 2 3"},
		{"FROM joe", " 1 3"}, {`FROM "zoë"`, " 2"}, {"TO ALICE@", " 1 2 3"}, {"CC carl", " 2"}, {"BCC x", ""},
		{"SUBJECT APPLE", " 1"}, {`CHARSET UTF-8 SUBJECT "ÄPFEL und"`, " 2"}, {`CHARSET iso-8859-1 SUBJECT {1+}\r\n\xe4`, " 2"},
		{`SUBJECT {5+}\r\napple`, " 1"}, {`HEADER X-Flag ""`, " 2"}, {"HEADER Subject parts", " 3"}, {`HEADER x-none ""`, ""},
		{`BODY "hello apple"`, " 1"}, {`BODY "joe"`, ""}, {`TEXT "joe"`, " 1 3"}, {`CHARSET UTF-8 BODY "GRÜSSE"`, ""},
		{`BODY "grüße"`, " 2"}, {`BODY "inner body"`, " 3"}, {`TEXT "x-unknown"`, " 3"},
		{`FROM joe BODY hello SEEN`, " 1"},
	} {
		h.talk("C: s SEARCH " + c.keys + "\nS: * SEARCH" + c.want + "\nS: s OK ...")
	}
	h.talk(`
		C: b SEARCH CHARSET x-klingon TEXT {3+}
		C: abc
		S: b NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset
		C: b SEARCH FOO
		S: b BAD Unknown search key FOO
		C: b SEARCH
		S: b BAD ...
		C: b SEARCH ON 31-Foo-2020
		S: b BAD ...
		C: b SEARCH ()
		S: b BAD ...
		C: b SEARCH NOT
		S: b BAD ...
	`)
}

func TestExtendedSearch(t *testing.T) {
	h := newHarness(t, nil)
	for range 5 {
		h.deliver("INBOX", mail("x"))
	}
	h.login("")
	h.talk(`
		C: a STORE 2,4 +FLAGS.SILENT (\Flagged)
		S: a OK ...
		C: b SEARCH RETURN () FLAGGED
		S: * ESEARCH (TAG "b") ALL 2,4
		S: b OK ...
		C: c UID SEARCH RETURN (MIN MAX COUNT ALL) 2:5
		S: * ESEARCH (TAG "c") UID MIN 2 MAX 5 ALL 2:5 COUNT 4
		S: c OK ...
		C: d SEARCH RETURN (MIN COUNT) SEEN
		S: * ESEARCH (TAG "d") COUNT 0
		S: d OK ...
		C: e SEARCH RETURN (SAVE) FLAGGED
		S: e OK ...
		C: f FETCH $ UID
		S: * 2 FETCH (UID 2)
		S: * 4 FETCH (UID 4)
		S: f OK ...
		C: g UID SEARCH RETURN (ALL) NOT UID $ 1:4
		S: * ESEARCH (TAG "g") UID ALL 1,3
		S: g OK ...
		C: h SEARCH RETURN (SAVE MIN) ALL
		S: * ESEARCH (TAG "h") MIN 1
		S: h OK ...
		C: i STORE $ +FLAGS.SILENT (\Deleted)
		S: i OK ...
		C: j EXPUNGE
		S: * 1 EXPUNGE
		S: j OK ...
		C: k UID FETCH $ UID
		S: k OK ...
		C: l SEARCH RETURN (SAVE) FLAGGED
		S: l OK ...
		C: m SEARCH RETURN (SAVE) CHARSET foo ALL
		S: m NO [BADCHARSET ...
		C: n SEARCH RETURN (FOO) ALL
		S: n BAD Unknown return option FOO
		C: o ENABLE IMAP4rev2
		S: ~o OK ...
		C: p SEARCH FLAGGED
		S: * ESEARCH (TAG "p") ALL 1,3
		S: p OK ...
	`)
}
