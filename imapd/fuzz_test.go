package imapd

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// scriptConn is a connection on which a client has sent all that it will.
type scriptConn struct {
	in  *strings.Reader
	out bytes.Buffer
}

func (c *scriptConn) Read(p []byte) (int, error) {
	if c.in.Len() == 0 {
		return 0, io.EOF
	}
	return c.in.Read(p[:min(len(p), 100)])
}
func (c *scriptConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *scriptConn) Close() error                     { return nil }
func (c *scriptConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scriptConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzSession feeds a whole session with garbage, in each state: it must come to
// an end without a panic, and each line that it writes must be one of IMAP.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"a CAPABILITY\r\nb LOGIN alice {6+}\r\nsecret\r\nc ID (\"a\" NIL)\r\n",
		"a AUTHENTICATE PLAIN\r\nAGFsaWNlAHNlY3JldA==\r\nb AUTHENTICATE LOGIN YQ==\r\n*\r\n",
		"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% *) RETURN (CHILDREN STATUS (MESSAGES SIZE))\r\na LSUB \"\" %\r\n",
		"a CREATE x\r\na RENAME x y\r\na STATUS y (UIDNEXT)\r\na SUBSCRIBE y\r\na DELETE y\r\n",
		"a APPEND INBOX (\\Seen k) \" 1-Feb-1994 21:52:25 -0800\" {3+}\r\nabc\r\na APPEND x ~{3}\r\n",
		"a FETCH 1:* (FLAGS UID BODY[1.2.HEADER.FIELDS (A \"b\")]<0.5> BINARY[1] ENVELOPE)\r\na FETCH 1 FULL\r\n",
		"a UID FETCH $ (BODYSTRUCTURE BODY.PEEK[]<9223372036854775807.9223372036854775807> RFC822)\r\n",
		"a SEARCH RETURN (SAVE MIN) CHARSET UTF-8 OR (NOT TEXT {1+}\r\nx 1:*) HEADER A \"\" SENTON 1-Feb-1994\r\n",
		"a STORE 1,3:* -FLAGS.SILENT (\\Deleted $x)\r\na COPY 1 y\r\na UID MOVE 2 INBOX\r\na EXPUNGE\r\na UID EXPUNGE 1:*\r\n",
		"a IDLE\r\nDONE\r\na ENABLE IMAP4rev2 UTF8=ACCEPT\r\na SELECT INBOX\r\na EXAMINE \"F&APw-r\"\r\na UNSELECT\r\n",
		"a SORT RETURN (PARTIAL -1:-5 COUNT) (REVERSE DATE SUBJECT) UTF-8 ALL\r\na UID THREAD REFERENCES UTF-8 MODSEQ \"/flags/x\" all 7\r\n",
		"a ENABLE QRESYNC UIDONLY\r\na SELECT INBOX (QRESYNC (7 9 1:3 (1,2 1,2)))\r\na UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED PARTIAL 1:2)\r\n",
		"a APPEND INBOX CATENATE (URL \"/INBOX/;UID=1/;SECTION=1.MIME/;PARTIAL=1.2\" TEXT {3+}\r\nabc)\r\na REPLACE 1 INBOX {1+}\r\nx\r\n",
		"a FETCH 1 (PREVIEW (LAZY) EMAILID THREADID MODSEQ SAVEDATE)\r\na STORE 1 (UNCHANGEDSINCE 5) FLAGS ()\r\na COMPRESS DEFLATE\r\n\x00\r\n",
		"a NOTIFY SET STATUS (SELECTED-DELAYED (MessageNew (UID BODY.PEEK[]) MessageExpunge)) (SUBTREE (INBOX \"x\") (MailboxName)) (PERSONAL NONE)\r\na CREATE q (USE (\\Junk))\r\na NOTIFY NONE\r\n",
		"a SETMETADATA \"\" (/private/a {1+}\r\nx /shared/b NIL)\r\na GETMETADATA (DEPTH infinity MAXSIZE 3) INBOX (/private /shared)\r\na LIST \"\" * RETURN (METADATA /private/a MYRIGHTS)\r\n",
		"a GETQUOTAROOT INBOX\r\na GETQUOTA \"User quota\"\r\na SETQUOTA x (STORAGE 1 MESSAGE 2)\r\na MYRIGHTS INBOX\r\na STATUS INBOX (DELETED-STORAGE)\r\n",
		"a UID SORT RETURN (UPDATE CONTEXT ALL) (SUBJECT) UTF-8 UNSEEN\r\nb SEARCH RETURN (UPDATE) KEYWORD x\r\nc STORE 1:* FLAGS (x \\Seen)\r\nd CANCELUPDATE \"a\" \"b\"\r\n",
		"a CLOSE\r\na UNAUTHENTICATE\r\na STARTTLS\r\na LOGOUT\r\n",
		"a \"{3+}\r\nabc{4+}\r\n\r\n\r\n\x00\r\n* \r\n",
	} {
		for state := range byte(3) {
			f.Add(state, seed)
		}
	}
	h := newHarness(f, func(o *Options) { o.Limits.AppendSize, o.Limits.LoginFailures = 10_000, 10 })
	h.deliver("INBOX", mail("one"))
	h.deliver("INBOX", multipart)
	h.deliver("INBOX", mail("three"))
	prefix := [...]string{"", "p LOGIN alice secret\r\n", "p LOGIN alice secret\r\np SELECT INBOX\r\n"}
	f.Fuzz(func(t *testing.T, state byte, input string) {
		conn := &scriptConn{in: strings.NewReader(prefix[state%3] + input)}
		newSession(h.srv, conn).serve()
		out := conn.out.String()
		if strings.Contains(out, "SERVERBUG") {
			t.Errorf("a fault of ours: %q", out)
		}
		if !strings.HasPrefix(out, "* OK ") || !strings.HasSuffix(out, "\r\n") {
			t.Errorf("not a session: %q", out)
		}
	})
}
