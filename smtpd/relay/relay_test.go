package relay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"svc.plus/mailsrvd/internal/message"
	"svc.plus/mailsrvd/internal/status"
)

func TestDeliversTheBytesAsTheyAre(t *testing.T) {
	for _, caps := range [][]string{
		nil, {"PIPELINING"}, {"CHUNKING"}, {"pipelining", "Chunking", "8bitmime", "size 1000000", "dsn", "smtputf8"},
	} {
		t.Run(strings.Join(caps, ","), func(t *testing.T) {
			s := newSink(t, caps...)
			w := newWorld(t, map[string]*sink{"192.0.2.1": s})
			outs := w.send(t, "bob@a.example", "eve@a.example")
			for _, o := range outs {
				if o.Err != nil || o.Remote != "mx1.a.example[192.0.2.1]" || o.Reply != "250 2.0.0 taken as 1" {
					t.Errorf("outcome %+v", o)
				}
			}
			got := s.got()
			if len(got) != 1 || got[0].text != mailText || len(got[0].to) != 2 || !strings.HasPrefix(got[0].from, "FROM:<alice@example.org>") {
				t.Errorf("got %+v", got)
			}
			if h := s.heard("EHLO"); !slices.Equal(h, []string{"EHLO mail.example.org"}) {
				t.Errorf("greeted by %v", h)
			}
		})
	}
}

// TestMisbehaviour drops, refuses, babbles and stalls at every step.
func TestMisbehaviour(t *testing.T) {
	drop := func(c *sinkConn) { c.conn.Close() }
	stall := func(c *sinkConn) { c.stall() }
	say := func(lines ...string) func(*sinkConn) {
		return func(c *sinkConn) {
			for _, l := range lines {
				c.say("%s", l)
			}
		}
	}
	flood := func(c *sinkConn) {
		for range 100000 {
			if _, err := fmt.Fprint(c.conn, "250-more\r\n"); err != nil {
				return
			}
		}
	}
	long := func(c *sinkConn) { c.say("250 %s", strings.Repeat("x", 100000)) }
	drip := func(c *sinkConn) {
		for range 50 {
			if _, err := fmt.Fprint(c.conn, "2"); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	type deed struct {
		name string
		do   func(*sinkConn)
		code int // 0: as other failures of this step; 250 is success
	}
	common := []deed{
		{"drop", drop, 451}, {"stall", stall, 451}, {"drip", drip, 451}, {"garbage", say("HTTP/1.1 400 Bad Request", ""), 451},
		{"nothing but a number", say("25"), 451}, {"flood", flood, 451}, {"long line", long, 451},
		{"mixed codes", say("250-a", "550 b"), 451}, {"421", say("421 4.3.2 going down"), 421},
		{"4xx", say("452-4.2.2 first", "452 4.2.2 second"), 452}, {"5xx", say("550 5.7.1 not you"), 550},
		{"out of range", say("999 what"), 451},
	}
	tlsConfig := newAuthority(t).server("b.example")
	for _, step := range []string{"greeting", "EHLO", "STARTTLS", "handshake", "MAIL", "RCPT", "DATA", "BDAT", "middle", "text"} {
		for _, pipelining := range []bool{false, true} {
			for _, d := range common {
				t.Run(fmt.Sprintf("%s/%s/%v", step, d.name, pipelining), func(t *testing.T) {
					t.Parallel()
					s := newSink(t)
					if pipelining {
						s.caps = append(s.caps, "PIPELINING")
					}
					if step == "BDAT" {
						s.caps = append(s.caps, "CHUNKING")
					}
					limits := quick
					if step == "STARTTLS" || step == "handshake" {
						s.tls, limits = tlsConfig, impatient
					}
					misbehave(s, step, d.do)
					w := newWorld(t, map[string]*sink{"192.0.2.1": s}, limits)
					out := w.send(t, "bob@b.example")[0]
					if step == "EHLO" && d.name == "5xx" { // HELO is next, and works
						if out.Err != nil {
							t.Errorf("no HELO after a refused EHLO: %+v", out)
						}
						return
					}
					if step == "STARTTLS" || step == "handshake" { // nobody demands TLS
						if out.Err != nil || len(s.got()) != 1 || s.got()[0].secure {
							t.Errorf("not sent in the clear: %+v", out)
						}
						return
					}
					e := status.From(out.Err)
					if e == nil || e.Code != d.code {
						t.Fatalf("outcome %+v, want %d", out, d.code)
					}
					if len(s.got()) != 0 {
						t.Errorf("message taken: %v", s.got())
					}
					early := step == "greeting" || step == "EHLO"
					if out.Unreachable != (early && e.Temporary()) {
						t.Errorf("Unreachable = %v", out.Unreachable)
					}
					if !strings.Contains(e.Text, "b.example[192.0.2.1]") {
						t.Errorf("text %q does not name the host", e.Text)
					}
				})
			}
		}
	}
}

// misbehave makes the sink do something else at one step.
func misbehave(s *sink, step string, do func(*sinkConn)) {
	if step == "greeting" {
		s.hello = func(c *sinkConn) bool { do(c); return true }
		return
	}
	s.on = func(c *sinkConn, line string) bool {
		switch {
		case step == "text" && line == "DATA":
			c.say("354 go on")
			c.readText()
		case step == "middle" && line == "DATA":
			c.say("354 go on")
			c.br.ReadByte()
		case step == "handshake" && line == "STARTTLS":
			c.say("220 go ahead")
		case step == "BDAT" && strings.HasPrefix(line, "BDAT"):
			b := make([]byte, len(mailText))
			c.br.Read(b)
		case step == "text" || step == "middle" || step == "handshake" || step == "BDAT" || !strings.HasPrefix(line, step):
			return false
		}
		do(c)
		return true
	}
}

func TestTheNextExchangerTakesOver(t *testing.T) {
	refuse := func(code string) func(*sink) {
		return func(s *sink) { s.hello = func(c *sinkConn) bool { c.say("%s", code); return true } }
	}
	at := func(step, reply string) func(*sink) {
		return func(s *sink) { misbehave(s, step, func(c *sinkConn) { c.say("%s", reply) }) }
	}
	cases := []struct {
		name  string
		first func(*sink) // nil: not there at all
		taken bool        // by the second
		err   string
	}{
		{"first is not there", nil, true, ""},
		{"first is busy", refuse("421 4.3.2 busy"), true, ""},
		{"first refuses us", refuse("554 5.7.1 no service"), true, ""},
		{"first drops", func(s *sink) { misbehave(s, "MAIL", func(c *sinkConn) { c.conn.Close() }) }, true, ""},
		{"first puts MAIL off", at("MAIL", "451 4.3.0 later"), true, ""},
		{"first puts RCPT off", at("RCPT", "450 4.2.0 greylisted"), true, ""},
		{"first puts the text off", at("text", "451 4.3.0 later"), true, ""},
		{"first refuses RCPT for good", at("RCPT", "550 5.1.1 no such user"), false, "550 5.1.1"},
		{"first refuses the text for good", at("text", "554 5.6.0 spam"), false, "554 5.6.0"},
		{"first may have taken it", func(s *sink) { misbehave(s, "text", func(c *sinkConn) { c.conn.Close() }) }, false, "451 4.4.2"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			hosts := map[string]*sink{"192.0.2.2": newSink(t)}
			if c.first != nil {
				hosts["192.0.2.1"] = newSink(t)
				c.first(hosts["192.0.2.1"])
			}
			out := newWorld(t, hosts, quick).send(t, "bob@a.example")[0]
			if taken := len(hosts["192.0.2.2"].got()) == 1; taken != c.taken {
				t.Errorf("taken by the second: %v; outcome %+v", taken, out)
			}
			if c.err == "" && out.Err != nil || c.err != "" && (out.Err == nil || !strings.HasPrefix(out.Err.Error(), c.err)) {
				t.Errorf("err = %v, want %q", out.Err, c.err)
			}
		})
	}
}

func TestEachRecipientHasItsOwnFate(t *testing.T) {
	for _, caps := range [][]string{nil, {"PIPELINING"}, {"PIPELINING", "CHUNKING"}} {
		s := newSink(t, caps...)
		s.on = func(c *sinkConn, line string) bool {
			switch {
			case strings.HasPrefix(line, "RCPT TO:<no@"):
				c.say("550 5.1.1 no such user")
			case strings.HasPrefix(line, "RCPT TO:<full@"):
				c.say("452 4.2.2 full")
			case strings.HasPrefix(line, "RCPT TO:<many@"):
				c.say("552 5.5.3 too many recipients")
			default:
				return false
			}
			return true
		}
		w := newWorld(t, map[string]*sink{"192.0.2.1": s})
		outs := w.send(t, "bob@a.example", "no@a.example", "full@a.example", "many@a.example", "eve@a.example")
		var got []string
		for _, o := range outs {
			if o.Err == nil {
				got = append(got, "ok")
			} else {
				got = append(got, fmt.Sprint(status.From(o.Err).Code))
			}
		}
		if want := []string{"ok", "550", "452", "451", "ok"}; !slices.Equal(got, want) {
			t.Errorf("%v: got %v, want %v", caps, got, want)
		}
		if m := s.got(); len(m) != 1 || !slices.Equal(m[0].to, []string{"TO:<bob@a.example>", "TO:<eve@a.example>"}) {
			t.Errorf("%v: message %v", caps, m)
		}
	}
}

func TestNobodyAcceptedSendsNoText(t *testing.T) {
	for _, caps := range [][]string{nil, {"PIPELINING"}, {"CHUNKING"}} {
		s := newSink(t, caps...)
		empty := ""
		s.on = func(c *sinkConn, line string) bool {
			switch {
			case strings.HasPrefix(line, "RCPT TO:<no@"):
				c.say("550 5.1.1 no such user")
			case line == "DATA" && len(c.cur.to) == 0: // a server that should know better
				c.say("354 go on")
				text, _ := c.readText()
				empty += text
				c.say("554 no recipients")
			default:
				return false
			}
			return true
		}
		w := newWorld(t, map[string]*sink{"192.0.2.1": s})
		if out := w.send(t, "no@a.example")[0]; status.From(out.Err).Code != 550 {
			t.Errorf("%v: %+v", caps, out)
		}
		if out := w.send(t, "bob@a.example")[0]; out.Err != nil {
			t.Errorf("%v: after it: %+v", caps, out)
		}
		if empty != "" || len(s.got()) != 1 || len(s.got()[0].to) != 1 || s.connections() != 1 {
			t.Errorf("%v: sent %q, taken %v by %d connections", caps, empty, s.got(), s.connections())
		}
		if n := len(s.heard("RSET")); n != 1 {
			t.Errorf("%v: %d RSETs", caps, n)
		}
	}
}

func TestTheHostsReasonForBreakingOffIsKept(t *testing.T) {
	for _, caps := range [][]string{nil, {"CHUNKING"}} {
		s := newSink(t, caps...)
		s.on = func(c *sinkConn, line string) bool {
			switch {
			case line == "DATA":
				c.say("354 go on")
			case !strings.HasPrefix(line, "BDAT"):
				return false
			}
			c.say("552 5.3.4 too big for us")
			time.Sleep(50 * time.Millisecond)
			c.conn.Close()
			return true
		}
		w := newWorld(t, map[string]*sink{"192.0.2.1": s})
		env := from("alice@example.org", "bob@b.example")
		out := w.sendEnv(t.Context(), env, mailText+strings.Repeat("0123456789abcdef\r\n", 1<<20))[0]
		// A reset connection may lose the reply; then trying again is right.
		if e := status.From(out.Err); e == nil || e.Code != 552 && e.Code != 451 {
			t.Errorf("%v: %+v", caps, out)
		}
	}
}

func TestManyRecipientsGoInPortions(t *testing.T) {
	s := newSink(t, "PIPELINING", "LIMITS MAILMAX=5 RCPTMAX=20")
	w := newWorld(t, map[string]*sink{"192.0.2.1": s})
	var to []string
	for i := range 50 {
		to = append(to, fmt.Sprintf("u%d@a.example", i))
	}
	for i, o := range w.send(t, to...) {
		if o.Err != nil {
			t.Errorf("%d: %v", i, o.Err)
		}
	}
	var sizes []int
	for _, m := range s.got() {
		sizes = append(sizes, len(m.to))
	}
	if !slices.Equal(sizes, []int{20, 20, 10}) || s.connections() != 1 {
		t.Errorf("portions %v by %d connections", sizes, s.connections())
	}
}

func TestDomainsAreKeptApart(t *testing.T) {
	one, two := newSink(t), newSink(t)
	w := newWorld(t, map[string]*sink{"192.0.2.1": one, "192.0.2.7": two})
	w.dns.Add("c.example A 192.0.2.7\n")
	for _, o := range w.send(t, "x@b.example", "y@c.example", "z@B.example") {
		if o.Err != nil {
			t.Error(o.Err)
		}
	}
	if m := one.got(); len(m) != 1 || len(m[0].to) != 2 {
		t.Errorf("b.example got %v", m)
	}
	if m := two.got(); len(m) != 1 || len(m[0].to) != 1 {
		t.Errorf("c.example got %v", m)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	s := newSink(t, "PIPELINING")
	w := newWorld(t, map[string]*sink{"192.0.2.1": s})
	for range 5 {
		if out := w.send(t, "bob@a.example")[0]; out.Err != nil {
			t.Fatal(out.Err)
		}
	}
	if s.connections() != 1 || len(s.got()) != 5 {
		t.Errorf("%d messages by %d connections", len(s.got()), s.connections())
	}
	w.Close()
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	if len(w.pool.idle) != 0 {
		t.Error("connections outlive Close")
	}
}

func TestAKeptConnectionThatDiedIsReplaced(t *testing.T) {
	s := newSink(t, "PIPELINING")
	w := newWorld(t, map[string]*sink{"192.0.2.1": s})
	w.send(t, "bob@a.example")
	s.mu.Lock()
	s.on = func(c *sinkConn, line string) bool { // the old connection hangs up on the next MAIL
		s.mu.Lock()
		s.on = nil
		s.mu.Unlock()
		c.conn.Close()
		return true
	}
	s.mu.Unlock()
	if out := w.send(t, "bob@a.example")[0]; out.Err != nil {
		t.Fatal(out.Err)
	}
	if s.connections() != 2 {
		t.Errorf("%d connections", s.connections())
	}
}

func TestAHostThatIsTiredOfAConnectionGetsANewOne(t *testing.T) {
	for _, step := range []string{"MAIL", "RCPT", "DATA"} {
		s := newSink(t)
		w := newWorld(t, map[string]*sink{"192.0.2.1": s})
		w.send(t, "bob@a.example")
		s.mu.Lock()
		s.on = func(c *sinkConn, line string) bool {
			if !strings.HasPrefix(line, step) {
				return false
			}
			s.mu.Lock()
			s.on = nil
			s.mu.Unlock()
			c.say("421 4.7.0 too many errors")
			c.conn.Close()
			return true
		}
		s.mu.Unlock()
		if out := w.send(t, "bob@a.example")[0]; out.Err != nil || out.Remote != "mx1.a.example[192.0.2.1]" {
			t.Errorf("%s: %+v", step, out)
		}
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	s := newSink(t)
	w := newWorld(t, map[string]*sink{"192.0.2.1": s}, func(o *Options) { o.IdleTimeout = time.Millisecond })
	w.send(t, "bob@a.example")
	for len(s.heard("QUIT")) == 0 {
		time.Sleep(time.Millisecond)
	}
	w = newWorld(t, map[string]*sink{"192.0.2.1": s}, func(o *Options) { o.IdleTimeout = -1 })
	w.send(t, "bob@a.example")
	if len(w.pool.idle) != 0 {
		t.Error("a connection was kept")
	}
}

func TestTheEndOfTheContextEndsTheAttempt(t *testing.T) {
	for _, step := range []string{"greeting", "EHLO", "MAIL", "text"} {
		s := newSink(t)
		ctx, cancel := context.WithCancel(t.Context())
		misbehave(s, step, func(c *sinkConn) { cancel(); c.stall() })
		w := newWorld(t, map[string]*sink{"192.0.2.1": s})
		out := w.sendEnv(ctx, from("alice@example.org", "bob@a.example"), mailText)[0]
		if !status.IsTemporary(out.Err) {
			t.Errorf("%s: %+v", step, out)
		}
		w.mu.Lock()
		if len(w.dialed) != 1 {
			t.Errorf("%s: dialed %v after the end", step, w.dialed)
		}
		w.mu.Unlock()
	}
}

func TestAddressesStayInTheirCommand(t *testing.T) {
	s := newSink(t)
	w := newWorld(t, map[string]*sink{"192.0.2.1": s})
	for _, bad := range []string{
		"bob\r\nRCPT TO:<eve@a.example>@a.example", "bob> NOTIFY=NEVER@a.example", "bo b@a.example", "b\x00@a.example", "\"bob@a.example", "<bob@a.example",
	} {
		if out := w.send(t, bad)[0]; status.IsTemporary(out.Err) || out.Err == nil {
			t.Errorf("%q: %+v", bad, out)
		}
		if out := w.sendEnv(t.Context(), from(bad, "bob@a.example"), mailText)[0]; status.IsTemporary(out.Err) || out.Err == nil {
			t.Errorf("from %q: %+v", bad, out)
		}
	}
	if s.connections() != 0 {
		t.Error("something was sent")
	}
	if out := w.send(t, `"bob <x> y"@a.example`)[0]; out.Err != nil {
		t.Errorf("a quoted local part: %v", out.Err)
	}
}

func TestContentThatCannotBeReadIsTemporary(t *testing.T) {
	w := newWorld(t, nil)
	env := from("alice@example.org", "bob@a.example")
	c := message.FromBytes([]byte(mailText))
	_ = c.Close()
	if out := w.Attempt(t.Context(), env, c, env.Recipients)[0]; !status.IsTemporary(out.Err) || !out.Unreachable {
		t.Errorf("%+v", out)
	}
}
