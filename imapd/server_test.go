package imapd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// stop shuts the server down in the background.
func (h *harness) stop(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- h.srv.Shutdown(ctx) }()
	return done
}

func TestShutdownSaysGoodbye(t *testing.T) {
	h := newHarness(t, nil)
	h.login("idle", "quiet")
	h.talk(`
		S3: * OK ...
		Cidle: a IDLE
		Sidle: + idling
	`)
	done := h.stop(context.Background())
	h.talk(`
		Sidle: * BYE [UNAVAILABLE] Server is shutting down
		Sidle: EOF
		Squiet: * BYE [UNAVAILABLE] Server is shutting down
		Squiet: EOF
		S3: * BYE [UNAVAILABLE] Server is shutting down
		S3: EOF
	`)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", h.addr); err == nil {
		t.Error("still listening")
	}
}

func TestShutdownLetsCommandsFinish(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk("C: a APPEND INBOX {5}\nS: + OK")
	done := h.stop(context.Background())
	time.Sleep(20 * time.Millisecond) // the answer must not depend on it
	h.talk(`
		C: hello
		S: ~a OK [APPENDUID ...
		S: * BYE [UNAVAILABLE] Server is shutting down
		S: EOF
	`)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	h := newHarness(t, nil)
	h.login("")
	h.talk("C: a APPEND INBOX {5}\nS: + OK")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := <-h.stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	h.talk("S: EOF")
}

func TestServeAfterShutdown(t *testing.T) {
	h := newHarness(t, nil)
	if err := <-h.stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.srv.Serve(t.Context(), ln); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := ln.Accept(); err == nil {
		t.Error("the listener was not closed")
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	h := newHarness(t, nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.srv.Serve(ctx, ln) }()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// A password check takes seconds; nothing may wait for it but its client.
func TestSlowLoginHoldsNobodyUp(t *testing.T) {
	h := newHarness(t, nil)
	h.login("2")
	h.auth.now = make(chan struct{})
	h.talk(`
		S1: * OK ...
		C1: a LOGIN alice secret
		C2: b NOOP
		S2: b OK ...
	`)
	close(h.auth.now)
	h.talk("S1: a OK ...")
}

// syncBuffer is a log that several goroutines write to.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestSessionIsLoggedOnceWithoutSecrets(t *testing.T) {
	var log syncBuffer
	registry := prometheus.NewRegistry()
	h := newHarness(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Registerer = registry
	})
	h.login("")
	h.talk(`
		C: a FOO
		S: a BAD ...
		C: b LOGOUT
		S: ~b OK ...
		S: EOF
	`)
	if err := <-h.stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 1 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for _, want := range []string{"user=alice", "proto=imap", "remote=127.0.0.1", "trace=", "dur=", "reason=logout", "commands=4"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("%q lacks %s", lines[0], want)
		}
	}
	if strings.Contains(log.String(), "secret") {
		t.Error("the password is in the log")
	}
	err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP mailsrvd_imapd_connections IMAP connections open now.
# TYPE mailsrvd_imapd_connections gauge
mailsrvd_imapd_connections 0
# HELP mailsrvd_imapd_sessions IMAP connections that are logged in now.
# TYPE mailsrvd_imapd_sessions gauge
mailsrvd_imapd_sessions 0
`), "mailsrvd_imapd_connections", "mailsrvd_imapd_sessions")
	if err != nil {
		t.Error(err)
	}
	if n := testutil.ToFloat64(h.srv.unknown.bad); n != 1 {
		t.Errorf("%v bad unknown commands counted", n)
	}
}

func TestStrangersAreNotLoggedLoudly(t *testing.T) {
	var log syncBuffer
	h := newHarness(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	h.talk("S: * OK ...")
	h.conn("").Close()
	if err := <-h.stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if log.String() != "" {
		t.Errorf("a port scan is worth no line: %q", log.String())
	}
}
