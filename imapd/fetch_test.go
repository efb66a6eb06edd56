package imapd

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"
)

const multipart = `From: Joe <joe@example.org>
To: alice@example.org
Subject: parts
Date: Mon, 7 Feb 1994 21:52:25 -0800
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

preamble
--b
Content-Type: text/plain

first
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAEC/w==
--b
Content-Type: message/rfc822

Subject: inner

inner body
--b
Content-Type: text/plain
Content-Transfer-Encoding: x-unknown

odd
--b--
`

func TestFetchItems(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.deliver("INBOX", multipart)
	h.login("")
	h.talk(`
		C: a FETCH 1 (UID FLAGS RFC822.SIZE INTERNALDATE)
		S: * 1 FETCH (UID 1 FLAGS (...) RFC822.SIZE 118 INTERNALDATE "...-...-20... ... ...")
		S: a OK ...
		C: a FETCH 1 ENVELOPE
		S: * 1 FETCH (ENVELOPE ("Mon, 7 Feb 1994 21:52:25 -0800" "one" (("Joe" NIL "joe" "example.org")) (("Joe" NIL "joe" "example.org")) (("Joe" NIL "joe" "example.org")) ((NIL NIL "alice" "example.org")) NIL NIL NIL NIL))
		S: a OK ...
		C: a FETCH 1 FULL
		S: * 1 FETCH (FLAGS (...) INTERNALDATE "..." RFC822.SIZE 118 ENVELOPE (...) BODY ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 12 1))
		S: a OK ...
		C: a FETCH 1 (FULL)
		S: a BAD Unknown data item FULL
		C: a FETCH 1 (FLAGS FLAGS UID uid)
		S: * 1 FETCH (FLAGS (...) UID 1)
		S: a OK ...
		C: a FETCH 1 RFC822.HEADER
		S: * 1 FETCH (RFC822.HEADER {106}
		S: From: Joe <joe@example.org>
		S: To: alice@example.org
		S: Date: Mon, 7 Feb 1994 21:52:25 -0800
		S: Subject: one
		S: 
		S: )
		S: a OK ...
		C: a FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (from "TO" Date)]
		S: * 1 FETCH (BODY[HEADER.FIELDS.NOT (from TO Date)] {16}
		S: Subject: one
		S: 
		S: )
		S: a OK ...
		C: a FETCH 1 BODY.PEEK[HEADER.FIELDS (Nothing)]
		S: * 1 FETCH (BODY[HEADER.FIELDS (Nothing)] {2}
		S: 
		S: )
		S: a OK ...
		C: a UID FETCH 2 BODY.PEEK[1]
		S: * 2 FETCH (UID 2 BODY[1] {5}
		S: first)
		S: a OK ...
		C: a FETCH 2 (BODY.PEEK[1.MIME] BODY.PEEK[3.HEADER] BODY.PEEK[3.TEXT] BODY.PEEK[3.1])
		S: * 2 FETCH (BODY[1.MIME] {28}
		S: Content-Type: text/plain
		S: 
		S:  BODY[3.HEADER] {18}
		S: Subject: inner
		S: 
		S:  BODY[3.TEXT] {10}
		S: inner body BODY[3.1] {10}
		S: inner body)
		S: a OK ...
		C: a FETCH 2 (BODY.PEEK[9] BODY.PEEK[1.HEADER] BODY.PEEK[1.1.1])
		S: * 2 FETCH (BODY[9] NIL BODY[1.HEADER] NIL BODY[1.1.1] NIL)
		S: a OK ...
		C: a FETCH 2 (BINARY.PEEK[1] BINARY.SIZE[2] BINARY.PEEK[2]<1.2>)
		S: * 2 FETCH (BINARY[1] {5}
		S: first BINARY.SIZE[2] 4 BINARY[2]<1> ~{2}
		S: \x01\x02)
		S: a OK ...
		C: a FETCH 2 BINARY.PEEK[4]
		S: * 2 FETCH (BINARY[4] NIL)
		S: a NO [UNKNOWN-CTE] Unknown content transfer encoding
		C: a FETCH 2 BODYSTRUCTURE
		S: * 2 FETCH (BODYSTRUCTURE (("text" "plain" ...) "mixed" ("boundary" "b") NIL NIL NIL))
		S: a OK ...
		C: a FETCH 1 FOO
		S: a BAD Unknown data item FOO
		C: a FETCH 3 FLAGS
		S: a BAD Invalid message sequence number
	`)
}

func TestFetchPartials(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", "Subject: x\n\n0123\n5678\n")
	h.login("")
	for _, c := range []struct{ section, want string }{
		{"BODY.PEEK[TEXT]<0.4>", `BODY[TEXT]<0> {4}\r\n0123`},
		{"BODY.PEEK[TEXT]<3.3>", `BODY[TEXT]<3> {3}\r\n3\r\n`},
		{"BODY.PEEK[TEXT]<5.100>", `BODY[TEXT]<5> {7}\r\n\n5678\r\n`},
		{"BODY.PEEK[TEXT]<12.1>", `BODY[TEXT]<12> {0}\r\n`},
		{"BODY.PEEK[]<9223372036854775807.1>", `BODY[]<9223372036854775807> {0}\r\n`},
		{"BODY.PEEK[]<1.9223372036854775807>", `BODY[]<1> {25}\r\nubject: x\r\n\r\n0123\r\n5678\r\n`},
		{"BODY.PEEK[HEADER.FIELDS (SUBJECT)]<9.2>", `BODY[HEADER.FIELDS (SUBJECT)]<9> {2}\r\nx\r`},
		{"BODY.PEEK[HEADER.FIELDS (SUBJECT)]<99.2>", `BODY[HEADER.FIELDS (SUBJECT)]<99> {0}\r\n`},
		{"BINARY.PEEK[1]<3.9223372036854775807>", `BINARY[1]<3> {9}\r\n3\r\n5678\r\n`},
	} {
		want := "* 1 FETCH (" + unescape(c.want) + ")\r\na OK FETCH completed.\r\n"
		c1 := h.conn("")
		if _, err := fmt.Fprintf(c1, "a FETCH 1 %s\r\n", c.section); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c1.r, got); err != nil || string(got) != want {
			t.Errorf("%s:\n got %q\nwant %q", c.section, got, want)
			return
		}
	}
}

func TestFetchSetsSeen(t *testing.T) {
	h := newHarness(t, nil)
	for range 3 {
		h.deliver("INBOX", mail("x"))
	}
	h.login("")
	h.talk(`
		C: a FETCH 1 BODY.PEEK[TEXT]
		S: ~a OK ...
		C: a FETCH 1 FLAGS
		S: * 1 FETCH (FLAGS (...))
		S: a OK ...
		C: a SEARCH UNSEEN
		S: * SEARCH 1 2 3
		S: a OK ...
		C: a FETCH 1 BODY[TEXT]
		S: * 1 FETCH (BODY[TEXT] {10}
		S: Hello x.
		S:  FLAGS (\Seen...))
		S: a OK ...
		C: a FETCH 1 BODY[TEXT]
		S: * 1 FETCH (BODY[TEXT] {10}
		S: Hello x.
		S: )
		S: a OK ...
		C: a FETCH 2 (FLAGS RFC822.TEXT)
		S: * 2 FETCH (FLAGS (\Seen...) RFC822.TEXT {10}
		S: Hello x.
		S: )
		S: a OK ...
		C: a FETCH 3 BINARY[1]
		S: * 3 FETCH (BINARY[1] {10}
		S: Hello x.
		S:  FLAGS (\Seen...))
		S: a OK ...
	`)
}

func TestAppend(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: a APPEND INBOX (\Seen $Forwarded) " 7-Feb-1994 21:52:25 -0800" {24}
		S: + OK
		C: Subject: x\r\n\r\nHello.\r\n\0y
		S: ~* 1 EXISTS
		S: ~a OK [APPENDUID ... 1] APPEND completed.
		C: b FETCH 1 (FLAGS INTERNALDATE BODY[])
		S: ~* 1 FETCH (FLAGS (\Seen $Forwarded...) INTERNALDATE "...-Feb-1994 ...:52:25 ..." BODY[] {24}
		S: Subject: x
		S: 
		S: Hello.
		S: ...y)
		S: b OK ...
		C: c APPEND nowhere {26}
		S: c NO [TRYCREATE] No such mailbox
		C: c APPEND "a&b" {26}
		S: c NO [TRYCREATE] ...
		C: d APPEND INBOX (\Recent) {3+}
		C: a\r\n
		S: ~d OK [APPENDUID ... 2] ...
		C: e APPEND INBOX "bad date" {3+}
		C: a\r\n
		S: e BAD Bad date-time, expected the form " 1-Feb-1994 21:52:25 -0800"
		C: f APPEND INBOX ~{3+}
		C: a\0b
		S: ~f OK ...
		C: g APPEND INBOX {3+}
		C: abc trailing
		S: g BAD Expected a literal, found 't'
		C: g APPEND INBOX {3+}
		C: abc)
		S: g BAD Unexpected ')'
		C: h STATUS INBOX (MESSAGES)
		S: * STATUS INBOX (MESSAGES 3)
		S: h OK ...
	`)
}

func TestAppendUTF8(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: a APPEND INBOX UTF8 (~{3+}
		C: abc)
		S: a BAD ...
		C: a ENABLE UTF8=ACCEPT
		S: ~a OK ...
		C: a APPEND INBOX UTF8 (~{3+}
		C: abc)
		S: ~a OK [APPENDUID ...
	`)
}

func TestLargeMessageComesBackAsItWent(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	text := "Subject: big\r\n\r\n" + strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 100_000)
	c := h.conn("")
	fmt.Fprintf(c, "a APPEND INBOX {%d+}\r\n%s\r\n", len(text), text)
	h.talk(`
		S: ~a OK [APPENDUID ...
		C: b FETCH 1 BODY.PEEK[]
		S: * 1 FETCH (BODY[] {` + fmt.Sprint(len(text)) + `}
	`)
	sum := sha256.New()
	if _, err := io.CopyN(sum, c.r, int64(len(text))); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256([]byte(text)); string(sum.Sum(nil)) != string(want[:]) {
		t.Error("the message was changed")
	}
	h.talk("S: )\nS: b OK ...")
}

func TestStore(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.deliver("INBOX", mail("two"))
	h.login("")
	h.talk(`
		C: a STORE 1 FLAGS (\Seen \flagged)
		S: * 1 FETCH (FLAGS (\Flagged \Seen...))
		S: a OK ...
		C: a STORE 1:2 +FLAGS \Answered \Draft
		S: * 1 FETCH (FLAGS (\Answered \Flagged \Seen \Draft...))
		S: * 2 FETCH (FLAGS (\Answered \Draft...))
		S: a OK ...
		C: a UID STORE 1 -FLAGS (\Answered \Draft \Seen)
		S: * 1 FETCH (UID 1 FLAGS (\Flagged...))
		S: a OK UID STORE completed.
		C: a STORE 1 +FLAGS ()
		S: * 1 FETCH (FLAGS (\Flagged...))
		S: a OK ...
		C: a STORE 1 +FLAGS.SILENT (\Seen)
		S: a OK ...
		C: a STORE 1 -FLAGS (NeverUsed)
		S: * 1 FETCH (FLAGS (\Flagged \Seen...))
		S: a OK ...
		C: a STORE 1 +LABELS (x)
		S: a BAD Expected FLAGS
		C: a UID STORE 99 +FLAGS (\Seen)
		S: a OK ...
		C: a STORE 1 +FLAGS (` + strings.Repeat("k", 101) + `)
		S: a NO [LIMIT] Keyword too long
	`)
}

func TestMultiAppend(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: a APPEND INBOX {3+}
		C: one (\Seen) {3+}
		C: two "11-Feb-1994 21:52:25 +0000" {5}
		S: + OK
		C: three
		S: ~* 3 EXISTS
		S: ~a OK [APPENDUID ... 1:3] APPEND completed.
		C: b APPEND INBOX {3+}
		C: one (\Foo) {3+}
		C: two
		S: b BAD Unknown flag \Foo
		C: c STATUS INBOX (MESSAGES)
		S: * STATUS INBOX (MESSAGES 3)
		S: c OK ...
	`)
}

func TestObjectIDPreviewAndPartial(t *testing.T) {
	h := newHarness(t, nil)
	for range 5 {
		h.deliver("INBOX", mail("x"))
	}
	h.login("")
	h.talk(`
		C: a FETCH 1 (EMAILID THREADID PREVIEW (LAZY) SAVEDATE)
		S: * 1 FETCH (EMAILID (<<id>>) THREADID NIL PREVIEW "Hello x." SAVEDATE "...")
		S: a OK ...
		C: a FETCH 1 PREVIEW
		S: * 1 FETCH (PREVIEW "Hello x.")
		S: a OK ...
		C: a SEARCH EMAILID <<id>>
		S: * SEARCH 1
		S: a OK ...
		C: a SEARCH THREADID <<id>>
		S: * SEARCH
		S: a OK ...
		C: a UID FETCH 1:* (UID) (PARTIAL -1:-2)
		S: * 4 FETCH (UID 4)
		S: * 5 FETCH (UID 5)
		S: a OK ...
		C: a UID FETCH 2,4:5 (UID) (PARTIAL 2:9)
		S: * 4 FETCH (UID 4)
		S: * 5 FETCH (UID 5)
		S: a OK ...
		C: a UID FETCH 2,4:5 (UID) (PARTIAL 9:10)
		S: a OK ...
		C: a UID FETCH 1:* (UID) (PARTIAL 1:-2)
		S: a BAD Partial range mixes both ends
		C: a UID SEARCH RETURN (PARTIAL -1:-3 COUNT) ALL
		S: * ESEARCH (TAG "a") UID PARTIAL (-1:-3 3:5) COUNT 5
		S: a OK ...
		C: a UID SEARCH RETURN (PARTIAL 6:7) ALL
		S: * ESEARCH (TAG "a") UID PARTIAL (6:7 NIL)
		S: a OK ...
		C: a UID SEARCH RETURN (PARTIAL 1:2 ALL) ALL
		S: a BAD PARTIAL and ALL exclude each other
	`)
}

func TestObjectIDHasOnlyItsCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"074f2bffcdad1eb89ff05dbae7ce3cd2": "074f2bffcdad1eb89ff05dbae7ce3cd2",
		"A-b_9":                            "A-b_9",
	} {
		if got := objectID(in); got != want {
			t.Errorf("objectID(%q) = %q", in, got)
		}
	}
	a, b := objectID("1795453934.M61701P16083.vm,S=59,W=65"), objectID("1795453934.M61701P16083.vm,S=59,W=66")
	if a == b || !isObjectID(a) || len(a) > 40 {
		t.Errorf("%q, %q", a, b)
	}
}
