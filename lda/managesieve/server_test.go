package managesieve

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/auth"
	"svc.plus/mailsrvd/internal/listen"
)

// TestLostClientsAreToldAndLeft: where the next command begins is not to be known.
func TestLostClientsAreToldAndLeft(t *testing.T) {
	h := newHarness(t, nil)
	for name, text := range map[string]string{
		"a huge literal":               "PUTSCRIPT \"a\" {99999999+}\r\n",
		"a literal beyond counting":    "PUTSCRIPT \"a\" {99999999999999999999999+}\r\n",
		"a literal in an open string":  "PUTSCRIPT \"a {5+}\r\n",
		"a long line":                  strings.Repeat("x", 70<<10) + "\r\n",
		"literals without end":         "NOOP " + strings.Repeat("{0+}\r\n ", 30) + "\r\n",
		"a long line without its end ": strings.Repeat("x", 70<<10),
	} {
		c := h.login("alice")
		c.send(text)
		if end := c.closed(); !strings.HasPrefix(end, "BYE ") {
			t.Errorf("%s: %q", name, end)
		}
	}
	c := h.dial() // a stranger has less
	c.send("NOOP \"" + strings.Repeat("x", 10<<10) + "\"\r\n")
	if end := c.closed(); !strings.HasPrefix(end, "BYE ") {
		t.Errorf("a stranger: %q", end)
	}
}

// TestNonsenseEndsAConnection: no mail program sends so many bad commands.
func TestNonsenseEndsAConnection(t *testing.T) {
	h := newHarness(t, nil)
	for user, most := range map[string]int{"": 5, "alice": 20} {
		c := h.dial()
		if user != "" {
			c.ask(plain(user))
		}
		for range most {
			c.send("GET / HTTP/1.1\r\n")
		}
		if end := c.closed(); strings.Count(end, "NO ") != most || !strings.HasSuffix(end, "BYE \"Too many invalid commands\"\r\n") {
			t.Errorf("%q: %q", user, end)
		}
	}
}

// TestSilenceEndsAConnection, at different times before and after login.
func TestSilenceEndsAConnection(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Limits.LoginTime = 50 * time.Millisecond })
	if end := h.dial().closed(); end != "BYE \"Disconnected for inactivity\"\r\n" {
		t.Errorf("no login: %q", end)
	}
	h = newHarness(t, func(o *Options) { o.Limits.Idle, o.Limits.Stall = 50*time.Millisecond, time.Hour })
	if end := h.login("alice").closed(); end != "BYE \"Disconnected for inactivity\"\r\n" {
		t.Errorf("idle: %q", end)
	}
	h = newHarness(t, func(o *Options) { o.Limits.Stall = 50 * time.Millisecond })
	c := h.login("alice")
	c.send("PUTSCRIPT \"a\" {100+}\r\nkeep")
	if end := c.closed(); end != "BYE \"Disconnected for inactivity\"\r\n" {
		t.Errorf("stalled: %q", end)
	}
	if list := files(t, h.alice); len(list) != 0 {
		t.Errorf("left: %q", list)
	}
}

// TestShutdownTellsClients: idle ones at once, the others after their command; and
// nothing hangs.
func TestShutdownTellsClients(t *testing.T) {
	h := newHarness(t, nil)
	idle, busy := h.login("alice"), h.login("bob")
	busy.begin("PUTSCRIPT \"a\" {5+}\r\nke")
	ended := make(chan error, 1)
	go func() { ended <- h.stop() }()
	if end := idle.closed(); end != "BYE (TRYLATER) \"Server is shutting down\"\r\n" {
		t.Errorf("idle: %q", end)
	}
	select {
	case err := <-ended:
		t.Fatalf("ended before the command: %v", err)
	default:
	}
	busy.send("ep;\r\n")
	if end := busy.closed(); end != "OK \"PUTSCRIPT completed.\"\r\nBYE (TRYLATER) \"Server is shutting down\"\r\n" {
		t.Errorf("busy: %q", end)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", h.addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.srv.Serve(t.Context(), ln); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// TestShutdownCutsOffWhatDoesNotEnd when its time is over.
func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	h := newHarness(t, nil)
	c := h.login("alice")
	c.begin("PUTSCRIPT \"a\" {5+}\r\nke")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := h.srv.Shutdown(ctx)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	c.closed()
}

// TestLimitsOfTheListener: the refusal is a line of ManageSieve.
func TestLimitsOfTheListener(t *testing.T) {
	h := newHarness(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	go h.srv.Serve(context.Background(), tracked(ln, listen.Options{MaxConns: 1, Refusal: Refusal}))
	h.dial()
	raw, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	b := make([]byte, len(Refusal))
	if n, err := raw.Read(b); string(b[:n]) != Refusal || !strings.HasPrefix(Refusal, "BYE (TRYLATER) ") {
		t.Errorf("%q, %v", b[:n], err)
	}
}

// TestMetrics: commands by name and result, sessions that are open.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := newHarness(t, func(o *Options) { o.Registerer = reg })
	c := h.login("alice")
	c.ask("LISTSCRIPTS")
	c.ask("GETSCRIPT \"x\"")
	c.ask("FROBNICATE")
	m := h.srv.metrics
	for labels, want := range map[[2]string]float64{{"LISTSCRIPTS", "ok"}: 1, {"GETSCRIPT", "no"}: 1, {"unknown", "no"}: 1, {"AUTHENTICATE", "ok"}: 1} {
		if got := testutil.ToFloat64(m.commands.WithLabelValues(labels[0], labels[1])); got != want {
			t.Errorf("%v: %v", labels, got)
		}
	}
	if testutil.ToFloat64(m.connections) != 1 || testutil.ToFloat64(m.loggedIn) != 1 {
		t.Error("sessions are not counted")
	}
	c.ask("LOGOUT")
	c.closed()
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	if testutil.ToFloat64(m.connections) != 0 || testutil.ToFloat64(m.loggedIn) != 0 {
		t.Error("sessions are still counted")
	}
}

// TestOptionsAreChecked before anything runs.
func TestOptionsAreChecked(t *testing.T) {
	_, err := New(Options{Limits: Limits{Scripts: -1}})
	if err == nil || !strings.Contains(err.Error(), "Auth: ") || !strings.Contains(err.Error(), "Limits.Scripts: ") {
		t.Error(err)
	}
}

// panicking is an Authenticator with a fault.
type panicking struct{}

func (panicking) Authenticate(context.Context, auth.Credentials) (auth.Account, error) {
	panic("a fault of ours")
}

// TestFaultEndsOneConnection, and is counted; the others live on.
func TestFaultEndsOneConnection(t *testing.T) {
	h := newHarness(t, func(o *Options) { o.Auth = panicking{} })
	other := h.dial()
	c := h.dial()
	c.send(plain("alice") + "\r\n")
	if end := c.closed(); !strings.HasPrefix(end, "BYE (TRYLATER) ") {
		t.Errorf("%q", end)
	}
	if testutil.ToFloat64(h.srv.metrics.panics) != 1 {
		t.Error("it is not counted")
	}
	if got := other.ask("NOOP"); !strings.HasPrefix(got, "OK") {
		t.Error(got)
	}
}
