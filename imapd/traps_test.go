package imapd

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// tcpPair is a connection over the loopback.
func tcpPair(t testing.TB) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

// Text that a client passes on for somebody else (a search string, a draft)
// must never run as commands, whatever is refused and why.
func TestRefusedLiteralsAreSkipped(t *testing.T) {
	evil := `x1 CREATE pwned\r\n`
	for name, talk := range map[string]string{
		"message over the limit, asked for": `
			C: a APPEND INBOX {2000}
			S: a NO [TOOBIG] Message is too big`,
		"message over the limit, on its way": `
			C: a APPEND INBOX {1200+}
			C: ` + evil + strings.Repeat("y", 1183) + `
			S: a NO [TOOBIG] Message is too big`,
		"message for a mailbox that is not there": `
			C: a APPEND nowhere {17+}
			C: ` + evil + `
			S: a NO [TRYCREATE] No such mailbox`,
		"empty message": `
			C: a APPEND INBOX {0+}
			C: 
			S: a NO Message is empty`,
		"search text with a bad key": `
			C: a SEARCH FOO {17+}
			C: ` + evil + `
			S: a BAD Unknown search key FOO`,
		"unknown command": `
			C: a XFOO {17+}
			C: ` + evil + ` {17+}
			C: ` + evil + `
			S: a BAD Unknown command`,
		"command in a wrong state": `
			C: a LOGIN {17+}
			C: ` + evil + `
			S: a BAD Command not allowed now: already logged in`,
		"broken tag": `
			C: * SEARCH {17+}
			C: ` + evil + `
			S: * BAD Expected a tag, found '*'`,
		"literal behind a finished command": `
			C: a NOOP {17+}
			C: ` + evil + `
			S: a BAD Unexpected space`,
		"broken flags": `
			C: a APPEND INBOX (\Foo) {17+}
			C: ` + evil + `
			S: a BAD Unknown flag \Foo`,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, func(o *Options) { o.Limits.AppendSize = 1000 })
			h.login("")
			h.talk(talk + `
				C: z LIST "" pwned
				S: z OK LIST completed.
			`)
		})
	}
}

func TestLiteralTooLongToSkipEndsTheConnection(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.AppendSize = 1000 })
	h.login("")
	h.talk(`
		C: a APPEND INBOX {2147483647+}
		C: x1 CREATE pwned
		S: * BYE [TOOBIG] Command line or literal too long
		S: EOF
	`)
	h.login("2")
	h.talk(`
		C2: a LIST "" pwned
		S2: a OK LIST completed.
	`)
}

func TestOverlongLineEndsTheConnection(t *testing.T) {
	for name, limit := range map[string]int{"before login": 8 << 10, "after login": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, nil)
			if limit > 8<<10 {
				h.login("")
			} else {
				h.talk("S: * OK ...")
			}
			h.talk(`
				C: a NOOP ` + strings.Repeat("x", limit) + ` y CREATE pwned
				C: b NOOP
				S: * BYE [TOOBIG] Command line or literal too long
				S: EOF
			`)
		})
	}
}

func TestHugeLoginLiterals(t *testing.T) {
	h := newHarness(t, nil)
	h.talk(`
		S: * OK ...
		C: a LOGIN {2147483647}
		S: a BAD [TOOBIG] Literal too big
		C: b LOGIN alice {5000}
		S: b BAD [TOOBIG] Literal too big
		C: c NOOP
		S: c OK ...
		C: d LOGIN {2147483647+}
		C: alice
		S: * BYE [TOOBIG] ...
		S: EOF
	`)
}

func TestAppendBeforeLoginIsNotRead(t *testing.T) {
	h := newHarness(t, nil)
	h.talk(`
		S: * OK ...
		C: a APPEND INBOX {1000}
		S: a BAD Command not allowed now: log in first
		C: b APPEND INBOX {100000000+}
		S: * BYE [TOOBIG] ...
		S: EOF
	`)
}

func TestSilentConnectionIsClosed(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.LoginTime = 50 * time.Millisecond })
	h.talk(`
		S: * OK ...
		S: * BYE Disconnected for inactivity
		S: EOF
	`)
}

// The limit holds for the whole time before login, not for each command.
func TestLoginTimeIsNotStretchedByCommands(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.LoginTime = 100 * time.Millisecond })
	c := h.dial("")
	go func() {
		for range 1000 {
			if _, err := c.Write([]byte("a NOOP\r\n")); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	all, err := io.ReadAll(c.r)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("still connected")
	}
	if err == nil && !strings.Contains(string(all), "* BYE") {
		t.Errorf("no BYE in %q", all)
	}
}

// A transfer may take much longer than the limit of a stall, as long as it
// moves.
func TestSlowTransferIsNoStall(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.Stall = time.Second })
	h.login("")
	h.talk("C: a APPEND INBOX {150}\nS: + OK")
	for range 15 {
		time.Sleep(100 * time.Millisecond)
		if _, err := h.conn("").Write([]byte(strings.Repeat("m", 8) + "\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	h.talk(`
		C: 
		S: ~a OK [APPENDUID ...
	`)
}

func TestStallInsideACommandEndsTheConnection(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.Stall = 50 * time.Millisecond })
	h.login("")
	h.talk(`
		C: a APPEND INBOX {100}
		S: + OK
		S: * BYE Disconnected for inactivity
		S: EOF
	`)
}

func TestSyntaxErrorsKeepTheConnection(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk(`
		C: 
		S: * BAD Expected a tag, found end of command
		C: \0
		S: * BAD Expected a tag, found byte 0x00
		C: a
		S: a BAD Expected a space, found end of command
		C: a FETCH 0 FLAGS
		S: a BAD Number must not be zero
		C: a SEARCH OLDER x
		S: a BAD ...
		C: a SEARCH OLDER 0
		S: a BAD Number must not be zero
		C: a SELECT
		S: a BAD Expected a space, found end of command
		C: a SELECT "INBOX
		S: a BAD Quoted string without end
		C: a FETCH 1 (FLAGS
		S: a BAD Expected ')', found end of command
		C: a FETCH 1 BODY[1.
		S: a BAD ...
		C: a FETCH 1 BODY[0]
		S: a BAD Number must not be zero
		C: a FETCH 1 BODY[MIME]
		S: a BAD Unknown section MIME
		C: a FETCH 1 BODY[HEADER.FIELDS ("a\"b:")]
		S: a BAD Invalid header field name
		C: a FETCH 1 BODY[]<0.0>
		S: a BAD Partial of no bytes
		C: a FETCH 1 BODY[]<1.99999999999999999999>
		S: a BAD Number too big
		C: a STORE 1 FLAGS (\Foo)
		S: a BAD Unknown flag \Foo
		C: a UID
		S: a BAD ...
		C: a UID NOOP
		S: a BAD Unknown command
		C: z NOOP
		S: z OK ...
	`)
}

func TestManyBadCommandsEndTheConnection(t *testing.T) {
	h := newHarness(t, nil)
	h.talk(`
		S: * OK ...
		C: GET / HTTP/1.1
		C: Host: example.org
		C: 
		C: 
		C: 
		S: GET BAD ...
		S: Host: BAD ...
		S: * BAD ...
		S: * BAD ...
		S: * BAD ...
		S: * BYE Too many invalid commands
		S: EOF
	`)
}

func TestNestingIsBounded(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	for _, search := range []string{
		strings.Repeat("(", 300) + "ALL" + strings.Repeat(")", 300),
		strings.Repeat("NOT ", 300) + "ALL",
		strings.Repeat("OR ALL ", 300) + "ALL",
		strings.Repeat("OR NOT (", 150) + "ALL" + strings.Repeat(") ALL", 150),
	} {
		h.talk("C: a SEARCH " + search + "\nS: a BAD Nested too deeply")
	}
	h.talk("C: a SEARCH " + strings.Repeat("ALL ", 1000) + "ALL\nS: a BAD Too many search keys")
	h.talk("C: a FETCH 1 BODY[" + strings.Repeat("1.", 150) + "1]\nS: a BAD Section is too deep")
	h.talk("C: a SEARCH " + strings.Repeat("NOT ", 100) + "ALL\nS: * SEARCH\nS: a OK ...")
}

func TestPanicEndsOnlyItsConnection(t *testing.T) {
	h := newHarness(t, nil)
	c := &command{commandRow: commandRow{name: "XPANIC", states: anyState, run: func(*session, *call) error { panic("a fault") }}}
	c.prepare(h.srv.metrics)
	h.srv.profile.commands["XPANIC"] = c
	h.login("1", "2")
	h.talk(`
		C1: a XPANIC
		S1: * BYE [SERVERBUG] Internal error, see the server's log
		S1: EOF
		C2: b NOOP
		S2: b OK ...
	`)
}

// A reply that ends while the client still sends must reach it: closing a socket
// with unread input would reset the connection.
func TestByeReachesAClientThatStillSends(t *testing.T) {
	h := newHarness(t, nil)
	c := h.dial("")
	h.talk("S: * OK ...")
	go io.Copy(c, io.LimitReader(zeros{}, 300<<10))
	text, _ := io.ReadAll(bufio.NewReader(c))
	if !strings.Contains(string(text), "* BYE [TOOBIG]") {
		t.Errorf("got %q", text)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestPipelinedCommandsAreAnsweredInOrder(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	var script strings.Builder
	for i := range 500 {
		script.WriteString("C: n" + strings.Repeat("x", i%7) + " NOOP\n")
	}
	for i := range 500 {
		script.WriteString("S: n" + strings.Repeat("x", i%7) + " OK NOOP completed.\n")
	}
	h.talk(script.String())
}
