package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/internal/listen"
	"svc.plus/mailsrvd/internal/message"
)

func TestCheckTellsAllProblems(t *testing.T) {
	_, err := New(Options{Mode: Submission, Hostname: "-bad-", Domains: []string{"here.test", "a b"}, SpoolDir: "/nonexistent", Limits: Limits{Recipients: -1}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`hostname "-bad-"`, `domain "a b"`, "router, deliverer or queue", "no authenticator", "/nonexistent", "limit is negative"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if _, err := New(Options{Mode: Local, Hostname: "x.test"}); err == nil || !strings.Contains(err.Error(), "no names for local users") {
		t.Errorf("err = %v", err)
	}
	if _, err := New(Options{Mode: 7}); err == nil || !strings.Contains(err.Error(), "no such mode") {
		t.Errorf("err = %v", err)
	}
}

func TestImplicitTLS(t *testing.T) {
	h := build(t, Submission, nil)
	h.open(t, listen.Options{TLS: serverTLS(t)})
	c := tls.Client(h.dial(t), clientTLS)
	talk(t, c, `
	S: 220 mx.test ESMTP ready
	C: EHLO laptop
	S: 250-mx.test greets laptop
	S: 250-REQUIRETLS
	S: 250-FUTURERELEASE 2592000 20…
	S: 250-DELIVERBY
	S: 250-PIPELINING
	S* 250
	C: STARTTLS
	S: 503 5.5.1 TLS is active already
	C: AUTH PLAIN {plain:bob:pw-bob}
	S* 235
	C: QUIT
	S* 221
	END`)
}

func TestServeWrapsAPlainListener(t *testing.T) {
	h := build(t, MX, nil)
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, raw) }()
	h.addr = raw.Addr()
	c := talk(t, h.dial(t), "S* 220")
	cancel() // ends all by force
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) {
		t.Error("the connection lives on")
	}
}

func TestServeAfterShutdownIsNothing(t *testing.T) {
	h := build(t, MX, nil)
	if err := h.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(context.Background(), raw); err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := raw.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

func TestLogAndMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := build(t, MX, func(o *Options) { o.Registerer = reg })
	if _, err := New(h.o); err != nil { // a second Server on the same registry
		t.Fatal(err)
	}
	talk(t, h.dial(t), `
	S* 220
	C: EHLO there.test
	S* 250
	C: MAIL FROM:<x@there.test>
	S* 250
	C: RCPT TO:<nobody@here.test>
	S* 550
	C: RCPT TO:<alice@here.test>
	S* 250
	C: DATA
	S* 354
	C: Subject: secret words
	C: .
	S* 250
	C: QUIT
	S* 221
	END`)
	delivered, _, _ := h.mail()
	log := h.log.String()
	for _, want := range []string{
		`level=INFO msg="recipient refused" trace=`, "to=nobody@here.test code=550",
		"msg=message trace=" + delivered[0].env.Trace + " proto=mx remote=127.0.0.1 code=250 dur=",
		"from=x@there.test to=alice@here.test size=",
		`msg="session ended"`, "helo=there.test tls=- messages=1 code=221 dur=",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is missing in:\n%s", want, log)
		}
	}
	if strings.Contains(log, "secret words") {
		t.Error("the log has a part of the message")
	}
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP mailsrvd_smtpd_messages_total Messages received, by the class of the reply.
# TYPE mailsrvd_smtpd_messages_total counter
mailsrvd_smtpd_messages_total{class="2xx",mode="mx"} 1
# HELP mailsrvd_smtpd_negative_replies_total Negative replies, by code.
# TYPE mailsrvd_smtpd_negative_replies_total counter
mailsrvd_smtpd_negative_replies_total{code="550",mode="mx"} 1
# HELP mailsrvd_smtpd_sessions_total Connections served.
# TYPE mailsrvd_smtpd_sessions_total counter
mailsrvd_smtpd_sessions_total{mode="mx"} 1
`), "mailsrvd_smtpd_messages_total", "mailsrvd_smtpd_negative_replies_total", "mailsrvd_smtpd_sessions_total")
	if err != nil {
		t.Error(err)
	}
}

func TestPasswordsAreNotLogged(t *testing.T) {
	h := build(t, Submission, nil)
	talk(t, h.dial(t), startTLS+`
	C: AUTH PLAIN {plain:alice:sesame}
	S* 535
	C: AUTH LOGIN {b64:alice}
	S* 334
	C: {b64:sesame}
	S* 535
	C: QUIT
	S* 221
	END`)
	if log := h.log.String(); strings.Contains(log, "sesame") || strings.Contains(log, encode("{b64:sesame}")) {
		t.Errorf("log:\n%s", log)
	}
}

func TestLocalUserMayBeRefused(t *testing.T) {
	h := build(t, Local, func(o *Options) {
		o.LocalUser = func(int) (string, error) { return "", errors.New("uid 1 has no mail") }
	})
	talk(t, h.dial(t), "S* 220\nS: 421 4.7.0 This user may not submit mail here\nEND")
	if !strings.Contains(h.log.String(), "uid 1 has no mail") {
		t.Error("the reason is not logged")
	}
}

func TestLocalSenderIsBoundExceptForRoot(t *testing.T) {
	allowed := map[bool]string{true: "250", false: "553"}
	for _, asRoot := range []bool{true, false} {
		h := build(t, Local, nil)
		w := h.newWire(listenPair(t))
		w.uid, w.account = 1000, "alice"
		if asRoot {
			w.uid = 0
		}
		p := peer{account: w.account, uid: w.uid}
		a, _ := parseAddress("bob@here.test")
		if got := h.maySend(p, a); got != asRoot {
			t.Errorf("root %v: want %s", asRoot, allowed[asRoot])
		}
	}
}

// listenPair is a tracked connection whose peer is this process.
func listenPair(t *testing.T) net.Conn {
	t.Helper()
	raw, err := listen.Open(context.Background(), t.TempDir()+"/s", listen.Unix{})
	if err != nil {
		t.Fatal(err)
	}
	l := listen.New(raw, listen.Options{})
	t.Cleanup(func() { l.Close() })
	client, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestBigMessagesAreSpooled(t *testing.T) {
	h := build(t, MX, func(o *Options) { o.Limits.Memory = 1000; o.Limits.MessageSize = 1 << 20 })
	line := strings.Repeat("x", 78) + "\r\n"
	c := talk(t, h.dial(t), hello+"C: DATA\nS* 354")
	io.WriteString(c, "\r\n"+strings.Repeat(line, 5000)+".\r\n")
	talk(t, c, "S* 250")
	delivered, _, _ := h.mail()
	if got, _ := cutReceived(delivered[0].text); got != "\r\n"+strings.Repeat(line, 5000) {
		t.Errorf("%d bytes arrived", len(got))
	}
}

func TestTooBigIsToldAndTheConnectionGoesOn(t *testing.T) {
	h := build(t, MX, func(o *Options) { o.Limits.MessageSize = 100_000 })
	line := strings.Repeat("x", 78) + "\r\n"
	c := talk(t, h.dial(t), hello+"C: DATA\nS* 354")
	io.WriteString(c, "\r\n"+strings.Repeat(line, 2000)+".\r\n")
	c = talk(t, c, "S: 552 5.3.4 Message is too big\nC: MAIL FROM:<>\nS* 250\nC: RCPT TO:<alice@here.test>\nS* 250")
	io.WriteString(c, "BDAT 100001 LAST\r\n"+strings.Repeat("x", 100_001))
	c = talk(t, c, "S: 552 5.3.4 Max message size exceeded\nC: NOOP\nS: 250…")
	io.WriteString(c, "BDAT 300000 LAST\r\n")
	talk(t, c, "S: 552 5.3.4 Message is too big\nEND")
}

func TestEndlessMessageIsCut(t *testing.T) {
	h := build(t, MX, func(o *Options) { o.Limits.MessageSize = 100_000 })
	c := talk(t, h.dial(t), hello+"C: DATA\nS* 354")
	go func() {
		line := []byte(strings.Repeat("x", 78) + "\r\n")
		for {
			if _, err := c.Write(line); err != nil {
				return
			}
		}
	}()
	c.SetReadDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(c); !strings.HasPrefix(string(got), "552 5.3.4 ") && err == nil {
		t.Errorf("got %q", got)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ header, reply string }{
		"one field":        {"A: " + strings.Repeat("x", 70_000), "552 5.3.4 The header of the message is too big"},
		"a folded field":   {"A: 1" + strings.Repeat("\r\n folded", 10_000), "552 5.3.4 The header of the message is too big"},
		"all fields":       {strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 300) + "B: 2", "552 5.3.4 The header of the message is too big"},
		"a loop":           {strings.Repeat("Received: x\r\n", 49) + "RECEIVED : x", "554 5.4.6 Too many hops, this message is in a loop"},
		"nearly a loop":    {strings.Repeat("Received: x\r\n", 48) + "Received: x", "250…"},
		"a NUL":            {"A: \x00", "550 5.6.11 The message has a NUL character"},
		"a long, fine one": {strings.Repeat("A: "+strings.Repeat("x", 1000)+"\r\n", 200) + "B: 2", "250…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, MX, nil)
			conn := talk(t, h.dial(t), hello+"C: DATA\nS* 354")
			io.WriteString(conn, c.header+"\r\n\r\nbody\r\n.\r\n")
			talk(t, conn, "S: "+c.reply+"\nC: NOOP\nS: 250 2.0.0 Ok")
		})
	}
}

func TestSwaks(t *testing.T) {
	swaks, err := exec.LookPath("swaks")
	if err != nil {
		t.Skip("missing: swaks")
	}
	for name, c := range map[string]struct {
		mode Mode
		args []string
		fail string
	}{
		"MX":         {MX, []string{"--to", "alice@here.test", "--from", "x@there.test", "--tls"}, ""},
		"relaying":   {MX, []string{"--to", "x@elsewhere.test", "--from", "x@there.test"}, "relay access denied"},
		"submission": {Submission, []string{"--to", "x@there.test", "--from", "alice@here.test", "--tls", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "pw-alice"}, ""},
		"LOGIN":      {Submission, []string{"--to", "x@there.test", "--from", "alice@here.test", "--tls", "--auth", "LOGIN", "--auth-user", "alice", "--auth-password", "pw-alice"}, ""},
		"no TLS":     {Submission, []string{"--to", "x@there.test", "--from", "alice@here.test", "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "pw-alice"}, "Host did not advertise authentication"},
		"pipelining": {MX, []string{"--to", "alice@here.test,bob@here.test", "--from", "x@there.test", "--pipeline"}, ""},
		"LMTP":       {LMTP, []string{"--to", "alice@here.test,bob@here.test", "--from", "x@there.test", "--protocol", "LMTP"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if slices.Contains(c.args, "--tls") && exec.Command("perl", "-MNet::SSLeay", "-e", "1").Run() != nil {
				t.Skip("missing: Net::SSLeay of Perl")
			}
			h := build(t, c.mode, nil)
			args := []string{"--helo", "client.test", "--timeout", "20"}
			if c.mode == LMTP {
				args = append(args, "--socket", h.addr.String())
			} else {
				args = append(args, "--server", h.addr.String())
			}
			out, err := exec.Command(swaks, append(args, c.args...)...).CombinedOutput()
			if (err == nil) != (c.fail == "") || !strings.Contains(string(out), c.fail) {
				t.Errorf("%v\n%s", err, out)
			}
			delivered, queued, _ := h.mail()
			if n := len(delivered) + len(queued); (n == 1) != (c.fail == "") {
				t.Errorf("%d messages arrived", n)
			}
		})
	}
}

// smtp-source is Postfix's load generator: many sessions, no mercy.
func TestPostfixSource(t *testing.T) {
	source, err := exec.LookPath("smtp-source")
	if err != nil {
		t.Skip("missing: smtp-source of Postfix")
	}
	const messages = 100
	for name, args := range map[string][]string{
		"a connection each": {"-s", "8"},
		"one after another": {"-d", "-s", "8"},
		"several receivers": {"-d", "-s", "4", "-r", "5"},
		"large":             {"-d", "-s", "4", "-l", "300000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, MX, func(o *Options) {
				o.Router = everybody{}
				o.Deliverer = nowhere{}
			})
			host, port, _ := net.SplitHostPort(h.addr.String())
			args := append([]string{"-m", "100", "-f", "x@there.test", "-t", "alice@here.test"}, args...)
			out, err := exec.Command(source, append(args, "inet:"+host+":"+port)...).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := strings.Count(h.log.String(), "code=250"); n != messages {
				t.Errorf("%d messages of %d", n, messages)
			}
		})
	}
}

// everybody is a Router for whom each name is an account.
type everybody struct{}

func (everybody) Route(_ context.Context, address string) (message.Route, error) {
	user, _, _ := strings.Cut(address, "@")
	return message.Route{Local: []message.Local{{User: user, Address: address}}}, nil
}
