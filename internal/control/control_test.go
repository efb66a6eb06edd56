package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// start runs a server with the handlers and returns its socket.
func start(t *testing.T, o Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	s := New(o)
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return path
}

type args struct{ Name string }

var testHandlers = map[string]Handler{
	"hello": func(_ context.Context, c *Call) (any, error) {
		var a args
		if err := c.Decode(&a); err != nil {
			return nil, err
		}
		return map[string]string{"greeting": "hello " + a.Name}, nil
	},
	"nothing": func(context.Context, *Call) (any, error) { return nil, nil },
	"count": func(_ context.Context, c *Call) (any, error) {
		return io.Copy(io.Discard, c.Body)
	},
	"echo": func(_ context.Context, c *Call) (any, error) {
		b, err := io.ReadAll(c.Body)
		if err != nil {
			return nil, err
		}
		_, err = c.Out.Write(b)
		return nil, err
	},
	"half": func(_ context.Context, c *Call) (any, error) {
		io.WriteString(c.Out, "the first half")
		return nil, errors.New("the disk broke")
	},
	"missing": func(context.Context, *Call) (any, error) {
		return nil, fmt.Errorf("looking: %w", Errorf(NotFound, "no message %s", "x1"))
	},
	"eof":   func(context.Context, *Call) (any, error) { return nil, io.EOF },
	"plain": func(context.Context, *Call) (any, error) { return nil, errors.New("went wrong") },
	"panic": func(context.Context, *Call) (any, error) { panic("a bug") },
	"peer":  func(_ context.Context, c *Call) (any, error) { return c.Peer, nil },
	"float": func(context.Context, *Call) (any, error) { return func() {}, nil },
}

func TestDoReturnsTheValueOfTheHandler(t *testing.T) {
	path := start(t, Options{Handlers: testHandlers})
	var v struct{ Greeting string }
	if err := Do(t.Context(), path, Request{Name: "hello", Args: args{"bob\n{}"}}, &v); err != nil || v.Greeting != "hello bob\n{}" {
		t.Errorf("%+v, %v", v, err)
	}
	if err := Do(t.Context(), path, Request{Name: "nothing"}, &struct{}{}); err != nil {
		t.Error(err)
	}
}

func TestDoTellsFailuresApart(t *testing.T) {
	path := start(t, Options{Handlers: testHandlers})
	for _, c := range []struct {
		req  Request
		kind Kind
		text string
	}{
		{Request{Name: "missing"}, NotFound, "no message x1"},
		{Request{Name: "plain"}, Failed, "went wrong"},
		{Request{Name: "eof"}, Failed, "EOF"},
		{Request{Name: "panic"}, Failed, "internal error in panic"},
		{Request{Name: "nope"}, Unknown, "no call"},
		{Request{Name: ""}, Invalid, "names no call"},
		{Request{Name: "hello", Args: map[string]int{"Other": 1}}, Invalid, "unknown field"},
		{Request{Name: "hello", Args: "text"}, Invalid, "arguments of hello"},
		{Request{Name: "float"}, Failed, "encoding the reply"},
	} {
		err := Do(t.Context(), path, c.req, nil)
		var e *Error
		if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Text, c.text) {
			t.Errorf("%q: %#v", c.req.Name, err)
		}
	}
}

func TestBodiesArriveWholeInBothDirections(t *testing.T) {
	path := start(t, Options{Handlers: testHandlers})
	for _, size := range []int{0, 1, maxChunk - 1, maxChunk, maxChunk + 1, 5 * maxChunk} {
		body := bytes.Repeat([]byte("0\n{}\r\n"), size/6+1)[:size]
		var n int64
		if err := Do(t.Context(), path, Request{Name: "count", Body: bytes.NewReader(body)}, &n); err != nil || n != int64(size) {
			t.Errorf("sent %d, counted %d, %v", size, n, err)
		}
		var out bytes.Buffer
		// Slow readers give many small chunks.
		if err := Do(t.Context(), path, Request{Name: "echo", Body: iotest.HalfReader(bytes.NewReader(body)), Out: &out}, nil); err != nil || !bytes.Equal(out.Bytes(), body) {
			t.Errorf("sent %d, got back %d, %v", size, out.Len(), err)
		}
	}
}

func TestStreamThatFailsIsAnError(t *testing.T) {
	path := start(t, Options{Handlers: testHandlers})
	var out bytes.Buffer
	err := Do(t.Context(), path, Request{Name: "half", Out: &out}, nil)
	if out.String() != "the first half" || err == nil || err.Error() != "the disk broke" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestBrokenBodyIsNeverTakenForWhole(t *testing.T) {
	for _, cause := range []error{errors.New("boom"), io.ErrUnexpectedEOF} {
		got := make(chan error, 1)
		path := start(t, Options{Handlers: map[string]Handler{"take": func(_ context.Context, c *Call) (any, error) {
			_, err := io.ReadAll(c.Body)
			got <- err
			return nil, err
		}}})
		body := io.MultiReader(strings.NewReader("half a message"), iotest.ErrReader(cause))
		if err := Do(t.Context(), path, Request{Name: "take", Body: body}, nil); !errors.Is(err, cause) {
			t.Errorf("the caller got %v", err)
		}
		if err := <-got; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the handler got %v", err)
		}
	}
}

func TestEarlyAnswerReachesACallerThatStillSends(t *testing.T) {
	path := start(t, Options{Handlers: testHandlers})
	if err := Do(t.Context(), path, Request{Name: "nothing", Body: io.LimitReader(endless{}, 64<<20)}, &struct{}{}); err != nil {
		t.Errorf("a value: %v", err)
	}
	err := Do(t.Context(), path, Request{Name: "missing", Body: io.LimitReader(endless{}, 64<<20)}, nil)
	var e *Error
	if !errors.As(err, &e) || e.Kind != NotFound {
		t.Errorf("got %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestNoDaemonIsToldApart(t *testing.T) {
	dir := t.TempDir()
	if err := Do(t.Context(), filepath.Join(dir, "none"), Request{Name: "x"}, nil); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("no socket: %v", err)
	}
	left := filepath.Join(dir, "left")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if err := Do(t.Context(), left, Request{Name: "x"}, nil); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("dead socket: %v", err)
	}
}

func TestServerThatDiesIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, answer := range []string{"", "5\nabc", "{\"value\":", "x\n", "{}{\n"} {
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, answer)
			c.Close()
		}()
		var v any
		if err := Do(t.Context(), path, Request{Name: "x"}, &v); err == nil {
			t.Errorf("answer %q: no error", answer)
		}
	}
}

func TestCallEndsWithTheCallersContext(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	path := start(t, Options{Handlers: map[string]Handler{"wait": func(ctx context.Context, c *Call) (any, error) {
		io.Copy(io.Discard, c.Body)
		close(entered)
		<-ctx.Done()
		close(left)
		return nil, ctx.Err()
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if err := Do(ctx, path, Request{Name: "wait", Body: strings.NewReader("x")}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	<-left // the handler's context ended because the caller is gone
}

func TestHalfClosedCallerStillGetsItsReply(t *testing.T) {
	release := make(chan struct{})
	path := start(t, Options{Handlers: map[string]Handler{"wait": func(ctx context.Context, c *Call) (any, error) {
		select {
		case <-release:
			return "done", nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "{\"call\":\"wait\"}\n")
	c.(*net.UnixConn).CloseWrite()
	close(release)
	b, err := io.ReadAll(c)
	if string(b) != "{\"value\":\"done\"}\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestMalformedRequestsAreAnswered(t *testing.T) {
	path := start(t, Options{Handlers: testHandlers})
	for _, in := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		"{\"call\":\"nothing\",\"more\":1}\n",
		"[]\n",
		"\n",
		strings.Repeat("x", maxRequestLine+10) + "\n",
		"{\"call\":\"count\",\"body\":true}\n70000\n",
		"{\"call\":\"count\",\"body\":true}\n-1\n",
		"{\"call\":\"count\",\"body\":true}\n01\nx0\n",
		"{\"call\":\"count\",\"body\":true}\nffffffffffffffff",
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, in)
		c.(*net.UnixConn).CloseWrite()
		b, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(b), "{\"error\":{\"kind\":") {
			t.Errorf("%.60q: answer %q", in, b)
		}
		c.Close()
	}
}

func TestPeerIsThisProcess(t *testing.T) {
	path := start(t, Options{Handlers: testHandlers})
	var p Peer
	if err := Do(t.Context(), path, Request{Name: "peer"}, &p); err != nil {
		t.Fatal(err)
	}
	groups, _ := os.Getgroups()
	if p.PID != os.Getpid() || p.UID != os.Geteuid() || p.GID != os.Getegid() || len(p.Groups) != len(groups) {
		t.Errorf("%+v, groups %v", p, groups)
	}
	if !p.InGroup(os.Getegid()) || p.InGroup(1234567) {
		t.Errorf("InGroup of %+v", p)
	}
}

func TestAllowRefusesBeforeTheCall(t *testing.T) {
	path := start(t, Options{Handlers: testHandlers, Allow: func(p Peer) error {
		return Errorf(Refused, "uid %d may not", p.UID)
	}})
	var e *Error
	if err := Do(t.Context(), path, Request{Name: "nothing"}, nil); !errors.As(err, &e) || e.Kind != Refused {
		t.Errorf("err = %v", err)
	}
}

func TestShutdownWaitsForCallsAndThenCancelsThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	s := New(Options{Handlers: map[string]Handler{"wait": func(ctx context.Context, _ *Call) (any, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}}})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(context.Background(), l); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := Do(context.Background(), path, Request{Name: "wait"}, nil); err == nil {
			t.Error("the call was not cancelled")
		}
	})
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	wg.Wait()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if err := s.Serve(context.Background(), closedListener{}); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

type closedListener struct{ net.Listener }

func (closedListener) Close() error { return nil }

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := Listen(filepath.Join(t.TempDir(), "s"), 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := New(Options{}).Serve(ctx, l); err != nil {
		t.Error(err)
	}
}

func TestListenReplacesOnlyDeadSockets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	l, err := Listen(path, 0o640, os.Getegid())
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := Listen(path, 0o600, -1); !errors.Is(err, ErrInUse) {
		t.Errorf("live socket: %v", err)
	}
	l.(*listener).UnixListener.Close() // as a killed daemon leaves it
	second, err := Listen(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // the first daemon's late end must not take the second's socket
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	second.Close()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := Listen(file, 0o600, -1); err == nil {
		t.Error("a plain file was replaced")
	}
	if _, err := Listen(filepath.Join(dir, "none", "s"), 0o600, -1); err == nil {
		t.Error("a socket in no directory")
	}
}

func TestServeEndsWhileAllSlotsAreTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	s := New(Options{MaxCalls: 1, Handlers: map[string]Handler{"wait": func(ctx context.Context, _ *Call) (any, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	go Do(context.Background(), path, Request{Name: "wait"}, nil)
	<-entered
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.Shutdown(ctx)
}
