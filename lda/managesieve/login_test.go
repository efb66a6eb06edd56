package managesieve

import (
	"net"
	"slices"
	"strings"
	"testing"

	"svc.plus/mailsrvd/auth"
)

// TestLoginExchange: challenges and responses, by quoted strings and literals.
func TestLoginExchange(t *testing.T) {
	h := newHarness(t, nil)
	for _, tt := range []struct{ name, talk string }{
		{"PLAIN", `AUTHENTICATE "plain"` + "\n" + `""` + "\n" + `"` + b64("\x00alice\x00secret") + `"`},
		{"LOGIN", `AUTHENTICATE "LOGIN"` + "\n" + `"` + b64("Username:") + `"` + "\n" + literal(b64("alice")) + "\n" + `"` + b64("Password:") + `"` + "\n" + `"` + b64("secret") + `"`},
		{"LOGIN with the name", `AUTHENTICATE "LOGIN" "` + b64("alice") + `"` + "\n" + `"` + b64("Password:") + `"` + "\n" + `"` + b64("secret") + `"`},
	} {
		c := h.dial()
		for i, line := range strings.Split(strings.ReplaceAll(tt.talk, "\r\n", "\r"), "\n") {
			if i%2 == 0 {
				c.send(strings.ReplaceAll(line, "\r", "\r\n") + "\r\n")
				continue
			}
			if got, err := c.line(); got != line {
				t.Fatalf("%s: challenge %q, %v; want %q", tt.name, got, err, line)
			}
		}
		if end := c.answer(); end[0] != `OK "Logged in."` {
			t.Errorf("%s: %q", tt.name, end)
		}
	}
	c := h.dial()
	for response, want := range map[string]string{`"*"`: `NO "Authentication cancelled"`, `x`: `NO "The response must be one string"`, `"!"`: `NO "Invalid base64 in the response"`} {
		c.send("AUTHENTICATE \"PLAIN\"\r\n")
		if line, err := c.line(); line != `""` {
			t.Fatalf("challenge %q, %v", line, err)
		}
		if got := c.ask(response); got != want {
			t.Errorf("%s: %s", response, got)
		}
	}
	if got := c.ask(plain("alice")); got != `OK "Logged in."` {
		t.Errorf("after three that failed: %s", got)
	}
}

// TestNoPasswordIsTakenInTheClear: before TLS no mechanism is offered, and none
// taken; what was sent behind STARTTLS is forgotten.
func TestNoPasswordIsTakenInTheClear(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.InsecureAuth, o.TLS = false, testTLS(t) })
	c := h.dial()
	if got := c.ask(plain("alice")); got != `NO (ENCRYPT-NEEDED) "Log in under TLS only"` {
		t.Error(got)
	}
	before := c.ask("CAPABILITY")
	for _, want := range []string{`"SASL" ""|`, `"STARTTLS"|`, `"VERSION" "1.0"|`, `"SIEVE" "body `, `"MAXREDIRECTS" "4"|`, `"IMPLEMENTATION" "mailsrvd"|`, `"UNAUTHENTICATE"|`} {
		if !strings.Contains(before, want) {
			t.Errorf("no %s in %s", want, before)
		}
	}
	if strings.Contains(before, "OWNER") || len(h.auth.asked) != 0 {
		t.Errorf("%s; asked %v", before, h.auth.asked)
	}
	under := c.startTLS()
	if !slices.Contains(under, `"SASL" "PLAIN LOGIN"`) || slices.Contains(under, `"STARTTLS"`) || !strings.HasPrefix(under[len(under)-1], "OK") {
		t.Errorf("after STARTTLS: %q", under)
	}
	if got := c.ask("STARTTLS"); got != `NO "TLS is active already"` {
		t.Error(got)
	}
	if got := c.ask(plain("alice")); got != `OK "Logged in."` {
		t.Error(got)
	}
	if got := c.ask("CAPABILITY"); !strings.Contains(got, `"OWNER" "alice"|`) {
		t.Error(got)
	}
	if a := h.auth.asked; len(a) != 1 || !a[0].TLS || a[0].Service != "managesieve" || !a[0].Remote.IsLoopback() {
		t.Errorf("asked %+v", a)
	}

	// The command in the clear is neither run nor answered.
	c = h.dial()
	c.send("STARTTLS\r\nNOOP \"injected\"\r\n")
	if line, err := c.line(); !strings.HasPrefix(line, "OK") {
		t.Fatal(line, err)
	}
	if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest := c.closed(); strings.Contains(rest, "injected") {
		t.Errorf("%q", rest)
	}
}

// TestAuthenticationTroubleIsTold: what may heal has TRYLATER.
func TestAuthenticationTroubleIsTold(t *testing.T) {
	h := newHarness(t, nil)
	for kind, want := range map[auth.Kind]string{
		auth.Unavailable: "NO (TRYLATER) ", auth.Throttled: "NO (TRYLATER) ", auth.Expired: `NO "The password or`, auth.Disabled: `NO "This account`,
	} {
		h.auth.err = &auth.Error{Kind: kind}
		if got := h.dial().ask(plain("alice")); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %s", kind, got)
		}
	}
}

// TestConnectionsOfAUserAreLimited, and counted down.
func TestConnectionsOfAUserAreLimited(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.PerUser = 2 })
	first := h.login("alice")
	h.login("alice")
	third := h.dial()
	if got := third.ask(plain("alice")); got != `NO (TRYLATER) "Too many connections of this user"` {
		t.Error(got)
	}
	if got := third.ask(plain("bob")); got != `OK "Logged in."` {
		t.Error(got)
	}
	if got := first.ask("LOGOUT"); got != `OK "Logout completed."` {
		t.Error(got)
	}
	first.closed()
	if got := h.dial().ask(plain("alice")); got != `OK "Logged in."` {
		t.Error(got)
	}
}
