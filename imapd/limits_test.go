package imapd

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// Every limit has an answer that says why: a tagged one, or a BYE.
func TestLimits(t *testing.T) {
	nest := strings.Repeat("(", 12) + "ALL" + strings.Repeat(")", 12)
	for _, c := range []struct {
		name   string
		limits Limits
		script string
	}{
		{"command line", Limits{Line: 8 << 10}, `
			C: b SELECT ` + strings.Repeat("x", 9<<10) + `
			S: * BYE [TOOBIG] Command line or literal too long
			S: EOF`},
		{"literal", Limits{Literal: 5000}, `
			C: b SELECT {5001}
			S: b BAD [TOOBIG] ...
			C: c NOOP
			S: c OK ...`},
		{"literals of one command", Limits{Literal: 100}, `
			C: b UID SEARCH OR SUBJECT {100+}
			C: ` + strings.Repeat("x", 100) + ` OR SUBJECT {100+}
			C: ` + strings.Repeat("x", 100) + ` OR SUBJECT {100+}
			C: ` + strings.Repeat("x", 100) + ` OR SUBJECT {100+}
			C: ` + strings.Repeat("x", 100) + ` SUBJECT {100+}
			C: ` + strings.Repeat("x", 100) + `
			S: b BAD [TOOBIG] ...
			C: c NOOP
			S: c OK ...`},
		{"message", Limits{AppendSize: 100}, `
			C: b APPEND INBOX {101}
			S: b NO [TOOBIG] Message is too big
			C: c NOOP
			S: c OK ...`},
		{"search keys", Limits{SearchKeys: 10}, `
			C: b SEARCH 1 1 1 1 1 1 1 1 1 1
			S: * SEARCH
			S: b OK ...
			C: c SEARCH 1 1 1 1 1 1 1 1 1 1 1
			S: c BAD Too many search keys`},
		{"nesting of parentheses", Limits{Depth: 10}, `
			C: b SEARCH ` + nest + `
			S: b BAD ...
			C: c NOOP
			S: c OK ...`},
		{"nesting of NOT", Limits{Depth: 10}, `
			C: b SEARCH ` + strings.Repeat("NOT ", 12) + `ALL
			S: b BAD ...
			C: c SEARCH ` + strings.Repeat("NOT ", 9) + `ALL
			S: * SEARCH
			S: c OK ...`},
		{"bad commands", Limits{BadCommands: 3}, `
			C: b FOO
			S: b BAD ...
			C: c NOOP
			S: c OK ...
			C: d FOO
			S: d BAD ...
			C: e FOO
			S: e BAD ...
			C: f FOO
			S: f BAD ...
			S: * BYE Too many invalid commands
			S: EOF`},
		{"time to stop in a command", Limits{Stall: 50 * time.Millisecond}, `
			C: b NOOP {3}
			S: b BAD ...
			C: c APPEND INBOX {3}
			S: + OK
			S: * BYE Disconnected for inactivity
			S: EOF`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, func(o *Options) { o.Limits = c.limits })
			h.login("")
			h.talk(c.script)
		})
	}
}

func TestLimitsBeforeLogin(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits Limits
		script string
	}{
		{"command line", Limits{BeforeLogin: 1 << 10}, `
			C: b LOGIN alice ` + strings.Repeat("x", 2<<10) + `
			S: * BYE [TOOBIG] Command line or literal too long
			S: EOF`},
		{"literal", Limits{BeforeLogin: 1 << 10}, `
			C: b LOGIN alice {513}
			S: b BAD [TOOBIG] ...`},
		{"time to log in", Limits{LoginTime: 50 * time.Millisecond}, `
			S: * BYE Disconnected for inactivity
			S: EOF`},
		{"failed logins", Limits{LoginFailures: 2}, `
			C: b LOGIN alice wrong
			S: b NO ...
			C: c LOGIN alice wrong
			S: c NO ...
			S: * BYE Too many failed logins
			S: EOF`},
		{"bad commands", Limits{}, `
			C: a GET / HTTP/1.1
			S: a BAD ...
			C: b FOO
			S: b BAD ...
			C: c FOO
			S: c BAD ...
			C: d FOO
			S: d BAD ...
			C: e FOO
			S: e BAD ...
			S: * BYE Too many invalid commands
			S: EOF`},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, func(o *Options) { o.Limits = c.limits })
			h.dial("")
			h.talk("S: * OK ...\n" + c.script)
		})
	}
}

func TestConnectionsPerUserAreLimited(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.PerUser = 2 })
	h.login("1", "2")
	h.talk(`
		S3: * OK ...
		C3: a LOGIN alice secret
		S3: a NO [LIMIT] Too many connections of this user
		C3: b LOGIN bob secret
		S3: b OK ...
		C1: c LOGOUT
		S1: ~c OK ...
		S1: EOF
	`)
	// The place is free once the session has ended.
	for try := 0; ; try++ {
		h.talk("C4: a LOGIN alice secret")
		if try == 0 {
			h.talk("S4: * OK ...")
		}
		line := h.conn("4").line(t)
		if strings.HasPrefix(line, "a OK") {
			return
		}
		if try == 2 {
			h.conns["4"].Close()
			delete(h.conns, "4")
			try = -1
		}
		time.Sleep(time.Millisecond)
	}
}

// A client that connects and does not shake hands goes.
func TestHandshakeTimeIsLimited(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.TLS, o.Limits.Handshake = testTLS(), 50*time.Millisecond })
	h.dial("")
	h.talk(`
		S: * OK ...
		C: a STARTTLS
		S: a OK ...
		S: EOF
	`)
	raw, peer := net.Pipe()
	defer peer.Close()
	h.srv.start(tls.Server(raw, testTLS()))
	peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := peer.Read(make([]byte, 1)); err == nil || errors.Is(err, errTest) {
		t.Error("the server greets without a handshake")
	}
}
