package imapd

import (
	"bufio"
	"compress/flate"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestUIDOnly(t *testing.T) {
	h := newHarness(t, nil)
	for range 4 {
		h.deliver("INBOX", mail("x"))
	}
	h.login("1", "2")
	h.talk(`
		C1: a ENABLE UIDONLY
		S1: * ENABLED UIDONLY
		S1: a OK ...
		C1: b FETCH 1 FLAGS
		S1: b BAD [UIDREQUIRED] ...
		C1: b UID SEARCH 1:2
		S1: b BAD [UIDREQUIRED] ...
		C1: b COPY 1 INBOX
		S1: b BAD [UIDREQUIRED] ...
		C1: c UID FETCH 2 RFC822.SIZE
		S1: * 2 UIDFETCH (UID 2 RFC822.SIZE 114)
		S1: c OK ...
		C1: d UID STORE 2 +FLAGS (\Deleted)
		S1: * 2 UIDFETCH (UID 2 FLAGS (\Deleted...))
		S1: d OK ...
		C1: e EXPUNGE
		S1: * VANISHED 2
		S1: e OK ...
		C2: f STORE 3 +FLAGS.SILENT (\Seen)
		S2: ~f OK ...
		C1: g NOOP
		S1: * 3 UIDFETCH (UID 3 FLAGS (\Seen...))
		S1: g OK ...
	`)
}

func TestSort(t *testing.T) {
	h := newHarness(t, nil)
	arrival := time.Now() // of all, so that none is later than another
	for _, m := range []struct{ from, subject, date, body string }{
		{"Zoe <b@x>", "Re: pear", "3 Jan 2020 00:00:00 +0000", strings.Repeat("a", 300)},
		{"Ann <c@x>", "apple", "1 Jan 2020 00:00:00 +0000", "a"},
		{"a@x", "PEAR", "2 Jan 2020 23:00:00 -0500", strings.Repeat("a", 100)},
	} {
		h.deliverAt("INBOX", fmt.Sprintf("From: %s\nSubject: %s\nDate: %s\n\n%s\n", m.from, m.subject, m.date, m.body), arrival)
	}
	h.login("")
	for keys, want := range map[string]string{
		"(DATE)": "2 1 3", "(SUBJECT)": "2 1 3",
		"(SUBJECT REVERSE DATE)": "2 3 1", "(FROM)": "3 1 2", "(DISPLAYFROM)": "3 2 1", "(REVERSE SIZE)": "1 3 2",
		"(CC TO)": "1 2 3",
	} {
		h.talk("C: a SORT " + keys + " UTF-8 ALL\nS: * SORT " + want + "\nS: a OK ...")
	}
	h.talk(`
		C: b UID SORT (SUBJECT) US-ASCII 1,3 SUBJECT pear
		S: * SORT 1 3
		S: b OK ...
		C: b UID SORT RETURN (ALL COUNT MIN) (DISPLAYFROM) UTF-8 ALL
		S: * ESEARCH (TAG "b") UID MIN 3 ALL 3,2,1 COUNT 3
		S: b OK ...
		C: b SORT (DATE) UTF-8 MODSEQ 1
		S: * SORT 2 1 3 (MODSEQ ...)
		S: b OK ...
		C: b SORT (FOO) UTF-8 ALL
		S: b BAD Unknown sort key FOO
		C: b SORT () UTF-8 ALL
		S: b BAD ...
		C: b APPEND INBOX "11-Feb-1994 21:52:25 +0000" {3+}
		C: abc
		S: ~b OK ...
		C: b SORT (REVERSE ARRIVAL) UTF-8 ALL
		S: * SORT 1 2 3 4
		S: b OK ...
		C: b SORT (ARRIVAL) UTF-8 3:4
		S: * SORT 4 3
		S: b OK ...
		C: b SORT (DATE) x-none ALL
		S: b NO [BADCHARSET ...
		C: b SORT (DATE) UTF-8 SEEN
		S: * SORT
		S: b OK ...
	`)
}

// threadMail is a message for threads.
func threadMail(day int, subject, id, references string) string {
	text := fmt.Sprintf("Date: %d Jan 2020 00:00:00 +0000\nSubject: %s\nMessage-ID: <%s@x>\n", day, subject, id)
	for _, r := range strings.Fields(references) {
		text += "References: <" + r + "@x>\n"
		break
	}
	if all := strings.Fields(references); len(all) > 1 {
		text = strings.Replace(text, "References: <"+all[0]+"@x>", "References: <"+strings.Join(all, "@x> <")+"@x>", 1)
	}
	return text + "\nx\n"
}

func TestThread(t *testing.T) {
	for _, c := range []struct {
		name, algorithm string
		mails           []string
		want            string
	}{
		{"chain", "REFERENCES", []string{
			threadMail(1, "a", "1", ""), threadMail(2, "Re: a", "2", "1"), threadMail(3, "Re: a", "3", "1 2")}, "(1 2 3)"},
		{"branches by date", "REFERENCES", []string{
			threadMail(1, "a", "1", ""), threadMail(4, "Re: a", "2", "1"), threadMail(3, "Re: a", "3", "1")}, "(1 (3)(2))"},
		{"child before its parent", "REFERENCES", []string{
			threadMail(3, "Re: a", "3", "1 2"), threadMail(2, "Re: a", "2", "1"), threadMail(1, "a", "1", "")}, "(3 2 1)"},
		{"missing root", "REFERENCES", []string{
			threadMail(1, "Re: a", "2", "1"), threadMail(2, "Re: a", "3", "1")}, "((1)(2))"},
		{"missing in the middle", "REFERENCES", []string{
			threadMail(1, "a", "1", ""), threadMail(2, "Re: a", "3", "1 2")}, "(1 2)"},
		{"joined by subject", "REFERENCES", []string{
			threadMail(1, "a", "1", ""), threadMail(2, "Re: a", "2", "")}, "(1 2)"},
		{"same subject, both roots", "REFERENCES", []string{
			threadMail(1, "a", "1", ""), threadMail(2, "a", "2", ""), threadMail(3, "a", "3", "")}, "((1)(2)(3))"},
		{"reply first", "REFERENCES", []string{
			threadMail(1, "Re: a", "1", ""), threadMail(2, "a", "2", "")}, "(2 1)"},
		{"reference loop", "REFERENCES", []string{
			threadMail(1, "a", "1", "2"), threadMail(2, "b", "2", "1")}, "(2 1)"},
		{"itself", "REFERENCES", []string{threadMail(1, "a", "1", "1")}, "(1)"},
		{"one identity twice", "REFERENCES", []string{
			threadMail(1, "a", "1", ""), threadMail(2, "b", "1", "")}, "(1)(2)"},
		{"no joining", "REFS", []string{
			threadMail(1, "a", "1", ""), threadMail(2, "Re: a", "2", "")}, "(1)(2)"},
		{"subjects", "ORDEREDSUBJECT", []string{
			threadMail(1, "a", "1", ""), threadMail(2, "b", "2", ""), threadMail(3, "Re: a", "3", ""), threadMail(4, "Fwd: a", "4", "")}, "(1 (3)(4))(2)"},
		{"none", "REFERENCES", nil, ""},
	} {
		t.Run(c.name+" "+c.algorithm, func(t *testing.T) {
			h := newHarness(t, nil)
			for _, m := range c.mails {
				h.deliver("INBOX", m)
			}
			h.login("")
			h.talk(strings.TrimRight("C: a THREAD "+c.algorithm+" UTF-8 ALL\nS: * THREAD "+c.want, " ") + "\nS: a OK THREAD completed.")
		})
	}
}

func TestThreadErrors(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("x"))
	h.deliver("INBOX", mail("y"))
	h.login("")
	h.talk(`
		C: a THREAD FOO UTF-8 ALL
		S: a BAD Unknown thread algorithm FOO
		C: a UID THREAD REFERENCES UTF-8 UID 2
		S: * THREAD (2)
		S: a OK ...
	`)
}

// deflateConn is a client's side of COMPRESS.
type deflateConn struct {
	net.Conn
	w *flate.Writer
}

func (c deflateConn) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err == nil {
		err = c.w.Flush()
	}
	return n, err
}

func TestCompress(t *testing.T) {
	h := newHarness(t, nil)
	h.deliver("INBOX", mail("one"))
	h.login("1", "2")
	h.talk(`
		C1: a COMPRESS GZIP
		S1: a NO [CANNOT] Unknown compression
		C1: b COMPRESS DEFLATE
		S1: b OK COMPRESS completed.
	`)
	raw := h.conn("1").Conn
	w, _ := flate.NewWriter(raw, flate.DefaultCompression)
	h.conns["1"] = &testConn{deflateConn{raw, w}, bufio.NewReader(flate.NewReader(raw))}
	// Each wait gives the compressor back; news interrupts the wait.
	for range 3 {
		h.talk(`
			C1: c FETCH 1 BODY.PEEK[TEXT]
			S1: * 1 FETCH (BODY[TEXT] {12}
			S1: Hello one.
			S1: )
			S1: c OK ...
			C1: d IDLE
			S1: + idling
			C2: e STORE 1 +FLAGS.SILENT (\Flagged)
			S2: e OK ...
			S1: * 1 FETCH (UID 1 FLAGS (\Flagged...))
			C2: e STORE 1 -FLAGS.SILENT (\Flagged)
			S2: e OK ...
			S1: * 1 FETCH (UID 1 FLAGS (...))
			C1: DONE
			S1: d OK ...
		`)
	}
	h.talk(`
		C1: f COMPRESS DEFLATE
		S1: f NO [COMPRESSIONACTIVE] ...
		C1: g LOGOUT
		S1: * BYE ...
		S1: g OK ...
	`)
}
