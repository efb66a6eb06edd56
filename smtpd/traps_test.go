package smtpd

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"svc.plus/mailsrvd/internal/listen"
)

// Each test here is a trap of go-smtp that a plain use of the library falls
// into; traps of its client do not concern a server.

func TestTrapCRCRLFEndsALine(t *testing.T) {
	// go-smtp waits for ever: CR after CR loses the start of the line.
	for mode, reply := range map[Mode]string{
		MX:    "550 5.6.11 Lines must end in CRLF, and CR and LF stand nowhere else",
		Local: "250 2.0.0 Ok: queued as …",
	} {
		h := build(t, mode, nil)
		talk(t, h.dial(t), strings.ReplaceAll(hello, "x@there.test", "alice@here.test")+`
	C: DATA
	S* 354
	C- "From: alice@here.test\r\n\r\nbody\r\r\n.\r\n"
	S: `+reply+`
	C: NOOP
	S* 250`)
	}
}

func TestTrapSlowMessageIsNotParsedAsCommands(t *testing.T) {
	// go-smtp answers 554 at its timeout, and runs the rest of the body.
	for _, mode := range []Mode{MX, LMTP} {
		inBubble(t, mode, nil, func(t *testing.T, h *house, dial func() net.Conn) {
			script := hello
			if mode == LMTP {
				script = strings.Replace(hello, "EHLO", "LHLO", 1)
			}
			c := talk(t, dial(), script+"C: DATA\nS* 354\nC: Subject: x")
			time.Sleep(h.o.Limits.Block + time.Second)
			talk(t, c, "S: 421 4.4.2 …\nEND")
			io.WriteString(c, "\r\nMAIL FROM:<smuggled@x>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\n.\r\n")
			if delivered, queued, _ := h.mail(); len(delivered)+len(queued) > 0 {
				t.Errorf("delivered %v %v", delivered, queued)
			}
		})
	}
}

func TestTrapLongTransferIsNoTimeout(t *testing.T) {
	// go-smtp counts its timeout from the command, not from the last byte.
	inBubble(t, MX, nil, func(t *testing.T, h *house, dial func() net.Conn) {
		c := talk(t, dial(), hello+"C: DATA\nS* 354")
		for range 10 {
			io.WriteString(c, "a line of text\r\n")
			time.Sleep(h.o.Limits.Block - time.Second)
		}
		talk(t, c, "C: .\nS* 250")
	})
}

func TestTrapTransferHasAnEndAllTheSame(t *testing.T) {
	for _, begin := range []string{"C: DATA\nS* 354", "C: BDAT 100000 LAST"} {
		inBubble(t, MX, nil, func(t *testing.T, h *house, dial func() net.Conn) {
			c := talk(t, dial(), hello+begin)
			began := time.Now()
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
					time.Sleep(h.o.Limits.Block / 2)
				}
			}()
			talk(t, c, "S: 421 4.4.2 …\nEND")
			if took := time.Since(began); took != h.o.Limits.Transfer {
				t.Errorf("%s: cut after %v", begin, took)
			}
			<-stopped
		})
	}
}

func TestTrapCutChunkIsNoMessage(t *testing.T) {
	// go-smtp takes the end of the connection for the end of the chunk, and
	// delivers half a message.
	const half = hello + `C- "BDAT 100 LAST\r\nSubject: half\r\n\r\n"`
	const cut = "S: 421 4.4.2 The message came only in part\nEND"
	check := func(h *house) {
		if delivered, _, _ := h.mail(); len(delivered) > 0 {
			t.Errorf("delivered %q", delivered[0].text)
		}
	}
	h := build(t, MX, nil)
	c := talk(t, h.dial(t), half)
	c.(*net.TCPConn).CloseWrite()
	talk(t, c, cut)
	check(h)
	inBubble(t, MX, nil, func(t *testing.T, h *house, dial func() net.Conn) {
		talk(t, dial(), half+"\n"+cut)
		check(h)
	})
}

func TestTrapErrorsOfOursArePassing(t *testing.T) {
	// go-smtp makes 554 of any error that is not its own type.
	h := build(t, MX, func(o *Options) { o.SpoolDir = ""; o.Limits.Memory = 10 })
	t.Setenv("TMPDIR", "/nonexistent")
	talk(t, h.dial(t), hello+`
	C: DATA
	S* 354
	C: Subject: this does not fit into memory
	C: .
	S: 451 4.3.0 Local error, try again later
	C: NOOP
	S* 250`)
	if log := h.log.String(); !strings.Contains(log, "/nonexistent") {
		t.Errorf("the cause is not logged:\n%s", log)
	}
}

func TestTrapLongLinesOfAMessageAreFine(t *testing.T) {
	// go-smtp closes the connection at 2,000 bytes.
	h := build(t, MX, nil)
	line := strings.Repeat("x", 1<<20)
	c := talk(t, h.dial(t), hello+"C: DATA\nS* 354")
	io.WriteString(c, "Subject: x\r\n\r\n"+line+"\r\n.\r\n")
	talk(t, c, "S* 250")
	delivered, _, _ := h.mail()
	if len(delivered) != 1 || !strings.HasSuffix(delivered[0].text, "\r\n\r\n"+line+"\r\n") {
		t.Error("the message has changed")
	}
}

func TestTrapLongCommandsAreNot(t *testing.T) {
	h := build(t, MX, nil)
	c := talk(t, h.dial(t), "S* 220")
	io.WriteString(c, "NOOP "+strings.Repeat("x", 3000)+"\r\n")
	talk(t, c, "S: 500 5.5.6 Line is too long\nC: NOOP\nS* 250")
	io.WriteString(c, strings.Repeat("x", 20_000))
	talk(t, c, "S: 500 5.5.6 Line is too long\nEND")
}

func TestTrapAddressesAreNotEchoedRaw(t *testing.T) {
	h := build(t, MX, nil)
	for _, bad := range []string{"a\x00b", "a\x1b[2Jb", "a\rb", "a\x7fb", "a\u0085b", "\xff\xfe"} {
		c := talk(t, h.dial(t), "S* 220\nC: EHLO x\nS* 250")
		fmt.Fprintf(c, "MAIL FROM:<%s@there.test>\r\n", bad)
		talk(t, c, "S* 500\nC: MAIL FROM:<x@there.test>\nS* 250")
		fmt.Fprintf(c, "RCPT TO:<%s@here.test>\r\n", bad)
		talk(t, c, "S* 500\nC: NOOP\nS* 250")
	}
}

func TestTrapTooManyErrorsEndTheConnection(t *testing.T) {
	h := build(t, MX, func(o *Options) { o.Limits.Errors = 5 })
	var script strings.Builder
	script.WriteString("S* 220\nC: EHLO x\nS* 250\nC: MAIL FROM:<>\nS* 250\n")
	for range 5 {
		script.WriteString("C: RCPT TO:<nobody@here.test>\nS* 550\n")
	}
	talk(t, h.dial(t), script.String()+"S: 421 4.7.0 Too many errors\nEND")
	h.limited(t, "errors", 1, "a client makes too many errors")
}

// limited holds the server to having counted and logged a limit.
func (h *house) limited(t *testing.T, limit string, times int, line string) {
	t.Helper()
	if got := int(testutil.ToFloat64(h.metrics.limits.WithLabelValues(h.metrics.mode, limit))); got != times {
		t.Errorf("the limit of %s is counted %d times, not %d", limit, got, times)
	}
	if n := strings.Count(h.log.String(), line); n != 1 {
		t.Errorf("the log has %q %d times", line, n)
	}
}

func TestTrapRecipientsAreLimited(t *testing.T) {
	h := build(t, MX, func(o *Options) { o.Limits.Recipients = 2 })
	talk(t, h.dial(t), hello+`
	C: RCPT TO:<bob@here.test>
	S* 250
	C: RCPT TO:<carol@here.test>
	S: 452 4.5.3 Too many recipients
	C: RCPT TO:<carol@here.test>
	S: 452 4.5.3 Too many recipients
	C: DATA
	S* 354
	C: .
	S* 250`)
	h.limited(t, "recipients", 2, "a message has too many recipients")
}

func TestTrapConnectionsAreLimited(t *testing.T) {
	h := build(t, MX, nil)
	h.open(t, listen.Options{MaxPerIP: 1, Refusal: Refusal("mx.test")})
	talk(t, h.dial(t), "S* 220")
	talk(t, h.dial(t), "S: 421 4.7.0 mx.test Too many connections, try again later\nEND")
}

func TestTrapIdleClientIsToldAndClosed(t *testing.T) {
	inBubble(t, MX, nil, func(t *testing.T, h *house, dial func() net.Conn) {
		c := talk(t, dial(), "S* 220\nC: EHLO x\nS* 250")
		began := time.Now()
		go func() { // half a command keeps nobody here
			time.Sleep(time.Minute)
			io.WriteString(c, "NO")
		}()
		talk(t, c, "S: 421 4.4.2 mx.test Idle for too long, closing connection\nEND")
		if took := time.Since(began); took != h.o.Limits.Command {
			t.Errorf("closed after %v", took)
		}
	})
}

func TestTrapShutdownWakesIdleClients(t *testing.T) {
	// go-smtp's Shutdown waits until they quit by themselves.
	h := build(t, MX, nil)
	plain := talk(t, h.dial(t), "S* 220\nC: EHLO x\nS* 250")
	secure := talk(t, h.dial(t), "S* 220\nC: EHLO x\nS* 250\nC: STARTTLS\nS* 220\nTLS\nC: EHLO x\nS* 250")
	done := make(chan error, 1)
	go func() { done <- h.Shutdown(context.Background()) }()
	for _, c := range []net.Conn{plain, secure} {
		talk(t, c, "S: 421 4.3.2 Service is shutting down\nEND")
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if c, err := net.Dial(h.addr.Network(), h.addr.String()); err == nil {
		c.Close()
		t.Error("the listener is open")
	}
}

func TestTrapShutdownLetsATransactionEnd(t *testing.T) {
	h := build(t, MX, nil)
	c := talk(t, h.dial(t), hello+"C: DATA\nS* 354\nC: Subject: x")
	done := make(chan error, 1)
	go func() { done <- h.Shutdown(context.Background()) }()
	for !h.listeners.Conns()[0].Draining() {
		time.Sleep(time.Millisecond)
	}
	talk(t, c, "C: .\nS* 250\nS: 421 4.3.2 Service is shutting down\nEND")
	if err := <-done; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if delivered, _, _ := h.mail(); len(delivered) != 1 {
		t.Error("the message is lost")
	}
}

func TestTrapShutdownDoesNotLetAPipelineGoOn(t *testing.T) {
	h := build(t, MX, nil)
	inside, goOn := make(chan struct{}), make(chan struct{})
	h.onDeliver = func(context.Context) { close(inside); <-goOn }
	c := talk(t, h.dial(t), hello+`
	C: DATA
	S* 354
	C- ".\r\nMAIL FROM:<x@there.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\n"`)
	<-inside
	done := make(chan error, 1)
	go func() { done <- h.Shutdown(context.Background()) }()
	for !h.listeners.Conns()[0].Draining() {
		time.Sleep(time.Millisecond)
	}
	close(goOn)
	talk(t, c, "S* 250\nS: 421 4.3.2 Service is shutting down\nEND")
	if err := <-done; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

func TestTrapShutdownCutsAtItsDeadline(t *testing.T) {
	// go-smtp's Close does nothing after a Shutdown that gave up.
	h := build(t, MX, nil)
	cancelled := make(chan struct{})
	h.onDeliver = func(ctx context.Context) { <-ctx.Done(); close(cancelled) }
	c := talk(t, h.dial(t), hello+"C: DATA\nS* 354\nC: .")
	waiting := talk(t, h.dial(t), hello)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := h.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "closed by force") {
		t.Errorf("Shutdown = %v", err)
	}
	<-cancelled
	for _, c := range []net.Conn{c, waiting} {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); os.IsTimeout(err) {
			t.Error("a connection lives on")
		}
	}
}

func TestTrapMessageThatDidNotWaitIsNoCommands(t *testing.T) {
	h := build(t, MX, nil)
	talk(t, h.dial(t), `
	S* 220
	C: EHLO x
	S* 250
	C- "MAIL FROM:<x@there.test>\r\nRCPT TO:<nobody@here.test>\r\nDATA\r\nMAIL FROM:<evil@x>\r\n.\r\n"
	S* 250
	S* 550
	S: 503 5.5.1 No valid recipients
	S: 421 4.7.0 Input after a refused DATA
	END`)
}

func TestPipelineAnswersInOneWrite(t *testing.T) {
	h := build(t, MX, nil)
	talk(t, h.dial(t), `
	S* 220
	C: EHLO x
	S* 250
	C- "MAIL FROM:<x@there.test>\r\nRCPT TO:<alice@here.test>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\n"
	S* 250
	S* 250
	S* 250
	S* 354
	C- "one\r\n.\r\nMAIL FROM:<x@there.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\n"
	S* 250
	S* 250
	S* 250
	S* 354
	C- "two\r\n.\r\nQUIT\r\n"
	S* 250
	S* 221
	END`)
}
